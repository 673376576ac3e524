"""Which Cassandra of this machine serves which settings."""

import ipaddress
from pathlib import Path

from features.config import OnlineSettings, Settings
from features.embedded.cassandra import CassandraNode
from features.embedded.cassandra_cluster import CassandraCluster, known_hosts
from features.embedded.security import Security
from features.errors import UsageError

DEFAULT_NODE = Path(".state/cassandra")
DEFAULT_CLUSTER = Path(".state/cassandra-cluster")


def embedded_node(settings: Settings, state_dir: Path | None = None) -> CassandraNode:
    """The one node that serves these settings from this machine.

    Args:
        settings: conf, with one loopback host and `online.embedded` on.
        state_dir: the node's folder; None means `.state/cassandra` in the working folder, beside `conf`.

    Raises:
        UsageError: conf names a real cluster, several nodes, or no Cassandra: nothing embedded starts.
    """
    hosts = _embedded_hosts(settings)
    if len(hosts) != 1:
        raise UsageError(
            f"nothing embedded starts for environment {settings.env!r}: it is one node, but online.hosts has "
            f"{len(hosts)}; name just 127.0.0.1, or start a cluster with `features cassandra start`"
        )
    return CassandraNode(
        state_dir=state_dir or DEFAULT_NODE,
        host=hosts[0],
        port=settings.online.port,
        security=demanded_security(settings.online),
    )


def embedded_cassandra(
    settings: Settings, *, nodes: int | None = None, security: Security | None = None
) -> CassandraNode | CassandraCluster:
    """The node, or the cluster, that serves these settings from this machine.

    Args:
        settings: conf, with loopback hosts and `online.embedded` on.
        nodes: how many; their addresses are 127.0.0.1, 127.0.0.2, ... None: those of the cluster that was started
            before and not reset, or else those that conf names.
        security: what they demand of clients; None: what the settings bring, a user name and TLS.

    Raises:
        UsageError: conf names a real cluster or no Cassandra, or hosts that are none of the nodes.
    """
    hosts = _embedded_hosts(settings)
    demanded = security or demanded_security(settings.online)
    if nodes is not None:
        wanted = tuple(f"127.0.0.{number}" for number in range(1, nodes + 1))
        strangers = sorted(set(hosts) - set(wanted))
        if not 1 <= nodes <= 9 or strangers:
            raise UsageError(
                f"online.hosts has {', '.join(hosts)}: start 1 to 9 nodes that they are among, not {nodes}"
            )
    else:
        wanted = known_hosts(DEFAULT_CLUSTER) or hosts
    port = settings.online.port
    if len(wanted) > 1:
        return CassandraCluster(state_dir=DEFAULT_CLUSTER, hosts=wanted, port=port, security=demanded)
    return CassandraNode(state_dir=DEFAULT_NODE, host=wanted[0], port=port, security=demanded)


def stop_embedded() -> None:
    """Stops what runs in the default folders: the node, the cluster, or both. Data stays.

    Raises:
        PlatformError: one does not end.
    """
    CassandraNode(state_dir=DEFAULT_NODE).stop()
    hosts = known_hosts(DEFAULT_CLUSTER)
    if hosts is not None:
        CassandraCluster(state_dir=DEFAULT_CLUSTER, hosts=hosts).stop()


def demanded_security(online: OnlineSettings) -> Security:
    """What an embedded node demands where it serves these settings: what its clients bring."""
    return Security(passwords=online.username is not None, tls=online.tls is not None)


def jmx_ports(settings: Settings, state_dir: Path | None = None) -> dict[str, int]:
    """The JMX port, on 127.0.0.1, of each embedded node that runs now and serves these settings, by its address.

    Empty where none does, as for a real cluster. A port may change with each start of a node.

    Args:
        settings: conf.
        state_dir: the folder of a node or a cluster; None: the default ones.
    """
    folders = [state_dir] if state_dir else [DEFAULT_NODE, DEFAULT_CLUSTER]
    found = {}
    for folder in folders:
        hosts = known_hosts(folder)
        port = settings.online.port
        nodes = CassandraCluster(state_dir=folder, hosts=hosts, port=port).nodes if hosts else ()
        for node in nodes or (CassandraNode(state_dir=folder, port=port),):
            status = node.status()
            if status.running and status.port == port:
                found[status.host] = status.jmx_port
    return found if set(map(_address, settings.online.hosts)) <= set(found) else {}


def _embedded_hosts(settings: Settings) -> tuple[str, ...]:
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
    return tuple(_address(host) for host in online.hosts)


def _address(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
