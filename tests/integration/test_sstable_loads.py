"""Loads as SSTables on a real node: the same content as by CQL, in any order and mixture, whatever is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from cassandra.cluster import Session
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features import DType
from features.config import LoadSettings, OnlineSettings
from features.core.applied import AppliedView
from features.core.arrow_types import arrow_type
from features.errors import OnlineStoreError, PlatformError
from features.materialization.load_tools import cassandra_java
from features.stores import cql
from features.stores.base import LoadSize, Read, rows_of
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_loads import table_id
from features.stores.cassandra_session import connect
from features.stores.cassandra_write import plan_write, write_rows
from features.stores.memory import MemoryRow, MemoryStore
from features.stores.sstables.child import Table
from features.stores.sstables.routes import BulkTools, ImportRoute, Route, decide
from features.stores.sstables.task import SSTablePlan, write_sstables
from features.stores.winner_rows import as_rows
from tests.applied_views import SPEND, applied_view
from tests.integration.test_cassandra_store import CREATED, EVENT, KEYS, VALUES, exact

if TYPE_CHECKING:
    from features.embedded.cassandra import CassandraNode

pytestmark = pytest.mark.integration

INSTANT = pa.timestamp("us", tz="UTC")


@pytest.fixture(scope="module")
def settings(cassandra_node: "CassandraNode", tmp_path_factory: pytest.TempPathFactory) -> OnlineSettings:
    staging = tmp_path_factory.mktemp("staging")
    load = LoadSettings(directory=str(staging), heap_mb=256)
    return OnlineSettings(
        port=cassandra_node.status().port, keyspace="sstable_test", consistency="LOCAL_ONE", load=load
    )


@pytest.fixture(scope="module")
def tools(cassandra_node: "CassandraNode") -> BulkTools:
    status = cassandra_node.status()
    return BulkTools(find_java=cassandra_java, jmx_ports=lambda: {status.host: status.jmx_port})


@pytest.fixture(scope="module")
def store(settings: OnlineSettings, tools: BulkTools) -> Iterator[CassandraStore]:
    store = CassandraStore(settings, tools=tools)
    yield store
    store.close()


@pytest.fixture(scope="module")
def session(settings: OnlineSettings) -> Iterator[Session]:
    session = connect(settings)
    yield session
    session.cluster.shutdown()


@pytest.fixture(scope="module")
def route(cassandra_node: "CassandraNode") -> ImportRoute:
    return ImportRoute(host="127.0.0.1", port=cassandra_node.status().jmx_port)


def find_id(settings: OnlineSettings, view: AppliedView) -> str:
    session = connect(settings)
    try:
        return table_id(session, settings.keyspace, view.online_table)
    finally:
        session.cluster.shutdown()


def sstable_plan(view: AppliedView, settings: OnlineSettings, route: Route, position: int) -> SSTablePlan:
    plan = plan_write(view, settings, position=position)
    columns = tuple((name, dtype) for name, dtype in plan.columns if name not in view.join_keys)
    table = Table(
        keyspace=settings.keyspace,
        name=view.online_table,
        create=cql.create_table(settings.keyspace, view),
        id=find_id(settings, view),
        columns=tuple(name for name, _ in columns),
        timestamp=plan.timestamp,
    )
    return SSTablePlan(
        table=table,
        keys=plan.keys,
        columns=columns,
        route=route,
        find_java=cassandra_java,
        settings=settings.load,
    )


def batches(view: AppliedView, rows: Sequence[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    types = {**view.join_keys, **{feature.name: feature.dtype for feature in view.features}}
    columns = {name: pa.array([row.get(name) for row in rows], arrow_type(dtype)) for name, dtype in types.items()}
    table = pa.table(
        {
            **columns,
            "event_timestamp": pa.array([EVENT] * len(rows), INSTANT),
            "created_timestamp": pa.array([CREATED] * len(rows), INSTANT),
            "_delete": pa.array([row.get("_delete", False) for row in rows], pa.bool_()),
            "_ttl_seconds": pa.array([row.get("_ttl_seconds") for row in rows], pa.int32()),
        }
    )
    yield from table.to_batches(max_chunksize=100)


def write(
    view: AppliedView,
    rows: Sequence[dict[str, Any]],
    settings: OnlineSettings,
    route: Route,
    *,
    position: int,
    path: str,
) -> tuple[int, int]:
    """What a task of a load does; rows and deletions that were acknowledged."""
    if path == "cql":
        (outcome,) = write_rows(plan_write(view, settings, position=position), batches(view, rows))
    else:
        (outcome,) = write_sstables(sstable_plan(view, settings, route, position), batches(view, rows))
    (told,) = outcome.to_pylist()
    assert told["_error"] is None, told["_error"]
    return told["rows"], told["deleted"]


def stored(session: Session, settings: OnlineSettings, view: AppliedView) -> dict[Any, Any]:
    """All rows as a reader sees them, with write timestamp and remaining seconds of each column, by key."""
    names = [name for name in cql.table_columns(view) if name not in view.join_keys]
    told = ", ".join(f'"{n}", WRITETIME("{n}"), TTL("{n}")' for n in names)
    keys = ", ".join(f'"{key}"' for key in view.join_keys)
    rows = session.execute(f'SELECT {keys}, {told} FROM {settings.keyspace}."{view.online_table}"', timeout=60)
    many = len(view.join_keys)
    return {tuple(exact(part) for part in row[:many]): [exact(value) for value in row[many:]] for row in rows}


def amounts(store: CassandraStore, view: AppliedView, *keys: str) -> list[Any]:
    found = rows_of(*store.read([Read(view=view, features=("amount",), keys=tuple((key,) for key in keys))]))
    return [None if row is None else row.values[0] for row in found]


def test_every_type_and_every_extreme_is_stored_as_by_cql(store, session, settings, route):
    features = {name: dtype for name, (dtype, _) in VALUES.items()}
    count = max(len(values) for _, values in VALUES.values()) + 1
    rows = [
        {"customer": f"k{at}", **{name: values[at] for name, (_, values) in VALUES.items() if at < len(values)}}
        for at in range(count)
    ]
    contents = []
    for path in ("sstable", "cql"):
        view = applied_view(f"extremes_{path}", features=features)
        store.create(view)
        assert write(view, rows, settings, route, position=4, path=path) == (count, 0)
        contents.append(stored(session, settings, view))
    assert contents[0] == contents[1]
    assert len(contents[0]) == count


def test_every_key_type_is_found_by_its_owner(store, session, settings, route):
    rows = [
        {name: values[at % len(values)] for name, (_, values) in KEYS.items()} | {"amount": float(at)}
        for at in range(2)
    ]
    contents = []
    for path in ("sstable", "cql"):
        view = applied_view(f"keys_{path}", keys={name: dtype for name, (dtype, _) in KEYS.items()})
        store.create(view)
        write(view, rows, settings, route, position=1, path=path)
        keys = tuple(tuple(row[name] for name in KEYS) for row in rows)
        (found,) = store.read([Read(view=view, features=("amount",), keys=keys)])
        assert [row.values for row in found] == [(0.0,), (1.0,)]
        contents.append(stored(session, settings, view))
    assert contents[0] == contents[1]


def test_ends_deletions_and_nulls_are_stored_as_by_cql(store, session, settings, route):
    first = [{"customer": key, "amount": 1.0, "visits": 1} for key in "abcd"]
    then = [
        {"customer": "a", "amount": None, "visits": 2},
        {"customer": "b", "_delete": True},
        {"customer": "c", "amount": 3.0, "visits": 3, "_ttl_seconds": 1000},
        {"customer": "d", "amount": 4.0, "visits": 4, "_ttl_seconds": -1},
        {"customer": "e", "amount": 5.0, "visits": 5, "_ttl_seconds": 700_000_000},
    ]
    contents = []
    for path in ("sstable", "cql"):
        view = applied_view(f"ends_{path}", features={"amount": DType.FLOAT64, "visits": DType.INT64})
        store.create(view)
        write(view, first, settings, route, position=1, path=path)
        assert write(view, then, settings, route, position=2, path=path) == (3, 2)
        found = stored(session, settings, view)
        assert set(found) == {(exact(key),) for key in "ace"}
        # Behind each value stand its write timestamp and the seconds that it has left.
        assert {key[0][1]: values[1][1] for key, values in found.items()} == {"a": 2, "c": 2, "e": 2}
        assert (found[exact("a"),][2][1], found[exact("e"),][2][1]) == (None, None)
        assert 900 < found[exact("c"),][2][1] <= 1_000
        contents.append(amounts(store, view, *"abcde"))
    assert contents[0] == contents[1] == [None, None, 3.0, None, 5.0]


def test_a_row_that_is_written_late_ends_when_it_was_to_end(store, session, settings, route):
    view = applied_view("late_files", features={"amount": DType.FLOAT64})
    store.create(view)
    plan = replace(sstable_plan(view, settings, route, 1), now=int(time.time()) - 600)
    ttls = {"a": 1000, "b": 500, "c": None}
    rows = [{"customer": key, "amount": 1.0, "_ttl_seconds": ttl} for key, ttl in ttls.items()]
    (outcome,) = write_sstables(plan, batches(view, rows))
    assert outcome.to_pylist() == [{"rows": 3, "deleted": 0, "_error": None}]
    found = stored(session, settings, view)
    assert set(found) == {(exact(key),) for key in "ac"}
    assert 300 < found[exact("a"),][2][1] <= 400


def test_a_table_is_known_to_be_there_or_not(store):
    view = applied_view("come_and_gone")
    assert not store.exists(view)
    store.create(view)
    assert store.exists(view)
    store.drop(view)
    assert not store.exists(view)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, str, list[dict[str, Any]]]]:
    """Loads of many keys each, at some positions, by either path, in any order, some twice."""
    keys = [f"c{number}" for number in range(40)]
    random_ = random.Random(draw(st.integers(0, 2**32)))
    by_position = {
        position: [
            {"customer": key, "_delete": True}
            if random_.random() < 0.3
            else {"customer": key, "amount": random_.choice([None, float(position), -0.5]), "visits": position}
            for key in random_.sample(keys, random_.randint(1, len(keys)))
        ]
        for position in range(1, draw(st.integers(2, 4)) + 1)
    }
    loads = [(position, path) for position in by_position for path in draw(st.sampled_from(_PATHS))]
    return [(position, path, by_position[position]) for position, path in draw(st.permutations(loads))]


_PATHS = [("sstable",), ("cql",), ("sstable", "cql"), ("cql", "sstable", "sstable")]
_NUMBER = iter(range(10**6))


@given(loads=histories())
@hypothesis_settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_order_repetition_and_mixture_of_loads_converges(store, settings, route, loads):
    view = applied_view(f"mixture_{next(_NUMBER)}", features={"amount": DType.FLOAT64, "visits": DType.INT64})
    model = MemoryStore()
    for each in (store, model):
        each.create(view)
    for position, path, rows in loads:
        write(view, rows, settings, route, position=position, path=path)
        given_ = [
            MemoryRow(key=(row["customer"],))
            if row.get("_delete")
            else MemoryRow(
                key=(row["customer"],),
                event_micros=0,
                created_micros=0,
                values={"amount": row["amount"], "visits": row["visits"]},
            )
            for row in rows
        ]
        model.apply_rows(view.online_table, given_, position=position)
    asked = [Read(view=view, features=("amount", "visits"), keys=tuple((f"c{n}",) for n in range(40)))]
    online, wanted = rows_of(*store.read(asked)), rows_of(*model.read(asked))
    assert [row and row.values for row in online] == [row and row.values for row in wanted]


def test_runs_of_a_task_become_files_of_their_own_and_all_arrive(store, settings, route):
    view = applied_view("many_runs", features={"amount": DType.FLOAT64, "label": DType.STRING})
    store.create(view)
    label = "x" * 2_000
    rows = [{"customer": f"k{at}", "amount": float(at), "label": label} for at in range(2_000)]
    small = settings.model_copy(update={"load": settings.load.model_copy(update={"run_mb": 1})})
    assert write(view, rows, small, route, position=1, path="sstable") == (2_000, 0)
    assert amounts(store, view, "k0", "k999", "k1999") == [0.0, 999.0, 1999.0]


def test_nothing_is_left_on_disk_after_a_load(store, settings, route):
    store.create(SPEND)
    write(SPEND, [{"customer": "a", "amount": 1.0}], settings, route, position=1, path="sstable")
    assert [path for path in Path(settings.load.directory).rglob("*") if path.is_file()] == []


def test_a_node_that_does_not_answer_jmx_is_an_answer_and_leaves_nothing(store, settings):
    store.create(SPEND)
    nowhere = ImportRoute(host="127.0.0.1", port=1)
    plan = sstable_plan(SPEND, settings, nowhere, 9)
    (outcome,) = write_sstables(plan, batches(SPEND, [{"customer": "refused", "amount": 1.0}]))
    (told,) = outcome.to_pylist()
    assert (told["rows"], told["deleted"]) == (0, 0)
    assert "Connection refused" in told["_error"]
    assert [path for path in Path(settings.load.directory).rglob("*") if path.is_file()] == []
    assert amounts(store, SPEND, "refused") == [None]


def test_a_row_that_does_not_fit_is_told_before_anything_is_handed_over(store, settings, route):
    view = applied_view("unfit", features={"amount": DType.VECTOR(2)})
    store.create(view)
    rows = [{"customer": "good", "amount": [1.0, 2.0]}, {"customer": "bad", "amount": [1.0]}]
    (outcome,) = write_sstables(sstable_plan(view, settings, route, 1), batches(view, rows))
    assert "holds 2 elements, got 1" in outcome.to_pylist()[0]["_error"]
    assert amounts(store, view, "good", "bad") == [None, None]


_KILLED = """
import pickle, sys, time
plan, batches, after = pickle.load(sys.stdin.buffer)
from features.stores.sstables.task import write_sstables

