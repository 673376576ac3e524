"""Feast's Cassandra online store, in an environment of its own: one row for each feature, values packed as blobs.

It is handed a frame that is in memory already, and writes the first rows of the log alone: it takes minutes for more.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.feast_repository import open_feast
from benchmarks.load.shape import BASE, keyspace, read_node

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

ROWS = 20_000
_VIEW, _KEY = "scores", "customer"
_OWN = ("created_timestamp", "_op", "_seq", "_interval")


def prepare(folder: str) -> None:
    """An empty keyspace, and a registry that knows the view."""
    from cassandra.cluster import Cluster
    from cassandra.policies import DCAwareRoundRobinPolicy
    from feast import Entity, FeatureView, Field, FileSource, ValueType, types

    port, _ = read_node()
    name = keyspace(sys.argv[1], folder)
    cluster = Cluster(
        ["127.0.0.1"], port=port, protocol_version=5, load_balancing_policy=DCAwareRoundRobinPolicy("datacenter1")
    )
    session = cluster.connect()
    session.execute(f"DROP KEYSPACE IF EXISTS {name}", timeout=60)
    session.execute(
        f"CREATE KEYSPACE {name} WITH replication = {{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}}"
    )
    cluster.shutdown()
    store = _open(folder)
    kinds = {"float": types.Float32, "double": types.Float64, "int64": types.Int64, "int32": types.Int32}
    schema = _features(folder)
    if unknown := {kind for kind in schema.values() if kind not in kinds}:
        raise SystemExit(f"Feast's part is of numbers alone, not of {sorted(unknown)}")
    entity = Entity(name=_KEY, join_keys=[_KEY], value_type=ValueType.INT64)
    view = FeatureView(
        name=_VIEW,
        entities=[entity],
        ttl=timedelta(days=365_00),
        schema=[Field(name=_KEY, dtype=types.Int64), *(Field(name=n, dtype=kinds[k]) for n, k in schema.items())],
        source=FileSource(name="unused", path="unused.parquet", timestamp_field="event_timestamp"),
    )
    store.apply([entity, view])


def write(folder: str, out: str) -> dict[str, Any]:
    """Write the rows."""
    frame = _frame(folder)
    _open(folder).write_to_online_store(_VIEW, df=frame)
    return {"rows": len(frame)}


def _open(folder: str) -> "FeatureStore":
    port, _ = read_node()
    return open_feast(Path(folder, "feast"), port=port, keyspace=keyspace(sys.argv[1], folder))


def _file(folder: str) -> Path:
    return next(Path(folder, BASE, _VIEW, "v1").glob("*.parquet"))


def _features(folder: str) -> dict[str, str]:
    """Name and Arrow type of each feature."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(_file(folder))
    own = (_KEY, "event_timestamp", *_OWN)
    return {field.name: str(field.type) for field in schema if field.name not in own}


def _frame(folder: str) -> "pd.DataFrame":
    import pyarrow.parquet as pq

    table = pq.read_table(_file(folder), columns=[_KEY, "event_timestamp", *_features(folder)])
    frame: pd.DataFrame = table.slice(0, ROWS).to_pandas()
    return frame
