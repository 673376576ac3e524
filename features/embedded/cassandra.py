"""A real Cassandra node on this machine, for development, tests and the demo: started, found again and stopped.

A node is its folder: any process that names the same folder means the same node, running or not.
"""

import ipaddress
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from features.config import Settings
from features.embedded.disk import explained
from features.embedded.locking import exclusive
from features.embedded.node_files import NodeFiles, NodeRecord
from features.embedded.node_launch import (
    READY_SECONDS,
    TERMINATE_SECONDS,
    Launch,
    await_ready,
    launch,
    own_data,
    terminate,
)
from features.embedded.processes import is_running
from features.errors import PlatformError, UsageError

logger = logging.getLogger(__name__)

DEFAULT_STATE_DIR = Path(".state/cassandra")
# Longer than another process's start may take, a first download of jars aside.
_CONTROL_SECONDS = READY_SECONDS + 2 * TERMINATE_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What is known of a node. `pid` and `uptime_seconds` are None where it does not run.

    `port` is where it listens, or would; 0 where it was left to the first start, which is still to come.
    """

    running: bool
    pid: int | None
    host: str
    port: int
    state_dir: Path
    log: Path
    uptime_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class CassandraNode:
    """One node with data of its own. Nodes with different folders and ports run side by side.

    Attributes:
        state_dir: its folder: data, configuration, log; made at the first start.
        host: the loopback address that everything binds to.
        port: CQL; 0 lets the first start choose a free one, which is kept as long as it stays free.
        heap_mb: heap of the JVM in MiB; the process takes about 450 MiB more.
        options: settings of cassandra.yaml that win over the generated ones, at the next start.

    Raises:
        UsageError: the host is not loopback, the port is none, or the heap is too small.
    """

    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 9042
    heap_mb: int = 512
    options: Mapping[str, object] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not _is_loopback(self.host):
            raise UsageError(f"an embedded Cassandra listens on 127.0.0.0/8 only, not on {self.host!r}")
        if not 0 <= self.port <= 65535:
            raise UsageError(f"there is no port {self.port}: give 1 to 65535, or 0 for any that is free")
        if self.heap_mb < 256:
            raise UsageError(f"Cassandra needs a heap of at least 256 MiB; heap_mb is {self.heap_mb}")
        # The node outlives this process, and so its working folder.
        object.__setattr__(self, "state_dir", Path(self.state_dir).absolute())

    def status(self) -> Status:
        """What the node does now, without connecting: one that runs may still be starting up."""
        record = self._files.read_record()
        if record is None or not _runs(record):
            port = self.port or (record.port if record else 0)
            return self._status(pid=None, host=self.host, port=port, uptime_seconds=None)
        uptime = max(0.0, time.time() - record.started_at)
        return self._status(pid=record.pid, host=record.host, port=record.port, uptime_seconds=uptime)

    def start(self, progress: Callable[[str], None] = lambda _: None) -> Status:
        """Starts the node, or finds it running, and returns once it answers CQL. It outlives this process.

        Args:
            progress: is told of each step in a few words.

        Raises:
            PlatformError: no JDK, no jars, a port in use, too little disk space, or Cassandra gave up.
        """
        with self._control():
            record = self._files.read_record()
            if record is not None and _runs(record):
                self._require_same_address(record)
                await_ready(record, self._files, progress)
                progress(f"Cassandra already runs on {record.host}:{record.port} (pid {record.pid})")
                return self.status()
            began = time.monotonic()
            asked = Launch(host=self.host, port=self.port, heap_mb=self.heap_mb, options=self.options)
            record = launch(asked, self._files, progress)
            try:
                await_ready(record, self._files, progress)
            except PlatformError:
                terminate(record)
                raise
            seconds = time.monotonic() - began
            progress(f"Cassandra answers on {record.host}:{record.port} after {seconds:.1f} s (pid {record.pid})")
            logger.info("cassandra started", extra={"pid": record.pid, "port": record.port, "seconds": seconds})
            return self.status()

    def stop(self) -> Status:
        """Stops the node and keeps its data: politely, and after 20 s by force. Does nothing where it does not run.

        Raises:
            PlatformError: not even force ended it.
        """
        if self.state_dir.is_dir():
            with self._control():
                self._terminate()
        return self.status()

    def reset(self) -> Status:
        """Stops the node and deletes its data, its log and the port it chose. Other files in its folder stay.

        Raises:
            PlatformError: it does not stop, or its files cannot be deleted.
        """
        if self.state_dir.is_dir():
            with self._control():
                self._terminate()
                os.close(own_data(self._files))
                self._files.delete()
        return self.status()

    @property
    def _files(self) -> NodeFiles:
        return NodeFiles(folder=self.state_dir)

    @contextmanager
    def _control(self) -> Iterator[None]:
        with explained(self.state_dir, "Cassandra's files", "name another folder"):
            self.state_dir.mkdir(parents=True, exist_ok=True)
            with exclusive(self._files.lock, timeout_seconds=_CONTROL_SECONDS):
                yield

    def _terminate(self) -> None:
        record = self._files.read_record()
        if record is not None:
            terminate(record)

    def _status(self, *, pid: int | None, host: str, port: int, uptime_seconds: float | None) -> Status:
        return Status(
            running=pid is not None,
            pid=pid,
            host=host,
            port=port,
            state_dir=self.state_dir,
            log=self._files.log,
            uptime_seconds=uptime_seconds,
        )

    def _require_same_address(self, running: NodeRecord) -> None:
        if (self.host, self.port or running.port) != (running.host, running.port):
            raise PlatformError(
                f"the Cassandra of {self.state_dir} already runs on {running.host}:{running.port} (pid {running.pid}), "
                f"not on {self.host}:{self.port}; stop it first, or name another folder"
            )


def embedded_node(settings: Settings, state_dir: Path | None = None) -> CassandraNode:
    """The node that serves these settings from this machine.

    Args:
        settings: conf, with one loopback host and `online.embedded` on.
        state_dir: the node's folder; None means `.state/cassandra` in the working folder, beside `conf`.

    Raises:
        UsageError: conf names a real cluster, or no Cassandra: nothing embedded starts.
    """
    online = settings.online
    nothing = f"nothing embedded starts for environment {settings.env!r}:"
    if online.type != "cassandra":
        raise UsageError(f"{nothing} online.type is {online.type!r}; it needs no server")
    strangers = [host for host in online.hosts if not _is_loopback(_address(host))]
    if strangers:
        raise UsageError(
            f"{nothing} online.hosts names a real cluster ({', '.join(strangers)}), which is run elsewhere"
        )
    if not online.embedded:
        raise UsageError(
            f"{nothing} online.embedded is false; set it to true in conf, or use --env with one where it is"
        )
    if len(online.hosts) != 1:
        raise UsageError(f"{nothing} it is one node, but online.hosts has {len(online.hosts)}; name just 127.0.0.1")
    return CassandraNode(state_dir=state_dir or DEFAULT_STATE_DIR, host=_address(online.hosts[0]), port=online.port)


def _runs(record: NodeRecord) -> bool:
    return is_running(record.pid, record.mark)


def _address(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