def slowly():
    for number, batch in enumerate(batches):
        if number == after:
            print("half", flush=True)
            time.sleep(60)
        yield batch

list(write_sstables(plan, slowly()))
"""


def test_a_task_killed_amid_its_files_leaves_no_process_and_the_next_leaves_no_file(store, settings, route):
    import pickle

    view = applied_view("killed", features={"amount": DType.FLOAT64, "label": DType.STRING})
    store.create(view)
    rows = [{"customer": f"k{at}", "amount": float(at), "label": "y" * 2_000} for at in range(1_500)]
    small = settings.load.model_copy(update={"run_mb": 1})
    plan = sstable_plan(view, settings.model_copy(update={"load": small}), route, 1)
    command = [sys.executable, "-c", _KILLED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as task:
        task.stdin.write(pickle.dumps((plan, list(batches(view, rows)), 14)))
        task.stdin.close()
        assert task.stdout.readline() == b"half\n"
        (child,) = Path(f"/proc/{task.pid}/task/{task.pid}/children").read_text().split()
        assert list(Path(settings.load.directory).rglob("*Data.db"))
        os.kill(task.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()
    assert amounts(store, view, "k0") == [None]

    assert write(view, rows, settings, route, position=1, path="sstable") == (1_500, 0)
    assert amounts(store, view, "k0", "k1499") == [0.0, 1499.0]
    assert [path for path in Path(settings.load.directory).rglob("*") if path.is_file()] == []


def test_a_lone_node_on_this_machine_imports_and_says_so(store):
    store.create(SPEND)
    found = store.choose_path(SPEND, LoadSize(rows=10**6, bytes=0))
    assert (found.name, found.reason) == ("sstable", "up to 1,000,000 keys; imported into the node")


def test_files_are_streamed_where_no_jmx_is_known(store, session, settings):
    view = applied_view("streamed", features={"amount": DType.FLOAT64, "visits": DType.INT64})
    store.create(view)
    tools = BulkTools(find_java=cassandra_java, jmx_ports=dict)
    decision = decide(settings, LoadSize(rows=10**6, bytes=0), tools, session, wanted=None)
    assert decision.path.reason == "up to 1,000,000 keys; streamed, nodes: 1"
    rows = [{"customer": f"k{at}", "amount": float(at), "visits": at, "_delete": at % 10 == 9} for at in range(1_000)]
    assert write(view, rows, settings, decision.route, position=1, path="sstable") == (900, 100)
    assert amounts(store, view, "k0", "k9", "k998") == [0.0, None, 998.0]


def test_without_tools_many_rows_go_by_cql(settings):
    store = CassandraStore(settings)
    try:
        assert store.choose_path(SPEND, LoadSize(rows=10**6, bytes=0)).name == "cql"
        with pytest.raises(PlatformError, match="opened for reading"):
            store.choose_path(SPEND, LoadSize(rows=10**6, bytes=0), wanted="sstable")
    finally:
        store.close()


@pytest.mark.spark
def test_spark_writes_a_frame_by_either_path_and_tells_what_it_was_given(spark, store):
    from tests.integration.test_cassandra_store import winners

    view = applied_view("through_spark", features={"amount": DType.FLOAT64, "visits": DType.INT64})
    store.create(view)
    rows = [{"customer": f"k{at}", "amount": float(at), "_delete": at % 10 == 9} for at in range(1_000)]
    for position, path in enumerate(("sstable", "cql"), start=1):
        written = store.write(view, winners(spark, view, rows), position=position, path=path)
        assert (written.rows, written.deleted, written.evidence.rows) == (900, 100, 1_000)
        assert 0 < written.evidence.sample.num_rows <= 100
        assert amounts(store, view, "k8", "k9") == [8.0, None]


@pytest.mark.spark
@pytest.mark.parametrize("path", ["sstable", "cql"])
def test_rows_end_when_they_were_to_end_however_long_ago_that_was_planned(spark, store, session, settings, path):
    from tests.integration.test_cassandra_store import winners

    view = applied_view(f"planned_{path}", features={"amount": DType.FLOAT64})
    store.create(view)
    frame = winners(spark, view, [{"customer": "a", "amount": 1.0, "_ttl_seconds": 1000}])
    store.write(view, as_rows(frame, now=datetime.now(UTC) - timedelta(seconds=600)), position=1, path=path)
    assert 300 < stored(session, settings, view)[exact("a"),][2][1] <= 400


def test_a_missing_table_is_told_at_once(spark, store):
    from tests.integration.test_cassandra_store import winners

    view = applied_view("never_made")
    with pytest.raises(OnlineStoreError, match="run `features apply`"):
        store.write(view, winners(spark, view, []), position=1, path="sstable")
