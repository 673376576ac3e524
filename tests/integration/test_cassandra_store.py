"""Spark frame -> Cassandra -> client, on a real node."""

import asyncio
import math
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from features import DType
from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.core.times import to_micros
from features.errors import NotLoadedError, OnlineStoreError
from features.serving.client import OnlineClient
from features.stores.base import OnlineRow, OnlineStore, Read, Written, rows_of
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_values import arrow_key_type
from features.stores.cassandra_write import delete_keys, plan_write, read_keys, write_rows
from features.stores.memory import MemoryStore
from tests.applied_views import ROUTE, SPEND, applied_view, requested
from tests.serving_registry import Catalogue

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from features.embedded.cassandra import CassandraNode

pytestmark = [pytest.mark.integration, pytest.mark.spark]

EVENT = datetime(2024, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
CREATED = datetime(2024, 1, 2, 0, 30, tzinfo=UTC)
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
BEFORE_1970 = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
UNICODE = "Zoë 東京 \U0001f9ea 'quoted' \"x\" \0 e\u0301"
FLOAT32_MAX, FLOAT32_MIN = 3.4028234663852886e38, 1.401298464324817e-45

VALUES: dict[str, tuple[DType, list[Any]]] = {
    "bool": (DType.BOOL, [True, False]),
    "int32": (DType.INT32, [0, -(2**31), 2**31 - 1]),
    "int64": (DType.INT64, [0, -(2**63), 2**63 - 1]),
    "float32": (DType.FLOAT32, [0.5, math.nan, math.inf, -math.inf, -0.0, FLOAT32_MAX, -FLOAT32_MAX, FLOAT32_MIN]),
    "float64": (DType.FLOAT64, [0.1, math.nan, math.inf, -math.inf, -0.0, sys.float_info.max, 5e-324]),
    "decimal": (
        DType.DECIMAL(38, 10),
        [
            Decimal("1.5000000000"),
            Decimal("0.0000000000"),
            Decimal("-" + "9" * 28 + "." + "9" * 10),
            Decimal("-0.0000000001"),
        ],
    ),
    "whole": (DType.DECIMAL(38, 0), [Decimal(0)]),
    "string": (DType.STRING, ["", UNICODE, "x" * 1_000_000]),
    "bytes": (DType.BYTES, [b"", bytes(range(256)), b"\xff" * 1_000_000]),
    "date": (DType.DATE, [date(1, 1, 1), date(1969, 12, 31), date(1970, 1, 1), date(9999, 12, 31)]),
    "timestamp": (DType.TIMESTAMP, [FIRST, BEFORE_1970, EVENT, LAST]),
    "strings": (DType.ARRAY(DType.STRING), [[], [""], [UNICODE, "", "b"], ["y"] * 10_000]),
    "blobs": (DType.ARRAY(DType.BYTES), [[], [b""], [b"\0", b"\xff"]]),
    "bools": (DType.ARRAY(DType.BOOL), [[], [True, False]]),
    "ints": (DType.ARRAY(DType.INT32), [[], [-(2**31), 2**31 - 1]]),
    "longs": (DType.ARRAY(DType.INT64), [[], [-(2**63), 2**63 - 1]]),
    "floats": (DType.ARRAY(DType.FLOAT32), [[], [math.nan, math.inf, -math.inf, 0.5, -0.0]]),
    "doubles": (DType.ARRAY(DType.FLOAT64), [[], [math.nan, math.inf, -math.inf, 0.1]]),
    "decimals": (DType.ARRAY(DType.DECIMAL(5, 2)), [[], [Decimal("1.50"), Decimal("-999.99")]]),
    "dates": (DType.ARRAY(DType.DATE), [[], [date(1, 1, 1), date(9999, 12, 31)]]),
    "instants": (DType.ARRAY(DType.TIMESTAMP), [[], [FIRST, BEFORE_1970, LAST]]),
    "vector": (DType.VECTOR(3), [[0.0, -0.0, 0.5], [math.nan, math.inf, -math.inf], [FLOAT32_MAX, FLOAT32_MIN, 0.0]]),
    "embedding": (DType.VECTOR(8192), [[0.25] * 8192]),
}
KEYS: dict[str, tuple[DType, list[Any]]] = {
    "flag": (DType.BOOL, [True, False]),
    "small": (DType.INT32, [-(2**31), 2**31 - 1]),
    "big": (DType.INT64, [-(2**63), 2**63 - 1]),
    "text": (DType.STRING, ["", UNICODE]),
    "blob": (DType.BYTES, [b"", b"\0\xff"]),
    "day": (DType.DATE, [date(1, 1, 1), date(9999, 12, 31)]),
    "moment": (DType.TIMESTAMP, [FIRST, LAST]),
    "price": (DType.DECIMAL(10, 2), [Decimal("-0.50"), Decimal("99999999.99")]),
}


@pytest.fixture(scope="module")
def settings(cassandra_node: "CassandraNode") -> OnlineSettings:
    return OnlineSettings(port=cassandra_node.status().port, keyspace="store_test", consistency="LOCAL_ONE")


@pytest.fixture(scope="module")
def store(settings: OnlineSettings) -> Iterator[CassandraStore]:
    store = CassandraStore(settings)
    yield store
    store.close()


@pytest.fixture(scope="module")
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(params=["store", "memory"])
def either(request: pytest.FixtureRequest) -> OnlineStore:
    """Cassandra, and the reference that must answer alike."""
    return request.getfixturevalue(request.param)


def arrow_type(dtype: DType) -> pa.DataType:
    if dtype.kind == "vector":
        return pa.list_(pa.float32())
    if dtype.element is not None:
        return pa.list_(arrow_type(dtype.element))
    return {"float32": pa.float32(), "float64": pa.float64()}.get(dtype.kind) or arrow_key_type(dtype)


def winners(
    spark: "SparkSession",
    view: AppliedView,
    rows: list[dict[str, Any]],
    *,
    event: datetime = EVENT,
    created: datetime = CREATED,
) -> "DataFrame":
    """What a load hands to a store; `_delete` and `_ttl_seconds` of a row are optional, as are its features."""
    types = {**view.join_keys, **{feature.name: feature.dtype for feature in view.features}}
    instant = pa.timestamp("us", tz="UTC")
    columns = {name: pa.array([row.get(name) for row in rows], arrow_type(dtype)) for name, dtype in types.items()}
    table = pa.table(
        {
            **columns,
            "event_timestamp": pa.array([event] * len(rows), instant),
            "created_timestamp": pa.array([created] * len(rows), instant),
            "_delete": pa.array([row.get("_delete", False) for row in rows], pa.bool_()),
            "_ttl_seconds": pa.array([row.get("_ttl_seconds") for row in rows], pa.int32()),
        }
    )
    return spark.createDataFrame(table)


def read_amounts(store: OnlineStore, view: AppliedView, *keys: str) -> list[Any]:
    (rows,) = store.read([Read(view=view, features=("amount",), keys=tuple((key,) for key in keys))])
    return [None if row is None else row.values[0] for row in rows]


def exact(value: Any) -> Any:
    """A form in which NaN equals itself, -0.0 is not 0.0, and 1.5 is neither 1.50 nor `True` 1."""
    if isinstance(value, list):
        return [exact(item) for item in value]
    return type(value).__name__, str(value) if isinstance(value, float | Decimal) else value


def test_every_type_and_every_extreme_comes_back_as_it_was_written(spark, either):
    view = applied_view("extremes", features={name: dtype for name, (dtype, _) in VALUES.items()})
    count = max(len(values) for _, values in VALUES.values()) + 1
    rows = [
        {"customer": f"k{at}", **{name: values[at] for name, (_, values) in VALUES.items() if at < len(values)}}
        for at in range(count)
    ]
    either.create(view)

    written = either.write(view, winners(spark, view, rows), position=1)

    assert written == Written(rows=count, deleted=0)
    (found,) = either.read([Read(view=view, features=tuple(VALUES), keys=tuple((f"k{at}",) for at in range(count)))])
    for row, stored in zip(rows, found, strict=True):
        assert (stored.event_micros, stored.created_micros) == (to_micros(EVENT), to_micros(CREATED))
        for name, value in zip(VALUES, stored.values, strict=True):
            assert exact(value) == exact(row.get(name)), name
    # The last of them has no value at all.
    assert found[-1] == OnlineRow(to_micros(EVENT), to_micros(CREATED), (None,) * len(VALUES))


def test_row_times_of_every_century_keep_their_microseconds(spark, either):
    view = applied_view("centuries")
    either.create(view)

    for position, (event, created) in enumerate([(FIRST, LAST), (BEFORE_1970, EVENT)], start=1):
        either.write(view, winners(spark, view, [{"customer": "a"}], event=event, created=created), position=position)
        (((row,)),) = either.read([Read(view=view, features=(), keys=(("a",),))])
        assert (row.event_micros, row.created_micros) == (to_micros(event), to_micros(created))


def test_composite_keys_of_every_type_are_found_again(spark, either):
    view = applied_view("keyed", keys={name: dtype for name, (dtype, _) in KEYS.items()})
    rows = [{name: values[at] for name, (_, values) in KEYS.items()} | {"amount": float(at)} for at in (0, 1)]
    either.create(view)

    either.write(view, winners(spark, view, rows), position=1)

    keys = tuple(tuple(row[name] for name in KEYS) for row in rows)
    unscaled = (*keys[0][:-1], Decimal("-0.5"))
    swapped = (*keys[0][:-1], keys[1][-1])
    (found,) = either.read([Read(view=view, features=("amount",), keys=(*keys, unscaled, swapped, keys[0]))])
    assert [row and row.values for row in found] == [(0.0,), (1.0,), (0.0,), None, (0.0,)]


def test_composite_keys_that_concatenate_alike_never_meet(spark, either):
    view = applied_view("pairs", keys={"origin": DType.STRING, "dest": DType.STRING})
    either.create(view)
    rows = [{"origin": "a", "dest": "bc", "amount": 1.0}, {"origin": "ab", "dest": "c", "amount": 2.0}]

    either.write(view, winners(spark, view, rows), position=1)

    keys = (("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"))
    (found,) = either.read([Read(view=view, features=("amount",), keys=keys)])
    assert [row and row.values[0] for row in found] == [1.0, 2.0, None, None]


def test_a_null_replaces_an_older_value(spark, either):
    view = applied_view("nulled", features={"amount": DType.FLOAT64, "visits": DType.INT64})
    either.create(view)
    either.write(view, winners(spark, view, [{"customer": "a", "amount": 1.0, "visits": 1}]), position=1)
    either.write(view, winners(spark, view, [{"customer": "a", "visits": 2}]), position=2)

    (((row,)),) = either.read([Read(view=view, features=("amount", "visits"), keys=(("a",),))])

    assert row.values == (None, 2)


def test_an_older_position_never_overwrites_a_newer_one(spark, either):
    view = applied_view("ordered")
    either.create(view)
    frames = {position: winners(spark, view, [{"customer": "a", "amount": float(position)}]) for position in (1, 2)}

    seen = []
    for position in (2, 1, 2, 1):
        assert either.write(view, frames[position], position=position) == Written(rows=1, deleted=0)
        seen += read_amounts(either, view, "a")

    assert seen == [2.0, 2.0, 2.0, 2.0]


def test_a_deleted_key_stays_deleted_when_an_older_put_comes_late_and_a_newer_one_brings_it_back(spark, either):
    view = applied_view("deleted")
    either.create(view)
    older = winners(spark, view, [{"customer": "a", "amount": 1.0}])
    gone = winners(spark, view, [{"customer": "a", "_delete": True}])

    either.write(view, older, position=1)
    assert either.write(view, gone, position=2) == Written(rows=0, deleted=1)
    either.write(view, older, position=1)
    assert read_amounts(either, view, "a") == [None]
    either.write(view, older, position=3)
    assert read_amounts(either, view, "a") == [1.0]


def test_loads_of_several_positions_at_once_end_in_the_latest(spark, store):
    view = applied_view("raced")
    store.create(view)
    keys = [f"k{number}" for number in range(20)]
    frames = {
        position: winners(spark, view, [{"customer": key, "amount": float(position)} for key in keys])
        for position in (1, 2, 3)
    }

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(store.write, view, frames[position], position=position) for position in (3, 1, 2, 3, 1)]
    assert [load.result().rows for load in loads] == [20] * 5

    assert read_amounts(store, view, *keys) == [3.0] * 20


