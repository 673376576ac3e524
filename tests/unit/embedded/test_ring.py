import pytest

from features.embedded.ring import Ring

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.mark.parametrize("count", [2, 3, 9])
def test_nodes_own_equal_shares_of_all_tokens(count: int) -> None:
    hosts = tuple(f"127.0.0.{number}" for number in range(1, count + 1))
    ring = Ring(hosts=hosts, storage_port=7000)
    owners = sorted((token, host) for host in hosts for token in ring.tokens(host))

    assert len({token for token, _ in owners}) == 4 * count
    shares = dict.fromkeys(hosts, 0)
    for (token, host), (before, _) in zip(owners, owners[-1:] + owners[:-1], strict=True):
        shares[host] += (token - before) % 2**64
    assert max(shares.values()) < 1.35 * min(shares.values())


def test_tokens_are_murmur3s() -> None:
    tokens = [token for host in HOSTS for token in Ring(hosts=HOSTS, storage_port=7000).tokens(host)]

    assert all(-(2**63) < token < 2**63 for token in tokens)


def test_the_first_node_is_the_only_seed() -> None:
    ring = Ring(hosts=HOSTS, storage_port=7001)

    assert {str(ring.options(host)["seed_provider"]).count("127.0.0.1:7001") for host in HOSTS} == {1}
    assert "127.0.0.2:7001" not in str(ring.options("127.0.0.2"))


def test_roles_are_on_as_many_nodes_as_there_are_up_to_three() -> None:
    pair = Ring(hosts=HOSTS[:2], storage_port=7000)

    assert pair.properties()["cassandra.system_auth.default_rf"] == 2
    assert Ring(hosts=HOSTS, storage_port=7000).properties()["cassandra.system_auth.default_rf"] == 3
