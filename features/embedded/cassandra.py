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

from features.embedded.disk import explained
from features.embedded.locking import exclusive
from features.embedded.node_files import NodeFiles, NodeRecord
from features.embedded.node_launch import (
    READY_SECONDS,
    TERMINATE_SECONDS,
    Launch,
    await_first_role,
    await_ready,
    kill,
    launch,
    own_data,
    terminate,
)
from features.embedded.processes import is_running
from features.embedded.ring import Ring
from features.embedded.security import OPEN, Certificates, Security
from features.errors import PlatformError, UsageError

logger = logging.getLogger(__name__)

# Longer than another process's start may take, a first download of jars aside.
_CONTROL_SECONDS = READY_SECONDS + 2 * TERMINATE_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What is known of a node. `pid` and `uptime_seconds` are None where it does not run.

    `port` is where it listens, or would; 0 where it was left to the first start, which is still to come.
    `jmx_port` is on 127.0.0.1, for processes of this machine, without a password; 0 where it does not run.
    `security` is what it demands of clients, or would; `certificates`, for those over TLS.
    """

    running: bool
    pid: int | None
    host: str
    port: int
    state_dir: Path
    log: Path
    uptime_seconds: float | None
    jmx_port: int
    security: Security
    certificates: Certificates | None


@dataclass(frozen=True, kw_only=True)
class CassandraNode:
    """One node with data of its own. Nodes with different folders and ports run side by side.

    Attributes:
        state_dir: its folder: data, configuration, log; made at the first start.
        host: the loopback address that everything binds to.
        port: CQL; 0 lets the first start choose a free one, which is kept as long as it stays free.
        heap_mb: heap of the JVM in MiB; the process takes about 450 MiB more.
        options: settings of cassandra.yaml that win over the generated ones, at the next start.
        security: what it demands of clients, at the next start.
        tls_dir: where its certificates are, or will be; None: `tls` in its folder. A reset keeps them.
        ring: the cluster that it is of (`CassandraCluster` sets it); None: it is alone.

    Raises:
        UsageError: the host is not loopback, the port is none, or the heap is too small.
    """

    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 9042
    heap_mb: int = 512
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    security: Security = OPEN
    tls_dir: Path | None = None
    ring: Ring | None = None

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
            return Status(
                running=False,
                pid=None,
                host=self.host,
                port=port,
                state_dir=self.state_dir,
                log=self._files.log,
                uptime_seconds=None,
                jmx_port=0,
                security=self.security,
                certificates=self._certificates if self.security.tls else None,
            )
        return Status(
            running=True,
            pid=record.pid,
            host=record.host,
            port=record.port,
            state_dir=self.state_dir,
            log=self._files.log,
            uptime_seconds=max(0.0, time.time() - record.started_at),
            jmx_port=record.jmx_port,
            security=record.security,
            certificates=Certificates(folder=Path(record.tls_dir)) if record.tls else None,
        )

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
                self._require_same(record)
                await_ready(record, self._files, progress)
                self._await_first_role(record, progress)
                progress(f"Cassandra already runs on {record.host}:{record.port} (pid {record.pid})")
                return self.status()
            began = time.monotonic()
            asked = Launch(
                host=self.host,
                port=self.port,
                heap_mb=self.heap_mb,
                options=self.options,
                security=self.security,
                certificates=self._certificates,
                ring=self.ring,
            )
            record = launch(asked, self._files, progress)
            try:
                await_ready(record, self._files, progress)
                self._await_first_role(record, progress)
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

    def kill(self) -> Status:
        """Ends the process as a crash would, by SIGKILL, for tests of what then happens. Its data stays.

        Raises:
            PlatformError: it did not end.
        """
        with self._control():
            record = self._files.read_record()
            if record is not None:
                kill(record)
        return self.status()

    def reset(self) -> Status:
        """Stops the node and deletes its data, its log and the port it chose. Other files stay, certificates too.

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
    def _certificates(self) -> Certificates:
        return Certificates(folder=self.tls_dir or self.state_dir / "tls")

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

    def _await_first_role(self, record: NodeRecord, progress: Callable[[str], None]) -> None:
        # In a cluster it takes a quorum of nodes, which may be still to start.
        if self.ring is None:
            await_first_role(record, self._files, progress)

    def _require_same(self, running: NodeRecord) -> None:
        if (self.host, self.port or running.port) != (running.host, running.port):
            raise PlatformError(
                f"the Cassandra of {self.state_dir} already runs on {running.host}:{running.port} (pid {running.pid}), "
                f"not on {self.host}:{self.port}; stop it first, or name another folder"
            )
        if self.security != running.security:
            raise PlatformError(
                f"the Cassandra of {self.state_dir} already runs with {running.security} (pid {running.pid}), not with "
                f"{self.security}; stop it first, or ask for what it has"
            )


def _runs(record: NodeRecord) -> bool:
    return is_running(record.pid, record.mark)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
