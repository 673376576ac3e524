"""Which nodes a reader may ask, and which of them hold a key: as the driver's control connection knows it."""

import random
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from cassandra.cluster import Session
from cassandra.metadata import Murmur3Token

from features.stores.wire.nodes import Address, Node
from features.stores.wire.plane import Router

# The driver hears of nodes that come and go at once; this is how long a reader may take to look.
_REFRESH_SECONDS = 1.0


class _Ring(NamedTuple):
    """What is known at one moment. tokens: sorted, owners: beside them; both empty where none is known, or needed."""

    live: tuple[Address, ...] = ()
    down: frozenset[Address] = frozenset()
    tokens: Sequence[int] = ()
    owners: Sequence[tuple[Address, ...]] = ()


class DriverTopology:
    """The ring as the driver sees it, looked at anew each second. Safe to use from threads."""

    def __init__(self, session: Session, *, keyspace: str, datacenter: str) -> None:
        self._cluster = session.cluster
        self._keyspace = keyspace
        self._datacenter = datacenter
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        # Replaced as a whole: threads must not meet the tokens of one ring beside the owners of another.
        self._ring = _Ring()
        self._seen: tuple[object, ...] = ()

    def live(self) -> tuple[Address, ...]:
        """The datacenter's nodes, those that are up first: the same object until something changes."""
        return self._refreshed().live

    def down(self) -> frozenset[Address]:
        """Those of them that the driver knows to be down."""
        return self._refreshed().down

    def owners(self, routing_key: bytes) -> tuple[Address, ...]:
        """The replicas of a partition key in the datacenter; empty where the ring is not known."""
        ring = self._refreshed()
        tokens = ring.tokens
        if not tokens:
            return ()
        at = bisect_left(tokens, Murmur3Token.hash_fn(routing_key))
        return ring.owners[at if at < len(tokens) else 0]

    def _refreshed(self) -> _Ring:
        if time.monotonic() >= self._read_at + _REFRESH_SECONDS:
            with self._lock:
                if time.monotonic() >= self._read_at + _REFRESH_SECONDS:
                    self._refresh()
                    self._read_at = time.monotonic()
        return self._ring

    def _refresh(self) -> None:
        metadata = self._cluster.metadata
        local = [host for host in metadata.all_hosts() if host.datacenter in (None, self._datacenter)]
        local.sort(key=lambda host: host.is_up is False)
        token_map = metadata.token_map if len(local) > 1 else None
        replicas = None
        if token_map is not None:
            # The driver makes it when it is first asked for, and a new one at each change.
            token_map.rebuild_keyspace(self._keyspace, build_if_absent=True)
            replicas = token_map.tokens_to_hosts_by_ks.get(self._keyspace)
        # Objects that are the same are not compared any further.
        seen = (*((_address(host), host.datacenter, host.is_up) for host in local), token_map, replicas)
        if seen == self._seen:
            return
        ring = token_map.ring if token_map is not None and replicas else ()
        self._ring = _Ring(
            live=tuple(_address(host) for host in local),
            down=frozenset(_address(host) for host in local if host.is_up is False),
            tokens=[token.value for token in ring],
            owners=[self._local(replicas.get(token, ())) for token in ring] if replicas else (),
        )
        self._seen = seen

    def _local(self, hosts: Iterable[Any]) -> tuple[Address, ...]:
        return tuple(_address(host) for host in hosts if host.datacenter == self._datacenter)


class RingRouter(Router):
    """Nodes by the topology, for one event loop. open_node: makes the node of an address, not yet connected."""

    def __init__(self, topology: DriverTopology, open_node: Callable[[Address], Node]) -> None:
        self._topology = topology
        self._open_node = open_node
        self._nodes: dict[Address, Node] = {}
        self._live: tuple[Address, ...] = ()
        self._live_nodes: Sequence[Node] = ()
        self._closed = False

    def nodes(self) -> Sequence[Node]:
        """See `Router.nodes`."""
        live = self._topology.live()
        if live is not self._live:
            self._live, self._live_nodes = live, [self._node(address) for address in live]
            down = self._topology.down()
            for node in self._nodes.values():
                node.is_up = node.address not in down
        return self._live_nodes

    def replicas(self, routing_key: bytes) -> Sequence[Node]:
        """See `Router.replicas`: who may answer, is up, has the least under way comes first: slow nodes are spared."""
        found = [self._node(address) for address in self._topology.owners(routing_key)] or list(self.nodes())
        random.shuffle(found)
        return sorted(found, key=_reluctance)

    def owner(self, routing_key: bytes) -> Address | None:
        """The first replica of a key; None where the ring is not known, or is one node."""
        owners = self._topology.owners(routing_key)
        return owners[0] if owners else None

    def close(self) -> None:
        """Give up all connections, for good."""
        self._closed = True
        for node in self._nodes.values():
            node.close()

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = self._open_node(address)
            if self._closed:
                node.close()
        return node


def _reluctance(node: Node) -> tuple[bool, bool, int]:
    return not node.may_answer, not node.is_up, node.load


def _address(host: Any) -> Address:
    return Address(str(host.endpoint.address), int(host.endpoint.port))
