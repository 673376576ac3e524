"""Whom a reader asks first, and when it looks at the driver's ring again."""

from types import SimpleNamespace
from typing import Any

import pytest
from cassandra.metadata import Murmur3Token

from features.stores import cassandra_topology
from features.stores.cassandra_topology import DriverTopology, RingRouter
from features.stores.wire.nodes import Address, Node
from features.stores.wire.opening import Access


class TokenMap:
    """As the driver's; counts how often its ring is gone through."""

    def __init__(self, hosts: list[Any]) -> None:
        self.tokens = [Murmur3Token(number * 1000) for number in range(-3, 3)]
        self.tokens_to_hosts_by_ks: dict[str, Any] = {}
        self.looks = 0
        self._hosts = hosts

    @property
    def ring(self) -> list[Murmur3Token]:
        self.looks += 1
        return self.tokens

    def rebuild_keyspace(self, keyspace: str, *, build_if_absent: bool) -> None:
        if build_if_absent and keyspace not in self.tokens_to_hosts_by_ks:
            self.replace(keyspace, self._hosts)

    def replace(self, keyspace: str, hosts: list[Any]) -> None:
        self.tokens_to_hosts_by_ks[keyspace] = {token: tuple(hosts) for token in self.tokens}


@pytest.fixture
def hosts() -> list[Any]:
    return [
        SimpleNamespace(endpoint=SimpleNamespace(address=f"127.0.0.{number}", port=9042), datacenter="dc", is_up=True)
        for number in (1, 2, 3)
    ]


@pytest.fixture
def token_map(hosts) -> TokenMap:
    return TokenMap(hosts)


@pytest.fixture
def topology(hosts, token_map, monkeypatch) -> DriverTopology:
    monkeypatch.setattr(cassandra_topology, "_REFRESH_SECONDS", 0.0)
    metadata = SimpleNamespace(all_hosts=lambda: list(hosts), token_map=token_map)
    session: Any = SimpleNamespace(cluster=SimpleNamespace(metadata=metadata))
    return DriverTopology(session, keyspace="features", datacenter="dc")


def router_of(topology: DriverTopology) -> RingRouter:
    return RingRouter(topology, lambda address: Node(address, Access(), connections=1, timeout_seconds=1))


def address(number: int) -> Address:
    return Address(f"127.0.0.{number}", 9042)


def test_the_ring_is_made_once_while_nothing_changes(topology, token_map):
    first = topology.live()
    for _ in range(5):
        assert topology.owners(b"k") == tuple(address(number) for number in (1, 2, 3))

    assert topology.live() is first
    assert token_map.looks == 1


def test_a_changed_replication_is_followed(topology, token_map, hosts):
    topology.owners(b"k")
    token_map.replace("features", hosts[1:])

    assert topology.owners(b"k") == (address(2), address(3))


def test_a_node_that_is_down_comes_last(topology, hosts):
    router = router_of(topology)
    router.nodes()
    hosts[0].is_up = False

    assert [node.address for node in router.nodes()][-1] == address(1)
    assert {router.replicas(b"k")[-1].address for _ in range(20)} == {address(1)}


def test_a_node_that_comes_back_is_asked_as_others_are(topology, hosts):
    router = router_of(topology)
    hosts[0].is_up = False
    router.nodes()
    hosts[0].is_up = True
    router.nodes()

    assert address(1) in {router.replicas(b"k")[0].address for _ in range(100)}


def test_a_node_of_a_router_that_was_closed_is_closed(topology):
    router = router_of(topology)
    router.close()

    assert not any(node.may_answer for node in router.nodes())
