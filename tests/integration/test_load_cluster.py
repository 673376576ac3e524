"""Loads into three nodes that each hold every key: streamed SSTables and CQL, while a node dies."""

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from features import DType
from features.config import LoadSettings, OnlineSettings
from features.core.applied import AppliedView
from features.materialization.load_tools import cassandra_java
from features.stores.base import LoadSize, Read, rows_of
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_session import connect
from features.stores.cassandra_write import plan_write, write_rows
from features.stores.sstables.routes import BulkTools, StreamRoute, decide
from features.stores.sstables.task import write_sstables
from tests.applied_views import applied_view
from tests.integration.test_sstable_loads import batches, sstable_plan

if TYPE_CHECKING:
    from features.embedded.cassandra_cluster import CassandraCluster

pytestmark = pytest.mark.integration

ROWS = 3_000
TOOLS = BulkTools(find_java=cassandra_java, jmx_ports=dict)
MANY = LoadSize(rows=10**6, bytes=0)


@pytest.fixture(scope="module")
def settings(cassandra_cluster: "CassandraCluster", tmp_path_factory: pytest.TempPathFactory) -> OnlineSettings:
    return OnlineSettings(
        hosts=tuple(cassandra_cluster.hosts),
        port=cassandra_cluster.status()[0].port,
        keyspace="streamed",
        replication=3,
        consistency="LOCAL_QUORUM",
        load=LoadSettings(directory=str(tmp_path_factory.mktemp("staging")), heap_mb=256, run_mb=1),
    )


@pytest.fixture(scope="module")
def store(settings: OnlineSettings) -> Iterator[CassandraStore]:
    store = CassandraStore(settings, tools=TOOLS)
    yield store
    store.close()


@pytest.fixture
def route(settings: OnlineSettings, store: CassandraStore) -> StreamRoute:
    # Only a keyspace that is there has replicas.
    make(store, "any")
    session = connect(settings)
    try:
        decision = decide(settings, MANY, TOOLS, session, wanted="sstable")
    finally:
        session.cluster.shutdown()
    assert isinstance(decision.route, StreamRoute)
    return decision.route


def rows(position: int) -> list[dict[str, Any]]:
    label = "z" * 500
    return [
        {"customer": f"k{at}", "amount": float(at + position), "label": label, "_delete": at % 100 == position}
        for at in range(ROWS)
    ]


def require_all(store: CassandraStore, view: AppliedView, position: int) -> None:
    """Every row is stored as the load of the position has it."""
    for start in range(0, ROWS, 500):
        keys = tuple((f"k{at}",) for at in range(start, start + 500))
        (found,) = map(rows_of, store.read([Read(view=view, features=("amount",), keys=keys)], timeout_seconds=30))
        wanted = [None if at % 100 == position else (float(at + position),) for at in range(start, start + 500)]
        assert [row and row.values for row in found] == wanted


def told(outcome: Iterator[pa.RecordBatch]) -> dict[str, Any]:
    (row,) = next(outcome).to_pylist()
    return dict(row)


def make(store: CassandraStore, name: str) -> AppliedView:
    view = applied_view(name, features={"amount": DType.FLOAT64, "label": DType.STRING})
    store.create(view)
    return view


def test_streamed_files_reach_every_replica(cassandra_cluster, settings, store, route):
    view = make(store, "everywhere")
    outcome = told(write_sstables(sstable_plan(view, settings, route, 1), batches(view, rows(1))))
    assert outcome == {"rows": ROWS - ROWS // 100, "deleted": ROWS // 100, "_error": None}
    require_all(store, view, 1)
    # Each node has files of the table, although the driver has sent it none.
    for node in cassandra_cluster.nodes:
        data = node.state_dir / "storage" / "data" / settings.keyspace
        assert sum(file.stat().st_size for file in data.glob(f"{view.online_table}-*/*-Data.db")) > 10_000


@pytest.mark.parametrize("path", ["sstable", "cql"])
def test_a_node_killed_amid_a_load_loses_nothing_once_it_is_run_again(cassandra_cluster, settings, store, route, path):
    view = make(store, f"killed_{path}")
    earlier = told(write_rows(plan_write(view, settings, position=1), batches(view, rows(1))))
    assert earlier["_error"] is None
    half = threading.Event()

    def slowly() -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(batches(view, rows(2))):
            if number == 15:
                half.set()
                time.sleep(2)
            yield batch

    def kill() -> None:
        half.wait()
        cassandra_cluster.kill(2)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        if path == "sstable":
            first = told(write_sstables(sstable_plan(view, settings, route, 2), slowly()))
            # A file that a replica did not get is no success.
            assert first["_error"] is not None
        else:
            first = told(write_rows(plan_write(view, settings, position=2), slowly()))
        killer.join()
        # Two of three replicas answer: every row is one of the two loads', whole.
        for start in range(0, ROWS, 500):
            keys = tuple((f"k{at}",) for at in range(start, start + 500))
            asked = [Read(view=view, features=("amount",), keys=keys)]
            for at, row in enumerate(rows_of(*store.read(asked, timeout_seconds=30)), start=start):
                value = row and row.values[0]
                assert value in {None if at % 100 == position else float(at + position) for position in (1, 2)}
        session = connect(settings)
        try:
            deadline = time.monotonic() + 60
            while not any(host.is_up is False for host in session.cluster.metadata.all_hosts()):
                assert time.monotonic() < deadline
                time.sleep(0.5)
            decision = decide(settings, MANY, TOOLS, session, wanted=None)
            assert decision.path.name == "cql"
            assert "127.0.0.3 is down" in decision.path.reason
        finally:
            session.cluster.shutdown()
        again = told(write_rows(plan_write(view, settings, position=2), batches(view, rows(2))))
        assert again["_error"] is None
        require_all(store, view, 2)
    finally:
        killer.join()
        cassandra_cluster.restart(2)
        cassandra_cluster.await_ready()
    require_all(store, view, 2)
