"""A repository of Feast's over its Cassandra online store, as benchmarks have it; used in Feast's own environment."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast import FeatureStore

_SETTINGS = """project: bench
provider: local
registry: {registry}
online_store:
  type: cassandra
  hosts: [127.0.0.1]
  port: {port}
  keyspace: {keyspace}
  protocol_version: 5
  load_balancing:
    local_dc: datacenter1
    load_balancing_policy: TokenAwarePolicy(DCAwareRoundRobinPolicy)
  read_concurrency: 200
  write_concurrency: 200
offline_store:
  type: file
entity_key_serialization_version: 3
"""


def open_feast(place: Path, *, port: int, keyspace: str) -> "FeatureStore":
    """Feast's store over the Cassandra at that port; its feature_store.yaml is written into the folder."""
    from feast import FeatureStore

    place.mkdir(parents=True, exist_ok=True)
    settings = _SETTINGS.format(registry=(place / "registry.db").absolute(), port=port, keyspace=keyspace)
    (place / "feature_store.yaml").write_text(settings)
    return FeatureStore(repo_path=str(place))
