"""Which nodes make one cluster, and what each of them must be told to find the others."""

from dataclasses import dataclass

_TOKENS = 1 << 64
_MIN_TOKEN = -(1 << 63)
_TOKENS_PER_NODE = 4
_REPLICAS_OF_SYSTEM_TABLES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Ring:
    """The nodes of a cluster. The first is the seed: it starts first, and a new node learns of the others from it.

    Attributes:
        hosts: a loopback address for each node.
        storage_port: where they all talk to each other.
    """

    hosts: tuple[str, ...]
    storage_port: int

    def options(self, host: str) -> dict[str, object]:
        """What cassandra.yaml of the node on `host` must say."""
        seeds = f"{self.hosts[0]}:{self.storage_port}"
        return {
            "seed_provider": [
                {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [{"seeds": seeds}]}
            ],
            "num_tokens": _TOKENS_PER_NODE,
            "initial_token": ",".join(map(str, self.tokens(host))),
            # What a node misses while it is down, others keep for it.
            "hinted_handoff_enabled": True,
        }

    def properties(self) -> dict[str, object]:
        """What the JVM of each node must be told."""
        replicas = min(_REPLICAS_OF_SYSTEM_TABLES, len(self.hosts))
        return {
            # How long a new node may look for the seed; it waits no longer than it must.
            "cassandra.ring_delay_ms": 30_000,
            # A node that took clients before it saw its peers would tell them that too few replicas are up.
            "cassandra.skip_wait_for_gossip_to_settle": -1,
            "cassandra.gossip_settle_min_wait_ms": 500,
            "cassandra.gossip_settle_interval_ms": 500,
            # Peers that were told of a stop need not find out by themselves.
            "cassandra.shutdown_announce_in_ms": 500,
            # The first role is made by a quorum, which a seed alone is not: it tries again this often.
            "cassandra.superuser_setup_delay_ms": 500,
            # With one replica of the roles, nobody could log in while the node that holds it is down.
            "cassandra.system_auth.default_rf": replicas,
            "cassandra.system_distributed.default_rf": replicas,
            "cassandra.system_traces.default_rf": replicas,
        }

    def tokens(self, host: str) -> list[int]:
        """Where the node's ranges end: evenly spaced and dealt in turn, so that all nodes own equal shares.

        Chosen by each node for itself they would be random, and nodes that start together could not know of each other.
        """
        count = _TOKENS_PER_NODE * len(self.hosts)
        own = range(self.hosts.index(host), count, len(self.hosts))
        return [_MIN_TOKEN + _TOKENS * (number + 1) // (count + 1) for number in own]
