"""Encoded batches on a real node: what is stored, what the server refuses, and what a restart costs."""

import math
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from cassandra.cluster import Session

from features import DType
from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.core.arrow_types import arrow_type
from features.core.times import to_micros
from features.embedded.cassandra import CassandraNode
from features.embedded.ports import is_free
from features.stores import cql
from features.stores.cassandra_batches import batches_of, by_node, constant, encode_columns, encode_statements
from features.stores.cassandra_sending import FAILURES, Sender, Window
from features.stores.cassandra_session import connect
from features.stores.cassandra_transport import BatchTransport
from features.stores.cassandra_write import plan_write, read_keys, write_rows
from features.stores.cells import encode_column
from features.stores.tokens import partition_keys, tokens
from tests.applied_views import applied_view

pytestmark = pytest.mark.integration

EVENT = datetime(2024, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
# One value of each row of a column; the last row has none.
VALUES: dict[DType, list[Any]] = {
    DType.BOOL: [True, False, None],
    DType.INT32: [2**31 - 1, -(2**31), None],
    DType.INT64: [2**63 - 1, -(2**63), None],
    DType.FLOAT32: [math.nan, -0.0, None],
    DType.FLOAT64: [math.inf, 5e-324, None],
    DType.DECIMAL(38, 10): [Decimal("-" + "9" * 28 + "." + "9" * 10), Decimal("0.0000000000"), None],
    DType.STRING: ["", "Zoë 東京 \U0001f9ea \0", None],
    DType.BYTES: [b"", bytes(range(256)), None],
    DType.DATE: [date(1, 1, 1), date(9999, 12, 31), None],
    DType.TIMESTAMP: [FIRST, LAST, None],
    DType.ARRAY(DType.STRING): [[], ["", "Zoë"], None],
    DType.ARRAY(DType.DECIMAL(5, 2)): [[Decimal("1.50")], [Decimal("-999.99"), Decimal("0.00")], None],
    DType.VECTOR(3): [[math.nan, -math.inf, 0.5], [-0.0, 1.0, 2.0], None],
}


@pytest.fixture(scope="module")
def settings(cassandra_node: CassandraNode) -> OnlineSettings:
    return OnlineSettings(port=cassandra_node.status().port, keyspace="cql_writes", consistency="LOCAL_ONE")


@pytest.fixture(scope="module")
def session(settings: OnlineSettings) -> Iterator[Session]:
    yield from connected(settings)


@pytest.fixture(scope="module")
def strict_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraNode]:
    """A node that refuses batches of more than 4 KiB, and may be killed."""
    bounds = {"batch_size_warn_threshold": "4KiB", "batch_size_fail_threshold": "4KiB"}
    node = CassandraNode(state_dir=tmp_path_factory.mktemp("strict"), port=0, heap_mb=512, options=bounds)
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def strict(strict_node: CassandraNode) -> OnlineSettings:
    return OnlineSettings(port=strict_node.status().port, keyspace="cql_writes", consistency="LOCAL_ONE")


@pytest.fixture(scope="module")
def strict_session(strict: OnlineSettings) -> Iterator[Session]:
    yield from connected(strict)


def connected(settings: OnlineSettings) -> Iterator[Session]:
    session = connect(settings)
    session.execute(cql.create_keyspace(settings.keyspace, datacenter="datacenter1", replication=1))
    yield session
    session.cluster.shutdown()


def rows_of(view: AppliedView, columns: Mapping[str, Sequence[Any]], **extra: Sequence[Any]) -> pa.RecordBatch:
    """What a task of a load is handed; nothing is deleted and no row has a TTL, unless `extra` says so."""
    types = {**view.join_keys, **{feature.name: feature.dtype for feature in view.features}}
    count = len(next(iter(columns.values())))
    arrays = {name: pa.array(columns[name], arrow_type(dtype)) for name, dtype in types.items()}
    arrays |= {name: pa.array([EVENT] * count, arrow_type(DType.TIMESTAMP)) for name in (cql.EVENT, cql.CREATED)}
    arrays["_delete"] = pa.array(extra.get("_delete", [False] * count), pa.bool_())
    arrays["_ttl_seconds"] = pa.array(extra.get("_ttl_seconds", [None] * count), pa.int32())
    return pa.record_batch(arrays)


def written(
    view: AppliedView, settings: OnlineSettings, batches: Iterable[pa.RecordBatch], *, position: int = 1
) -> dict[str, Any]:
    """The outcome of a task that is handed the batches."""
    (answer,) = write_rows(plan_write(view, settings, position=position), batches)
    (outcome,) = answer.to_pylist()
    return dict(outcome)


def kill(node: CassandraNode) -> None:
    """Returns once the node is gone and its port free: it must come back at the same address."""
    status = node.status()
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while node.status().running or not is_free(status.host, status.port):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def keys_in(session: Session, table: str) -> list[Any]:
    return sorted(row[0] for row in session.execute(f"SELECT customer FROM {table}"))


