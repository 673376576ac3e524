"""Our side: a Cassandra, a registry with the views, and their tables."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from cassandra.cluster import Session

from benchmarks.online.shape import KEYSPACE, Shape
from benchmarks.places import STATE
from benchmarks.racing import module_command
from features.config import OnlineSettings
from features.core.definitions import BatchSource, Entity, FeatureService, FeatureView
from features.core.discovery import Definitions
from features.core.dtypes import DType
from features.core.feature import Feature
from features.embedded.cassandra import CassandraNode
from features.functions import DataFrame
from features.registry import Registry
from features.serving.client import OnlineClient
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_session import connect

FOLDER = STATE / "online"
KEY = "entity"
SERVICE = "bench"
_HEAP_MB = 2048
# What compaction after a load may take from reads, as an operator bounds it; the embedded node leaves it unbounded.
_OPTIONS = {"compaction_throughput": "16MiB/s"}


def define(shape: Shape) -> Definitions:
    """The views, and a service of all their features."""
    source = BatchSource(name="unused", path="unused", format="parquet", timestamp_field="event_timestamp")
    entity = Entity(name=KEY, join_keys={KEY: DType.INT64})
    views = {
        name: FeatureView(
            name=name,
            entities=[entity],
            sources=[source],
            transform=_never_run,
            features=[Feature(feature, DType.FLOAT64) for feature in names],
            lookback=None,
            schedule="@daily",
            delay=timedelta(0),
            owner="team@example.com",
            description="a view that is read online",
        )
        for name, names in shape.columns.items()
    }
    service = FeatureService(name=SERVICE, features=list(views), owner="team@example.com")
    return Definitions(views=views, services={SERVICE: service})


@contextmanager
def running_node() -> Iterator[int]:
    """The port of a Cassandra that keeps what it was given from run to run."""
    node = _node()
    node.start()
    try:
        yield node.status().port
    finally:
        node.stop()


def _node() -> CassandraNode:
    return CassandraNode(state_dir=FOLDER / "cassandra", port=0, heap_mb=_HEAP_MB, options=_OPTIONS)


def settings(port: int) -> OnlineSettings:
    """How the store is reached."""
    return OnlineSettings(port=port, keyspace=KEYSPACE, consistency="LOCAL_ONE", timeout_seconds=30)


def open_registry(shape: Shape) -> Registry:
    """A registry in which the views are applied."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    registry = Registry.open(f"sqlite:///{FOLDER.absolute() / f'registry-{shape.views}x{shape.features}.db'}")
    registry.apply(define(shape))
    return registry


def open_client(registry: Registry, port: int) -> tuple[OnlineClient, CassandraStore]:
    """A client as an app has it, and its store."""
    store = CassandraStore(settings(port))
    return OnlineClient(registry, store), store


def fill(shape: Shape, port: int) -> None:
    """Load every view's table where that was not done, from a Spark of its own."""
    done = FOLDER / f"filled-{shape.entities}-{shape.views}x{shape.features}"
    if not done.exists():
        subprocess.run(load_command(shape, port, position=1), check=True)
        done.touch()
    _await_compactions(port)


def _await_compactions(port: int) -> None:
    """Until the tables are as loads leave them after a while."""
    session = connect(settings(port))
    try:
        while _under_way(session):
            time.sleep(1)
    finally:
        session.cluster.shutdown()


def _under_way(session: Session) -> bool:
    # A moment without any may lie between two: it is asked again.
    for _ in range(3):
        if session.execute("SELECT * FROM system_views.sstable_tasks").one() is not None:
            return True
        time.sleep(1)
    return False


def load_command(shape: Shape, port: int, *, position: int) -> tuple[str, ...]:
    """The command of a full load of all tables, at a log position."""
    return module_command(
        "benchmarks.online.load",
        *map(str, (port, _node().status().jmx_port, position, shape.entities, shape.views, shape.features)),
    )


def _never_run(unused: DataFrame) -> DataFrame:
    return unused
