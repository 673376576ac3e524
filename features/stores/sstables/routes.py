"""The way of a load into Cassandra: which there is, which one it takes, and why."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.config import OnlineSettings
from features.errors import ConfigError, PlatformError
from features.stores.base import LoadSize, WritePath
from features.stores.sstables.java_tools import FindJava

if TYPE_CHECKING:
    from cassandra.cluster import Session

_CONNECT_SECONDS = 2.0
_STORAGE_PORT = 7000


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportRoute:
    """A node on this machine takes the files itself. host, port: of its JMX."""

    host: str
    port: int
    username: str | None = None
    password_env: str | None = None

    def password(self) -> str:
        """The password, empty where none is needed. Raises: ConfigError: its variable is not set."""
        if self.password_env is None:
            return ""
        if self.password_env not in os.environ:
            raise ConfigError(f"online.load.jmx_password_env names {self.password_env}, which is not set")
        return os.environ[self.password_env]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamNode:
    """A node that files are streamed to. port: between nodes. ranges: of tokens (low, high] that it holds."""

    address: str
    port: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamRoute:
    """The files are streamed to every replica of their keys, as the cluster's own tools do it."""

    nodes: tuple[StreamNode, ...]


Route = ImportRoute | StreamRoute


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkTools:
    """What loads as SSTables need of the machine: given by who opens a store that loads.

    Attributes:
        find_java: see `FindJava`.
        jmx_ports: host to JMX port of nodes that are known to run on this machine; asked for each load.
    """

    find_java: FindJava
    jmx_ports: Callable[[], Mapping[str, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """path: "sstable" or "cql", with the reason. route: of SSTables alone."""

    path: WritePath
    route: Route | None = None


def decide(
    settings: OnlineSettings, size: LoadSize, tools: BulkTools | None, session: "Session", *, wanted: str | None
) -> Decision:
    """How a load of that size is written.

    Args:
        settings: `online.load.path` says "auto", or which.
        size: at most.
        tools: None: the store was not opened for loads.
        session: knows the cluster.
        wanted: wins over the setting; None: the setting holds.

    Raises: PlatformError: SSTables were asked for, and cannot be written or handed over.
    """
    asked = wanted or settings.load.path
    if asked == "cql":
        return Decision(path=WritePath(name="cql", reason="it was asked for"))
    if asked == "auto" and size.rows < settings.load.sstable_rows:
        reason = f"at most {size.rows:,} keys, fewer than online.load.sstable_rows = {settings.load.sstable_rows:,}"
        return Decision(path=WritePath(name="cql", reason=reason))
    try:
        route = _find_route(settings, tools, session)
    except PlatformError as exc:
        if asked == "sstable":
            raise
        return Decision(path=WritePath(name="cql", reason=f"SSTables cannot be handed over: {exc}"))
    how = "imported into the node" if isinstance(route, ImportRoute) else f"streamed, nodes: {len(route.nodes)}"
    why = "it was asked for" if asked == "sstable" else f"up to {size.rows:,} keys"
    return Decision(path=WritePath(name="sstable", reason=f"{why}; {how}"), route=route)


def _find_route(settings: OnlineSettings, tools: BulkTools | None, session: "Session") -> Route:
    if tools is None:
        raise PlatformError("this store was opened for reading; open it through FeatureStore")
    tools.find_java()
    hosts = list(session.cluster.metadata.all_hosts())
    down = [str(host.address) for host in hosts if host.is_up is False]
    if down:
        raise PlatformError(f"{', '.join(down)} is down, and files reach a node only while it is up")
    if len(hosts) == 1:
        found = _jmx_address(settings, tools, str(hosts[0].address))
        if found is not None:
            host, port = found
            load = settings.load
            return ImportRoute(host=host, port=port, username=load.jmx_username, password_env=load.jmx_password_env)
    return _stream_route(settings, session, hosts)


def _jmx_address(settings: OnlineSettings, tools: BulkTools, host: str) -> tuple[str, int] | None:
    """Where the only node's JMX is, if the node is on this machine: only there it sees the files."""
    known = tools.jmx_ports()
    if host in known:
        return "127.0.0.1", known[host]
    if settings.load.jmx_port is not None and _is_here(host):
        return host, settings.load.jmx_port
    return None


def _is_here(host: str) -> bool:
    """Whether an address is one of this machine's: only such a one can be bound to."""
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _stream_route(settings: OnlineSettings, session: "Session", hosts: Sequence[Any]) -> StreamRoute:
    ring = session.cluster.metadata.token_map
    if ring is None:
        raise PlatformError("the cluster does not tell its token ring")
    ranges: dict[Any, list[tuple[int, int]]] = {host: [] for host in hosts}
    ends = list(ring.ring)
    for place, end in enumerate(ends):
        for host in ring.get_replicas(settings.keyspace, end):
            # The first range begins at the last token: the ring is round.
            ranges[host].append((ends[place - 1].value, end.value))
    nodes = tuple(
        StreamNode(
            address=str(host.broadcast_address or host.listen_address or host.address),
            port=settings.load.storage_port or host.broadcast_port or host.listen_port or _STORAGE_PORT,
            ranges=tuple(held),
        )
        for host, held in ranges.items()
        if held
    )
    if not nodes:
        raise PlatformError(f"the cluster does not tell who holds keyspace {settings.keyspace}")
    for node in nodes:
        _require_reachable(node)
    return StreamRoute(nodes=nodes)


def _require_reachable(node: StreamNode) -> None:
    try:
        socket.create_connection((node.address, node.port), timeout=_CONNECT_SECONDS).close()
    except OSError as exc:
        raise PlatformError(
            f"port {node.port} of {node.address}, on which nodes speak with each other, cannot be reached: {exc}; "
            "open it to the executors, set online.load.storage_port, or online.load.path to cql"
        ) from exc