def test_counts_are_exact_over_many_partitions_most_of_them_empty(spark, either):
    view = applied_view("counted")
    either.create(view)
    rows = [{"customer": f"k{number}", "amount": 1.0, "_delete": number % 3 == 0} for number in range(100)]

    written = either.write(view, winners(spark, view, rows).repartition(40), position=1)

    assert written == Written(rows=66, deleted=34)
    assert either.write(view, winners(spark, view, rows).where("false"), position=1) == Written(rows=0, deleted=0)


def test_rows_leave_with_their_ttl_and_stay_without_one(spark, either):
    view = applied_view("fading")
    either.create(view)
    twenty_one_years = 21 * 365 * 24 * 3600
    rows = [
        {"customer": "soon", "amount": 1.0, "_ttl_seconds": 2},
        {"customer": "past", "amount": 1.0, "_ttl_seconds": -5},
        {"customer": "stays", "amount": 1.0},
        {"customer": "ages", "amount": 1.0, "_ttl_seconds": twenty_one_years},
    ]

    assert either.write(view, winners(spark, view, rows), position=1) == Written(rows=3, deleted=1)

    deadline = time.monotonic() + 15
    while read_amounts(either, view, "soon") != [None] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert read_amounts(either, view, "soon", "past", "stays", "ages") == [None, None, 1.0, 1.0]


