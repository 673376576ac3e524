"""A Spark standalone cluster on this machine: a master and workers, each a process of its own, on loopback."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from features.embedded import ports
from features.embedded.detached import Detached, end_all, last_lines, read_record, start_detached, write_record
from features.embedded.disk import explained
from features.embedded.jar_download import spark_jars
from features.embedded.jdk import find_java
from features.embedded.locking import exclusive
from features.errors import PlatformError, UsageError

HOST = "127.0.0.1"
_READY_SECONDS = 90.0
_END_SECONDS = 20.0
_POLL_SECONDS = 0.1
# Of the daemons: tasks run in executors, which have heaps of their own.
_DAEMON_HEAP = "-Xmx256m"
_MASTER_READY = r"Starting Spark master at (spark://\S+)"
_WORKER_READY = r"(Successfully registered with master)"


@dataclass(frozen=True, kw_only=True, slots=True)
class SparkStatus:
    """What is known of a cluster. `url`: of the master, for `--master`; None where its port is still to be chosen."""

    running: bool
    url: str | None
    pids: Mapping[str, int]
    state_dir: Path


@dataclass(frozen=True, kw_only=True)
class SparkCluster:
    """A master and workers, found again by their folder. Executors run the Spark of this environment.

    Attributes:
        state_dir: its folder: logs, and what applications leave; made at the first start.
        port: of the master; 0 lets the first start choose a free one, which is kept as long as it stays free.
        workers: how many.
        cores: that each worker offers.
        memory_mb: that each worker offers to executors, in MiB.
        environment: variables of the workers, and so of executors, over those of the process that starts them.

    Raises:
        UsageError: there is no worker, or one has neither core nor memory.
    """

    state_dir: Path
    port: int = 7077
    workers: int = 2
    cores: int = 2
    memory_mb: int = 2048
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.workers < 1 or self.cores < 1 or self.memory_mb < 512:
            raise UsageError("a Spark cluster has a worker, which has a core and 512 MiB, at least")
        object.__setattr__(self, "state_dir", Path(self.state_dir).absolute())

    def status(self) -> SparkStatus:
        """Whether all of it runs, without connecting."""
        content, processes = read_record(self._record)
        running = bool(processes) and all(process.runs() for process in processes)
        url = content.get("url") or (f"spark://{HOST}:{self.port}" if self.port else None)
        pids = {process.name: process.pid for process in processes if process.runs()}
        return SparkStatus(running=running, url=url, pids=pids, state_dir=self.state_dir)

    def start(self, progress: Callable[[str], None] = lambda _: None) -> SparkStatus:
        """Starts master and workers, or finds them running; returns once all workers are registered.

        One that lost a process is started anew as a whole.

        Raises:
            PlatformError: no JDK, no pyspark, the master's port is in use, or a process gave up.
        """
        with self._control():
            found = self.status()
            if found.running:
                return found
            content, processes = read_record(self._record)
            end_all(processes, signal.SIGTERM, seconds=_END_SECONDS)
            started: list[Detached] = []
            port = self._choose_port(int(content.get("port", 0)))
            try:
                url = self._start_all(port, started, progress)
            except BaseException:
                end_all(started, signal.SIGTERM, seconds=_END_SECONDS)
                raise
            progress(f"Spark runs at {url}, workers: {self.workers}")
            return self.status()

    def stop(self) -> SparkStatus:
        """Stops workers, their executors and the master.

        Raises:
            PlatformError: a process does not end.
        """
        if self.state_dir.is_dir():
            with self._control():
                _, processes = read_record(self._record)
                # A worker that ends ends its executors; with the master gone first, it would look for it meanwhile.
                end_all(processes[1:], signal.SIGTERM, seconds=_END_SECONDS)
                end_all(processes[:1], signal.SIGTERM, seconds=_END_SECONDS)
        return self.status()

    def reset(self) -> SparkStatus:
        """Stops it, and deletes what applications left."""
        self.stop()
        if self.state_dir.is_dir():
            with self._control():
                if self._work.exists():
                    shutil.rmtree(self._work)
                self._record.unlink(missing_ok=True)
        return self.status()

    def _start_all(self, port: int, started: list[Detached], progress: Callable[[str], None]) -> str:
        progress("starting Spark's master and workers")
        # Recorded one by one: what was started is found again, should this process be killed.
        content: dict[str, object] = {"port": port}
        started.append(self._start("master", "master.Master", ["--port", str(port)]))
        write_record(self._record, content, started)
        url = self._wait_for(started[0], _MASTER_READY)
        content["url"] = url
        for number in range(1, self.workers + 1):
            work = str(self._work / str(number))
            words = ["--cores", str(self.cores), "--memory", f"{self.memory_mb}m", "--work-dir", work, url]
            started.append(self._start(f"worker{number}", "worker.Worker", words))
            write_record(self._record, content, started)
        for worker in started[1:]:
            self._wait_for(worker, _WORKER_READY)
        return url

    def _start(self, name: str, main: str, words: list[str]) -> Detached:
        jars = spark_jars()
        environment = {
            **os.environ,
            "SPARK_HOME": str(jars.parent),
            # For the web pages too, which listen everywhere otherwise.
            "SPARK_LOCAL_IP": HOST,
            # A worker asks for it when it starts executors; Spark's own scripts would set it.
            "SPARK_SCALA_VERSION": "2.13",
            **self.environment,
        }
        command = [str(find_java().path), _DAEMON_HEAP, "-XX:+UseSerialGC", "-cp", f"{jars}/*"]
        command += [f"org.apache.spark.deploy.{main}", "--host", HOST, "--webui-port", "0", *words]
        return start_detached(name, command, environment=environment, log=self._log(name))

    def _wait_for(self, process: Detached, pattern: str) -> str:
        log, deadline = self._log(process.name), time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            found = re.search(pattern, log.read_text(encoding="utf-8", errors="replace"))
            if found:
                return found[1]
            if not process.runs():
                break
            time.sleep(_POLL_SECONDS)
        raise PlatformError(f"Spark's {process.name} did not start; the end of {log}:\n{last_lines(log)}")

    def _choose_port(self, last: int) -> int:
        if self.port:
            if not ports.is_free(HOST, self.port):
                holder = ports.holder(self.port)
                who = f"process {holder}" if holder else "another process"
                raise PlatformError(f"port {self.port} of Spark's master is taken by {who}; stop it, or set another")
            return self.port
        return last if last and ports.is_free(HOST, last) else ports.choose_free(HOST)

    @property
    def _work(self) -> Path:
        """What applications leave: logs, and files that were brought to executors."""
        return self.state_dir / "work"

    def _log(self, name: str) -> Path:
        return self.state_dir / f"{name}.log"

    @property
    def _record(self) -> Path:
        return self.state_dir / "spark.json"

    @contextmanager
    def _control(self) -> Iterator[None]:
        with explained(self.state_dir, "Spark's files", "name another folder"):
            self.state_dir.mkdir(parents=True, exist_ok=True)
            with exclusive(self.state_dir / "control.lock", timeout_seconds=2 * _READY_SECONDS + 4 * _END_SECONDS):
                yield
