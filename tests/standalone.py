"""A Spark standalone cluster on this machine: a master and workers, each a process of its own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark

_HOME = Path(pyspark.__file__).parent
_WAIT_SECONDS = 90.0


@contextmanager
def standalone_cluster(folder: Path, *, workers: int, worker_memory: str = "1g") -> Iterator[str]:
    """The master's URL, while it runs with so many workers of one core each; logs and work lie in `folder`."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        master, log = _start(folder, "master", "master.Master", ["--port", "0", "--webui-port", "0"])
        processes.append(master)
        url = _wait_for(master, log, r"Starting Spark master at (spark://\S+)")
        for number in range(workers):
            words = ["--cores", "1", "--memory", worker_memory, "--webui-port", "0"]
            words += ["--work-dir", str(folder / f"work{number}"), url]
            worker, log = _start(folder, f"worker{number}", "worker.Worker", words)
            processes.append(worker)
            _wait_for(worker, log, r"(Successfully registered with master)")
        yield url
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()


def _start(folder: Path, name: str, main: str, words: list[str]) -> "tuple[subprocess.Popen[bytes], Path]":
    log = folder / f"{name}.log"
    environment = {
        **os.environ,
        "SPARK_HOME": str(_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        # A worker asks for it when it starts executors; Spark's own scripts would set it.
        "SPARK_SCALA_VERSION": "2.13",
        "PYSPARK_PYTHON": sys.executable,
        # Workers import what the driver imports.
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    command = ["java", "-Xmx256m", "-cp", f"{_HOME}/jars/*"]
    command += [f"org.apache.spark.deploy.{main}", "--host", "127.0.0.1", *words]
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=folder), log


def _wait_for(process: "subprocess.Popen[bytes]", log: Path, pattern: str) -> str:
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        found = re.search(pattern, log.read_text(errors="replace"))
        if found:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"{log.name} says:\n{log.read_text(errors='replace')[-3000:]}")
