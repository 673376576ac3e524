"""Which nodes a reader may ask, and which of them hold a key: as the driver's control connection knows it."""

import random
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from cassandra.cluster import Session
from cassandra.metadata import Murmur3Token

from features.stores.wire.nodes import Address, Node
from features.stores.wire.plane import Router

# The driver hears of nodes that come and go at once; this is how long a reader may take to look.
_REFRESH_SECONDS = 1.0


class DriverTopology:
    """The ring as the driver sees it, read anew each second. Safe to use from threads."""

    def __init__(self, session: Session, *, keyspace: str, datacenter: str) -> None:
        self._cluster = session.cluster
        self._keyspace = keyspace
        self._datacenter = datacenter
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._live: tuple[Address, ...] = ()
        self._tokens: list[int] = []
        self._owners: list[tuple[Address, ...]] = []

    def live(self) -> tuple[Address, ...]:
        """The datacenter's nodes, those that are up first."""
        self._refresh()
        return self._live

    def owners(self, routing_key: bytes) -> tuple[Address, ...]:
        """The replicas of a partition key in the datacenter; empty where the ring is not known."""
        self._refresh()
        tokens = self._tokens
        if not tokens:
            return ()
        at = bisect_left(tokens, Murmur3Token.hash_fn(routing_key))
        return self._owners[at if at < len(tokens) else 0]

    def _refresh(self) -> None:
        if time.monotonic() < self._read_at + _REFRESH_SECONDS:
            return
        with self._lock:
            if time.monotonic() < self._read_at + _REFRESH_SECONDS:
                return
            metadata = self._cluster.metadata
            local = [host for host in metadata.all_hosts() if host.datacenter in (None, self._datacenter)]
            self._live = tuple(_address(host) for host in sorted(local, key=lambda host: host.is_up is False))
            self._tokens, self._owners = self._ring(metadata) if len(local) > 1 else ([], [])
            self._read_at = time.monotonic()

    def _ring(self, metadata: Any) -> tuple[list[int], list[tuple[Address, ...]]]:
        ring = metadata.token_map
        if ring is None:
            return [], []
        owners = []
        for token in ring.ring:
            hosts = ring.get_replicas(self._keyspace, token)
            owners.append(tuple(_address(host) for host in hosts if host.datacenter == self._datacenter))
        return [token.value for token in ring.ring], owners


class RingRouter(Router):
    """Nodes by the topology, for one event loop. open_node: makes the node of an address, not yet connected."""

    def __init__(self, topology: DriverTopology, open_node: Callable[[Address], Node]) -> None:
        self._topology = topology
        self._open_node = open_node
        self._nodes: dict[Address, Node] = {}
        self._live: tuple[Address, ...] = ()
        self._live_nodes: Sequence[Node] = ()

    def nodes(self) -> Sequence[Node]:
        """See `Router.nodes`."""
        live = self._topology.live()
        if live is not self._live:
            self._live, self._live_nodes = live, [self._node(address) for address in live]
        return self._live_nodes

    def replicas(self, routing_key: bytes) -> Sequence[Node]:
        """See `Router.replicas`: the one with the least under way first, so that a slow node is spared."""
        found = [self._node(address) for address in self._topology.owners(routing_key)] or list(self.nodes())
        random.shuffle(found)
        return sorted(found, key=lambda node: node.load)

    def owner(self, routing_key: bytes) -> Address | None:
        """The first replica of a key; None where the ring is not known, or is one node."""
        owners = self._topology.owners(routing_key)
        return owners[0] if owners else None

    def close(self) -> None:
        """Give up all connections."""
        for node in self._nodes.values():
            node.close()

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = self._open_node(address)
        return node


def _address(host: Any) -> Address:
    return Address(str(host.endpoint.address), int(host.endpoint.port))
