"""Several Cassandra nodes on this machine that make one cluster: to meet here what happens when one of them dies."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from features.embedded import ports
from features.embedded.cassandra import CassandraNode, Status
from features.embedded.disk import explained
from features.embedded.locking import exclusive
from features.embedded.node_files import NodeFiles, NodeRecord
from features.embedded.node_launch import READY_SECONDS, TERMINATE_SECONDS, await_first_role
from features.embedded.ring import Ring
from features.embedded.security import OPEN, Security
from features.errors import PlatformError, UsageError

_SEEN = re.compile(r"InetAddress /([\d.]+):\d+ is now (UP|DOWN)")
_POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class CassandraCluster:
    """Nodes of one cluster, each on a loopback address of its own, with the same CQL port. Found again by its folder.

    Attributes:
        state_dir: its folder: `node1`, `node2`, ... and the certificates of all in `tls`; made at the first start.
        hosts: the address of each node; the first is the seed. A folder keeps its nodes until a reset.
        port: CQL; 0 lets the first start choose one that is free on all addresses.
        heap_mb: heap of each node in MiB; its process takes about 450 MiB more.
        options: settings of cassandra.yaml that win over the generated ones, on each node.
        security: what nodes demand of clients. They trust each other without it.

    Raises:
        UsageError: fewer than two nodes, an address named twice, or what `CassandraNode` refuses.
    """

    state_dir: Path
    hosts: tuple[str, ...] = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    port: int = 9042
    heap_mb: int = 512
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    security: Security = OPEN

    def __post_init__(self) -> None:
        if len(self.hosts) < 2 or len(set(self.hosts)) < len(self.hosts):
            raise UsageError(
                f"a cluster has at least two nodes, each with its own address, not {', '.join(self.hosts)}"
            )
        object.__setattr__(self, "state_dir", Path(self.state_dir).absolute())
        self._nodes(self.port, 0)

    @property
    def nodes(self) -> tuple[CassandraNode, ...]:
        """Its nodes, the seed first, with the ports that were chosen, or 0 where that is still to come."""
        chosen = self._read_layout()
        return self._nodes(self.port or chosen.get("port", 0), chosen.get("storage_port", 0))

    def status(self) -> tuple[Status, ...]:
        """What each node does now, without connecting."""
        return tuple(node.status() for node in self.nodes)

    def start(self, progress: Callable[[str], None] = lambda _: None) -> tuple[Status, ...]:
        """Starts the nodes that do not run, and returns once all answer CQL and know of each other.

        Args:
            progress: is told of each step in a few words.

        Raises:
            PlatformError: the folder holds a cluster of other addresses, or a node does not start. Others that run go
                on: start again, or stop.
        """
        with self._control():
            self._choose_layout()
            seed, *others = self.nodes
            seed.start(progress)
            with ThreadPoolExecutor(len(others)) as pool:
                for node in [pool.submit(other.start, progress) for other in others]:
                    node.result()
        self.await_ready(progress)
        return self.status()

    def stop(self) -> tuple[Status, ...]:
        """Stops all nodes and keeps their data.

        Raises:
            PlatformError: one does not end.
        """
        if self.state_dir.is_dir():
            with self._control():
                self._for_each(CassandraNode.stop)
        return self.status()

    def reset(self) -> tuple[Status, ...]:
        """Stops all nodes and deletes what they hold; certificates stay.

        Raises:
            PlatformError: one does not end, or its files cannot be deleted.
        """
        if self.state_dir.is_dir():
            with self._control():
                self._for_each(CassandraNode.reset)
                self._layout.unlink(missing_ok=True)
        return self.status()

    def kill(self, index: int) -> Status:
        """Ends one node as a crash would, by SIGKILL; the others notice by themselves, after about ten seconds.

        Args:
            index: of `hosts`, from 0.

        Raises:
            PlatformError: it did not end.
        """
        return self.nodes[index].kill()

    def restart(self, index: int, progress: Callable[[str], None] = lambda _: None) -> Status:
        """Starts one node, after a stop where it runs, and returns once it and the others that run know of each other.

        Raises:
            PlatformError: it does not stop, or not start.
        """
        node = self.nodes[index]
        node.stop()
        node.start(progress)
        self.await_ready(progress)
        return node.status()

    def await_ready(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Returns once each node that runs takes each other one that runs for alive, and clients can log in.

        Raises:
            PlatformError: that does not happen in time, or a node ended.
        """
        deadline = time.monotonic() + READY_SECONDS
        while lonely := self._lonely():
            if time.monotonic() > deadline:
                node, peer = lonely
                raise PlatformError(
                    f"the node on {node} does not find the one on {peer}; see the logs in {self.state_dir}"
                )
            time.sleep(_POLL_SECONDS)
        # One node's word is enough, now or before: roles are the cluster's.
        if not any(NodeFiles(folder=node.state_dir).superuser.exists() for node in self.nodes):
            for files, record in self._running()[:1]:
                await_first_role(record, files, progress)

    def _lonely(self) -> tuple[str, str] | None:
        """Two running nodes of which the first does not know that the second is up."""
        running = self._running()
        hosts = {record.host for _, record in running}
        for files, record in running:
            for peer in sorted(hosts - {record.host} - _seen_up(files, record, hosts)):
                return record.host, peer
        return None

    def _running(self) -> list[tuple[NodeFiles, NodeRecord]]:
        running = [NodeFiles(folder=node.state_dir) for node in self.nodes if node.status().running]
        return [(files, record) for files in running if (record := files.read_record()) is not None]

    def _nodes(self, port: int, storage_port: int) -> tuple[CassandraNode, ...]:
        ring = Ring(hosts=self.hosts, storage_port=storage_port)
        return tuple(
            CassandraNode(
                state_dir=self.state_dir / f"node{number}",
                host=host,
                port=port,
                heap_mb=self.heap_mb,
                options=self.options,
                security=self.security,
                tls_dir=self.state_dir / "tls",
                ring=ring,
            )
            for number, host in enumerate(self.hosts, start=1)
        )

    def _for_each(self, action: Callable[[CassandraNode], Status]) -> None:
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            for done in [pool.submit(action, node) for node in self.nodes]:
                done.result()

    @property
    def _layout(self) -> Path:
        return self.state_dir / "cluster.json"

    def _read_layout(self) -> dict[str, int]:
        try:
            content = json.loads(self._layout.read_text(encoding="utf-8"))
            return {name: int(content[name]) for name in ("port", "storage_port")}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}

    def _choose_layout(self) -> None:
        """Writes down which nodes there are and the ports that all share, once."""
        known = known_hosts(self.state_dir)
        if known is not None and known != self.hosts:
            raise PlatformError(
                f"{self.state_dir} holds a cluster of {', '.join(known)}, not of {', '.join(self.hosts)}; reset it "
                "first, or name another folder"
            )
        chosen = self._read_layout()
        port = self.port or chosen.get("port") or _free_on_all(self.hosts)
        storage_port = chosen.get("storage_port") or _free_on_all(self.hosts, avoid=port)
        content = {"hosts": self.hosts, "port": port, "storage_port": storage_port}
        self._layout.write_text(json.dumps(content), encoding="utf-8")

    @contextmanager
    def _control(self) -> Iterator[None]:
        with explained(self.state_dir, "the cluster's files", "name another folder"):
            self.state_dir.mkdir(parents=True, exist_ok=True)
            with exclusive(self.state_dir / "control.lock", timeout_seconds=2 * READY_SECONDS + 2 * TERMINATE_SECONDS):
                yield


def known_hosts(state_dir: Path) -> tuple[str, ...] | None:
    """The addresses of the cluster that a folder holds; None where it holds none."""
    try:
        return tuple(json.loads((state_dir / "cluster.json").read_text(encoding="utf-8"))["hosts"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _seen_up(files: NodeFiles, record: NodeRecord, hosts: set[str]) -> set[str]:
    """The peers that a node said are up, when it last spoke of them since its start. Nothing else tells it for free."""
    if files.has_rolled_since(record.started_at):
        return hosts
    seen = dict(_SEEN.findall(files.log_since(record.log_from)))
    return {host for host, state in seen.items() if state == "UP"}


def _free_on_all(hosts: tuple[str, ...], avoid: int = 0) -> int:
    while True:
        port = ports.choose_free(hosts[0], avoid=(avoid,))
        if all(ports.is_free(host, port) for host in hosts):
            return port