def test_rows_are_stored_as_the_driver_stores_them(session, settings):
    features = {f"f{at}": dtype for at, dtype in enumerate(VALUES)}
    ours, theirs = applied_view("ours", features=features), applied_view("theirs", features=features)
    columns = {"customer": ["a", "b", "c"], **dict(zip(features, VALUES.values(), strict=True))}
    for view in (ours, theirs):
        session.execute(cql.create_table(settings.keyspace, view))

    outcome = written(ours, settings, [rows_of(ours, columns, _ttl_seconds=[None, 3600, None])], position=7)
    insert = session.prepare(cql.insert(settings.keyspace, theirs))
    for at, ttl in enumerate([0, 3600, 0]):
        values = [bound(columns[name][at], dtype) for name, dtype in features.items()]
        session.execute(insert, [columns["customer"][at], to_micros(EVENT), to_micros(EVENT), *values, 7, ttl])

    assert outcome == {"rows": 3, "deleted": 0, "_error": None}
    selected = ", ".join(["customer", *features, *(f"WRITETIME({name})" for name in features)])
    # Compared as text, NaN equals itself and -0.0 is not 0.0.
    our_rows, their_rows = (
        [repr(row) for row in session.execute(f"SELECT {selected} FROM {settings.keyspace}.{view.online_table}")]
        for view in (ours, theirs)
    )
    assert our_rows == their_rows
    ttls = {
        row[0]: row[1]
        for row in session.execute(f"SELECT customer, TTL(f1) FROM {settings.keyspace}.{ours.online_table}")
    }
    assert ttls["a"] is None
    assert 3500 < ttls["b"] <= 3600


def bound(value: Any, dtype: DType) -> Any:
    return to_micros(value) if dtype == DType.TIMESTAMP and value is not None else value