def test_delete_absent_removes_the_other_keys_but_none_of_a_later_position(spark, either):
    view = applied_view("pruned")
    either.create(view)
    keys = [f"k{number}" for number in range(50)]
    either.write(view, winners(spark, view, [{"customer": key, "amount": 1.0} for key in keys]), position=1)
    either.write(view, winners(spark, view, [{"customer": "late", "amount": 3.0}]), position=3)
    kept = spark.createDataFrame([("k7",), ("never stored",)], "customer string")

    assert either.delete_absent(view, kept, position=2) == 49
    assert either.delete_absent(view, kept, position=2) == 0

    assert read_amounts(either, view, "k7", "late", "k1") == [1.0, 3.0, None]


def test_delete_matching_removes_rows_by_a_part_of_their_keys_and_keeps_older_loads_away(spark, either):
    view = applied_view("erased", keys={"origin": DType.STRING, "stop": DType.INT32})
    either.create(view)
    rows = [{"origin": origin, "stop": stop, "amount": 1.0} for origin in "abc" for stop in (1, 2)]
    either.write(view, winners(spark, view, rows), position=2)
    either.write(view, winners(spark, view, [{"origin": "a", "stop": 3, "amount": 3.0}]), position=9)

    def read(*keys):
        (found,) = either.read([Read(view=view, features=("amount",), keys=keys)])
        return [row and row.values[0] for row in found]

    assert either.delete_matching(view, spark.createDataFrame([("a",), ("b",)], "origin string"), position=5) == 4

    assert read(("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("a", 3)) == [None, None, None, None, 1.0, 3.0]
    for position, seen in ((4, None), (5, None), (6, 1.0)):
        either.write(view, winners(spark, view, rows[:1]), position=position)
        assert read(("a", 1)) == [seen]


def test_delete_matching_of_whole_keys_reaches_those_that_are_not_stored_yet(spark, either):
    view = applied_view("awaited", keys={name: dtype for name, (dtype, _) in KEYS.items()})
    either.create(view)
    rows = [{name: values[at] for name, (_, values) in KEYS.items()} | {"amount": float(at)} for at in (0, 1)]
    frame = winners(spark, view, rows)

    assert either.delete_matching(view, frame.select(*reversed(KEYS)), position=5) == 2

    keys = tuple(tuple(row[name] for name in KEYS) for row in rows)
    for position, seen in ((4, [None, None]), (6, [0.0, 1.0])):
        either.write(view, frame, position=position)
        (found,) = either.read([Read(view=view, features=("amount",), keys=keys)])
        assert [row and row.values[0] for row in found] == seen
    some = frame.where("amount = 1").select("price", "moment", "flag")
    assert either.delete_matching(view, some, position=7) == 1


def test_delete_absent_knows_composite_keys_of_every_type(spark, either):
    view = applied_view("pruned_keys", keys={name: dtype for name, (dtype, _) in KEYS.items()})
    rows = [{name: values[at] for name, (_, values) in KEYS.items()} | {"amount": float(at)} for at in (0, 1)]
    either.create(view)
    frame = winners(spark, view, rows)
    either.write(view, frame, position=1)

    assert either.delete_absent(view, frame.where("amount = 1").select(*KEYS), position=1) == 1

    keys = tuple(tuple(row[name] for name in KEYS) for row in rows)
    (found,) = either.read([Read(view=view, features=("amount",), keys=keys)])
    assert [row and row.values[0] for row in found] == [None, 1.0]


def test_keys_that_no_table_can_hold_are_not_found(either):
    for view, keys in (
        (SPEND, (("",), ("x" * 65_536,), ("x" * 65_535,))),
        (ROUTE, (("x" * 65_535, 1), ("x" * 65_536, 1), ("", 1))),
    ):
        either.create(view)
        assert either.read([Read(view=view, features=(), keys=keys)]) == [[None] * 3]


def test_many_keys_of_several_views_are_read_at_once_and_alike_without_blocking(spark, store):
    views = [applied_view("crowd"), applied_view("crowd", version=2)]
    for view in views:
        store.create(view)
        rows = [{"customer": f"k{number}", "amount": number * view.version / 2} for number in range(600)]
        store.write(view, winners(spark, view, rows), position=1)
    numbers = [number % 700 for number in range(1500)]
    requests = [
        Read(view=view, features=("amount",), keys=tuple((f"k{number}",) for number in numbers)) for view in views
    ]

    answers = store.read(requests)

    for view, rows in zip(views, answers, strict=True):
        expected = [number * view.version / 2 if number < 600 else None for number in numbers]
        assert [row and row.values[0] for row in rows] == expected
    assert asyncio.run(store.read_async(requests)) == answers


def test_the_event_loop_runs_on_while_cassandra_does_not_answer():
    async def ticks_while_two_wait(store: CassandraStore) -> list[float]:
        read = Read(view=SPEND, features=("amount",), keys=(("a",),))
        first = asyncio.create_task(store.read_async([read]))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(store.read_async([read]))
        ticks = [time.monotonic()]
        while not first.done():
            await asyncio.sleep(0.01)
            ticks.append(time.monotonic())
        for reading in (first, second):
            with pytest.raises(OnlineStoreError, match="does not answer"):
                rows_of(*await reading)
        return ticks

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        store = CassandraStore(OnlineSettings(port=silent.getsockname()[1], timeout_seconds=2))
        ticks = asyncio.run(ticks_while_two_wait(store))

    assert ticks[-1] - ticks[0] > 1.5
    assert max(after - before for before, after in pairwise(ticks)) < 1


def test_the_client_reads_through_cassandra(spark, store):
    view = applied_view("served", features={"amount": DType.FLOAT64}, lookback=timedelta(days=1))
    store.create(view)
    store.write(view, winners(spark, view, [{"customer": "a", "amount": 1.0}, {"customer": "b"}]), position=1)

    client = OnlineClient(Catalogue(everything=requested(view)), store)
    rows = [{"customer": key} for key in ("a", "b", "", None, "nobody")]

    fresh = client.get(features="served", entity_rows=rows, now=EVENT + timedelta(days=1))
    stale = asyncio.run(client.get_async(features="served", entity_rows=rows[:1], now=LAST))

    assert fresh.statuses == {"amount": ["PRESENT", "NULL", "NOT_FOUND", "NOT_FOUND", "NOT_FOUND"]}
    assert fresh.event_timestamps["amount"][0] == EVENT
    assert stale.statuses == {"amount": ["EXPIRED"]}


def test_any_driver_reads_a_row_with_one_select(spark, store, settings):
    from cassandra.cluster import Cluster

    view = applied_view("plain", features={"amount": DType.FLOAT64, "seen": DType.TIMESTAMP})
    store.create(view)
    store.write(view, winners(spark, view, [{"customer": "a", "amount": 1.5, "seen": EVENT}]), position=4)

    with Cluster(settings.hosts, port=settings.port, protocol_version=5) as cluster:
        session = cluster.connect(settings.keyspace)
        row = session.execute(
            "SELECT amount, seen, event_timestamp, WRITETIME(amount) AS position FROM plain__v1 WHERE customer = %s",
            ["a"],
        ).one()
        comment = cluster.metadata.keyspaces[settings.keyspace].tables["plain__v1"].options["comment"]

    assert tuple(row) == (1.5, to_micros(EVENT), to_micros(EVENT), 4)
    assert "bigint microseconds since 1970-01-01 UTC: event_timestamp, created_timestamp, seen" in comment


def test_creating_twice_changes_nothing_and_a_table_with_other_columns_is_refused(spark, store, settings):
    view = applied_view("again")
    store.create(view)
    store.write(view, winners(spark, view, [{"customer": "a", "amount": 1.0}]), position=1)

    store.create(view)
    CassandraStore(settings).create(view)

    assert read_amounts(store, view, "a") == [1.0]
    other = applied_view("again", keys={"customer": DType.INT64}, features={"visits": DType.INT64})
    with pytest.raises(OnlineStoreError) as refusal:
        store.create(other)
    for part in ("again__v1", "no column visits", "unknown column amount", "customer is text", "bigint"):
        assert part in str(refusal.value)


def test_a_table_or_keyspace_that_is_missing_says_what_to_run(store, settings, spark):
    view = applied_view("missing")
    read = [Read(view=view, features=("amount",), keys=(("a",),))]
    elsewhere = CassandraStore(settings.model_copy(update={"keyspace": "nowhere"}))

    for call in (
        lambda: rows_of(*store.read(read)),
        lambda: rows_of(*asyncio.run(store.read_async(read))),
        lambda: rows_of(*elsewhere.read(read)),
    ):
        with pytest.raises(NotLoadedError, match="run `features load missing@1`"):
            call()
    for call in (
        lambda: store.write(view, winners(spark, view, [{"customer": "a"}]), position=1),
        lambda: store.delete_absent(view, spark.createDataFrame([("a",)], "customer string"), position=1),
    ):
        with pytest.raises(OnlineStoreError, match="features apply"):
            call()
    elsewhere.close()


def test_a_row_that_does_not_fit_its_column_is_refused_with_the_column(spark, store):
    view = applied_view("misfit", features={"embedding": DType.VECTOR(3)})
    store.create(view)

    with pytest.raises(OnlineStoreError, match=r"misfit__v1.*vector"):
        store.write(view, winners(spark, view, [{"customer": "a", "embedding": [1.0]}]), position=1)


def test_a_closed_store_connects_again(settings):
    store = CassandraStore(settings)
    store.create(SPEND)
    store.close()
    store.close()

    assert store.read([Read(view=SPEND, features=("amount",), keys=(("a",),))]) == [[None]]
    store.close()


def task_batch(*rows: tuple[str, float | None, bool, int | None]) -> pa.RecordBatch:
    """What an executor of a load into "tasks" is handed: customer, amount, _delete, _ttl_seconds."""
    customers, amounts, deletions, ttls = zip(*rows, strict=True) if rows else ((), (), (), ())
    instants = pa.array([to_micros(EVENT)] * len(rows), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    return pa.record_batch(
        {
            "customer": pa.array(customers, pa.string()),
            "amount": pa.array(amounts, pa.float64()),
            "event_timestamp": instants,
            "created_timestamp": instants,
            "_delete": pa.array(deletions, pa.bool_()),
            "_ttl_seconds": pa.array(ttls, pa.int32()),
        }
    )


def outcomes(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.to_pylist()]


def test_a_task_answers_with_what_was_acknowledged_however_its_rows_are_batched(store, settings):
    view = applied_view("tasks")
    store.create(view)
    plan = plan_write(view, settings, position=1)
    batches = [
        task_batch(*((f"k{number}", 1.0, False, None) for number in range(1500))),
        task_batch(),
        task_batch(("k0", None, True, None), ("k1", 2.0, False, 0), ("k2", 2.0, False, 3600)),
    ]

    assert outcomes(write_rows(plan, batches)) == [{"rows": 1501, "deleted": 2, "_error": None}]
    assert read_amounts(store, view, "k0", "k1", "k2", "k1499") == [None, None, 2.0, 1.0]

    ranges = pa.record_batch({"low": [-(2**63), 0], "high": [0, 2**63 - 1]})
    stored = list(read_keys(plan, [ranges]))
    assert sum(batch.num_rows for batch in stored) == 1498
    assert outcomes(delete_keys(plan, stored)) == [{"rows": 0, "deleted": 1498, "_error": None}]
    assert sum(batch.num_rows for batch in read_keys(plan, [ranges])) == 0


def test_a_task_answers_with_its_error_and_one_without_rows_does_not_connect():
    nowhere = plan_write(applied_view("tasks"), OnlineSettings(port=1, timeout_seconds=1), position=1)
    ranges = pa.record_batch({"low": [0], "high": [1]})

    (failed,) = outcomes(write_rows(nowhere, [task_batch(("a", 1.0, False, None))]))
    (unread,) = outcomes(delete_keys(nowhere, read_keys(nowhere, [ranges])))

    assert "127.0.0.1:1 does not answer" in failed["_error"]
    assert "127.0.0.1:1 does not answer" in unread["_error"]
    assert outcomes(write_rows(nowhere, [task_batch()])) == [{"rows": 0, "deleted": 0, "_error": None}]


def test_a_task_names_the_table_of_a_row_that_does_not_fit_and_the_statement_that_is_refused(store, settings):
    view = applied_view("tasks")
    store.create(view)
    plan = plan_write(view, settings, position=1)
    missing = plan_write(applied_view("tasks", version=9), settings, position=1)

    (empty_key,) = outcomes(write_rows(plan, [task_batch(("", 1.0, False, None))]))
    (no_table,) = outcomes(write_rows(missing, [task_batch(("a", 1.0, False, None))]))

    assert "Key may not be empty" in empty_key["_error"]
    assert "features apply" in no_table["_error"]


_READ_FROM_NOWHERE = """
import sys, time
from features.config import OnlineSettings
from features.errors import OnlineStoreError
from features.stores.base import Read, rows_of
from features.stores.opening import open_online_store
from tests.applied_views import SPEND
store = open_online_store(OnlineSettings(hosts=sys.argv[1], port=int(sys.argv[2]), timeout_seconds=2))
began = time.monotonic()
try:
    rows_of(*store.read([Read(view=SPEND, features=("amount",), keys=(("a",),))]))
except OnlineStoreError as error:
    print(f"{time.monotonic() - began:.1f} {error}")
"""


@pytest.mark.parametrize("kind", ["refuses", "is silent", "has no address"])
def test_an_unreachable_cassandra_is_one_clear_error_in_time_and_nothing_else(kind, pytestconfig):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "is silent":
            listener.listen()
        port = listener.getsockname()[1]
        host = "no-such-host.invalid" if kind == "has no address" else "127.0.0.1"
        run = subprocess.run(
            [sys.executable, "-c", _READ_FROM_NOWHERE, host, str(port)],
            capture_output=True, text=True, cwd=pytestconfig.rootpath, timeout=60, check=True,
        )  # fmt: skip

    seconds, message = run.stdout.split(" ", 1)
    assert float(seconds) < 5
    assert f"{host}:{port}" in message
    assert ("check online.hosts" if kind == "has no address" else "`features cassandra start`") in message
    assert run.stderr == ""


def test_a_load_into_an_unreachable_cassandra_starts_no_task(spark):
    store = CassandraStore(OnlineSettings(port=1, timeout_seconds=1))

    with pytest.raises(OnlineStoreError, match=r"127\.0\.0\.1:1 does not answer"):
        store.write(SPEND, winners(spark, SPEND, [{"customer": "a"}]), position=1)