def test_tokens_equal_the_servers(session, settings):
    texts = [character * length for character in ("a", "\x7f", "é", "\U0001f9ea") for length in range(1, 41)]
    numbers = [(-1) ** at * at * 2**56 // 3 for at in range(len(texts))]
    for name, keys in (
        ("lone_text", {"customer": (DType.STRING, texts)}),
        ("lone_number", {"customer": (DType.INT64, numbers)}),
        ("pair", {"customer": (DType.STRING, texts), "number": (DType.INT64, numbers)}),
    ):
        view = applied_view(name, keys={key: dtype for key, (dtype, _) in keys.items()})
        columns = {key: values for key, (_, values) in keys.items()}
        session.execute(cql.create_table(settings.keyspace, view))
        written(view, settings, [rows_of(view, {**columns, "amount": [1.0] * len(texts)})])

        encoded = [encode_column(pa.array(columns[key], arrow_type(dtype)), dtype) for key, (dtype, _) in keys.items()]
        expected = dict(zip(zip(*columns.values(), strict=True), tokens(partition_keys(encoded)).tolist(), strict=True))
        names = ", ".join(keys)
        stored = session.execute(f"SELECT token({names}), {names} FROM {settings.keyspace}.{view.online_table}")
        assert {tuple(row[1:]): row[0] for row in stored} == expected


def test_a_row_written_by_hand_without_an_event_time_is_no_stray_and_stops_no_full_load(session, settings, caplog):
    view = applied_view("by_hand")
    table = f"{settings.keyspace}.{view.online_table}"
    session.execute(cql.create_table(settings.keyspace, view))
    written(view, settings, [rows_of(view, {"customer": ["a"], "amount": [1.0]})])
    session.execute(f"INSERT INTO {table} (customer, amount) VALUES ('b', 2.0)")

    ranges = pa.record_batch({"low": pa.array([-(2**63)]), "high": pa.array([2**63 - 1])})
    found = [row for page in read_keys(plan_write(view, settings, position=1), [ranges]) for row in page.to_pylist()]

    assert found == [{"customer": "a", "_error": None}]
    assert [record.rows for record in caplog.records if record.name.endswith("cassandra_write")] == [1]


def test_a_row_that_is_written_late_ends_when_it_was_to_end(session, settings):
    view = applied_view("late")
    session.execute(cql.create_table(settings.keyspace, view))
    plan = plan_write(view, settings, position=1, now=int(time.time()) - 600)
    rows = rows_of(view, {"customer": ["a", "b", "c"], "amount": [1.0] * 3}, _ttl_seconds=[1000, 500, None])

    (answer,) = write_rows(plan, [rows])

    assert answer.to_pylist() == [{"rows": 2, "deleted": 1, "_error": None}]
    found = session.execute(f"SELECT customer, TTL(amount) FROM {settings.keyspace}.{view.online_table}")
    ttls = {row[0]: row[1] for row in found}
    assert set(ttls) == {"a", "c"}
    assert ttls["c"] is None
    assert 300 < ttls["a"] <= 400


def test_batches_that_a_server_finds_too_large_are_split(strict_session, strict, strict_node):
    view = applied_view("split", features={f"f{at}": DType.FLOAT64 for at in range(50)})
    strict_session.execute(cql.create_table(strict.keyspace, view))
    customers = [f"c{at:04}" for at in range(300)]

    outcome = written(
        view, strict, [rows_of(view, {"customer": customers, **{f"f{at}": [0.5] * 300 for at in range(50)}})]
    )

    assert outcome == {"rows": 300, "deleted": 0, "_error": None}
    assert keys_in(strict_session, f"{strict.keyspace}.{view.online_table}") == customers
    assert "exceeding specified threshold" in strict_node.status().log.read_text()


@pytest.mark.parametrize("dtype", [DType.BOOL, DType.FLOAT64, DType.STRING, DType.ARRAY(DType.STRING)], ids=str)
def test_the_server_adds_up_no_more_bytes_than_the_batch_says(strict_session, strict, strict_node, dtype):
    view = applied_view(f"weighed_{dtype.kind}", features={f"f{at}": dtype for at in range(3)})
    strict_session.execute(cql.create_table(strict.keyspace, view))
    values = {DType.BOOL: True, DType.FLOAT64: 0.5, DType.STRING: "x" * 30}.get(dtype, ["a", "bc"])
    columns = {"customer": [f"c{at}" for at in range(500)], **{f"f{at}": [values, None] * 250 for at in range(3)}}
    rows = rows_of(view, columns, _ttl_seconds=[3600] * 500)
    plan = plan_write(view, strict, position=1)
    transport = BatchTransport(strict_session, strict.keyspace)
    sender = Sender(transport, window=Window(), max_bytes=4096, patience_seconds=5)
    refusals = strict_node.status().log.read_text().count("exceeding specified threshold")

    rows, keys, nodes = by_node(rows, plan.keys, transport.ring(), table=plan.table)
    using = [constant(1, ">i8", 500), constant(3600, ">i4", 500)]
    puts = [*encode_columns(rows, plan.columns, table=plan.table), *using]
    deletes = [constant(0, ">i8", 500), *encode_columns(rows, plan.keys, table=plan.table)]
    for verb, text, cells in (("put", plan.insert, puts), ("delete", plan.delete, deletes)):
        statements = encode_statements(verb, transport.prepare(text), cells, keys)
        for batch in batches_of(statements, nodes, max_bytes=4096):
            sender.send(batch)
    sender.drain()

    assert sender.acknowledged == {"put": 500, "delete": 500}
    assert strict_node.status().log.read_text().count("exceeding specified threshold") == refusals
    # The older delete left them all.
    assert len(keys_in(strict_session, f"{strict.keyspace}.{view.online_table}")) == 500


def test_rows_larger_than_any_batch_go_alone(session, settings):
    view = applied_view("huge", features={"text": DType.STRING, "embedding": DType.VECTOR(8192)})
    session.execute(cql.create_table(settings.keyspace, view))
    texts = [character * 1_000_000 for character in "abcdefghijklmnopqrst"]
    rows = rows_of(view, {"customer": list("abcdefghijklmnopqrst"), "text": texts, "embedding": [[0.25] * 8192] * 20})

    assert written(view, settings, [rows]) == {"rows": 20, "deleted": 0, "_error": None}

    table = f"{settings.keyspace}.{view.online_table}"
    assert {row[0]: row[1] for row in session.execute(f"SELECT customer, text FROM {table}")} == dict(
        zip("abcdefghijklmnopqrst", texts, strict=True)
    )


def test_a_task_survives_a_node_that_is_killed_and_comes_back_and_loses_no_row(strict_session, strict, strict_node):
    view = applied_view("killed")
    strict_session.execute(cql.create_table(strict.keyspace, view))
    customers = [f"c{at:05}" for at in range(40_000)]

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, 40_000, 2000):
            if start == 20_000:
                kill(strict_node)
                strict_node.start()
            yield rows_of(view, {"customer": customers[start : start + 2000], "amount": [1.0] * 2000})

    outcome = written(view, strict, batches())

    assert outcome == {"rows": 40_000, "deleted": 0, "_error": None}
    again = connect(strict)
    assert keys_in(again, f"{strict.keyspace}.{view.online_table}") == customers
    again.cluster.shutdown()


def test_batches_on_a_closed_connection_fail_instead_of_hanging(session, settings):
    view = applied_view("closed")
    session.execute(cql.create_table(settings.keyspace, view))
    closed = connect(settings)
    transport = BatchTransport(closed, settings.keyspace)
    numbers = encode_column(pa.array(range(100)), DType.INT64)
    statements = encode_statements("delete", transport.prepare(cql.delete(settings.keyspace, view)), [numbers], numbers)
    sender = Sender(transport, window=Window(), max_bytes=100, patience_seconds=0.1, backoff_seconds=0.01)
    closed.cluster.shutdown()

    (batch,) = batches_of(statements, tokens(numbers) * 0, max_bytes=10**6)

    sender.send(batch)
    with pytest.raises(FAILURES):
        sender.drain()
