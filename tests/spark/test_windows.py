"""Windows through Spark and through builds, against the oracle: many cases in one frame, each with keys of its own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features import Aggregation, BatchSource, DType, Entity, FeatureView
from features.core.times import duration_micros, to_micros
from features.engine.transform import run_transform
from features.engine.windows.plan import plan_windows
from features.engine.windows.spark import compute_windows
from features.errors import TransformError
from features.functions import F
from features.materialization.backfill import backfill
from features.stores.log_state import AVAILABLE, CREATED, EVENT, INTERVAL, OP, SEQ
from tests.builders import UTC_MICROS, Workshop
from tests.window_cases import (
    AGGREGATIONS,
    BASE_US,
    DAY,
    DAY_US,
    DAYS,
    HOUR,
    WINDOWS,
    aggregate_value,
    assert_agree,
    day,
    event_lists,
    values,
)
from tests.window_oracle import Event, event_rows, tick_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

# A build refuses null keys, so here every key is whole.
WHOLE_KEYS = (("a", "bc"), ("ab", "c"))
PAIR = Entity(name="pair", join_keys={"left": DType.STRING, "right": DType.STRING})
# All that is late has come by then, and every window has emptied.
LAST_DAY = DAYS + 5
spark_settings = settings(
    max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)


def in_one(cases: Sequence[Sequence[Event]]) -> list[Event]:
    """All cases, each with keys of its own."""
    return [
        Event((f"{n}-{e.key[0]}", e.key[1]), e.event, e.available, e.value, e.counts)
        for n, events in enumerate(cases)
        for e in events
    ]


def table_of(events: Sequence[Event]) -> pa.Table:
    return pa.table(
        {
            "left": pa.array([e.key[0] for e in events], pa.string()),
            "right": pa.array([e.key[1] for e in events], pa.string()),
            "happened_at": pa.array([e.event for e in events], UTC_MICROS),
            "seen_at": pa.array([e.available for e in events], UTC_MICROS),
            "value": pa.array([e.value for e in events], pa.float64()),
            "counts": pa.array([e.counts for e in events], pa.bool_()),
            "kind": pa.array(["x"] * len(events), pa.string()),
        }
    )


def write_events(folder: Path, events: Sequence[Event]) -> None:
    """Replace what the source at a folder holds."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table_of(events), folder / "events.parquet")


def events_source(folder: Path) -> BatchSource:
    return BatchSource(
        name="events",
        path=str(folder),
        format="parquet",
        timestamp_field="happened_at",
        created_timestamp_field="seen_at",
    )


def windowed_view(name: str, folder: Path, **changes: Any) -> FeatureView:
    source = events_source(folder)
    given: dict[str, Any] = {
        "name": name,
        "entities": [PAIR],
        "sources": [source],
        "aggregations": AGGREGATIONS,
        "lookback": None,
        "schedule": "@daily",
        "delay": HOUR,
        "description": "windows",
        "owner": "team@example.com",
    }
    return FeatureView(**{**given, **changes})


def read(frame: "DataFrame") -> list[dict[str, Any]]:
    """The rows, times as microseconds."""
    table = frame.toArrow()
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(place, field.name, table[field.name].cast(pa.int64()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def place(row: Mapping[str, Any], *times: str) -> tuple[Any, ...]:
    """What tells a row from all others: its key, and times."""
    return ((row["left"], row["right"]), *(row[time] for time in times))


def logged(workshop: Workshop, view: FeatureView) -> list[dict[str, Any]]:
    """The rows of the log."""
    log = workshop.log(view)
    snapshot = log.snapshot()
    return [] if snapshot is None else read(log.read(snapshot))


def identified(rows: Sequence[Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
    """The features of puts by key, event, interval and created; none twice."""
    assert all(row[OP] == "put" for row in rows)
    found = {place(r, EVENT, INTERVAL, CREATED): {name: r[name] for name in WINDOWS if name in r} for r in rows}
    assert len(found) == len(rows)
    return found


def expected(events: Sequence[Event], view: FeatureView) -> dict[Any, dict[str, Any]]:
    """What first builds put into the log: by key, event, the end of the interval, and created."""
    windows = {f.name: WINDOWS[f.name] for f in view.features}
    delay = duration_micros(HOUR)
    ends = [BASE_US + n * DAY_US for n in range(LAST_DAY + 1)]
    if view.values_at == "tick":
        return {(key, t, t, t + delay): row for (key, t), row in tick_rows(events, windows, ends).items()}
    found: dict[Any, tuple[int, dict[str, Any]]] = {}
    for (key, event, available), row in event_rows(events, windows).items():
        end = BASE_US + ((available - BASE_US) // DAY_US + 1) * DAY_US
        told = (key, event, end, end + delay)
        # Of the rows of one interval with one key and event the one that came last counts.
        if told not in found or found[told][0] < available:
            found[told] = (available, row)
    return {told: row for told, (_, row) in found.items()}


@contextmanager
def conf(spark: "SparkSession", changes: Mapping[str, str]) -> Iterator[None]:
    before = {key: spark.conf.get(key, None) for key in changes}
    for key, value in changes.items():
        spark.conf.set(key, value)
    yield
    for key, value in before.items():
        if value is None:
            spark.conf.unset(key)
        else:
            spark.conf.set(key, value)


def bits(frame: "DataFrame") -> list[str]:
    """Every row as text that tells every bit of a double."""
    return sorted(repr(row) for row in frame.drop(CREATED).toArrow().to_pylist())


@spark_settings
@given(cases=st.lists(event_lists(), min_size=40, max_size=40))
def test_spark_gives_the_windows_of_the_rule_to_the_bit_however_it_runs(
    spark: "SparkSession", cases: list[list[Event]]
) -> None:
    events = in_one(cases)
    frame = spark.createDataFrame(table_of(events)).withColumnsRenamed({"happened_at": EVENT, "seen_at": AVAILABLE})
    at_events = plan_windows(keys=PAIR.join_keys, aggregations=AGGREGATIONS)
    ticks = [BASE_US + n * DAY_US // 2 for n in range(2 * LAST_DAY)]
    at_ticks = plan_windows(keys=PAIR.join_keys, aggregations=AGGREGATIONS, ticks=ticks)
    found = {place(r, EVENT, AVAILABLE): r for r in read(compute_windows(frame, at_events))}
    assert_agree(found, event_rows(events, WINDOWS))
    found = {place(r, EVENT): r for r in read(compute_windows(frame, at_ticks))}
    assert_agree(found, tick_rows(events, WINDOWS, ticks))
    plain = bits(compute_windows(frame, at_events))
    shaken = frame.orderBy("value").repartition(5)
    for changes in (
        {"spark.sql.shuffle.partitions": "1"},
        {"spark.sql.shuffle.partitions": "7", "spark.sql.adaptive.enabled": "false"},
        {"spark.sql.session.timeZone": "America/New_York", "spark.sql.execution.arrow.maxRecordsPerBatch": "3"},
    ):
        with conf(spark, changes):
            assert bits(compute_windows(shaken, at_events)) == plain


# Each example is dozens of builds.
build_settings = settings(spark_settings, max_examples=1)
# What has no filter is read by the tasks themselves.
UNFILTERED = tuple(aggregation for aggregation in AGGREGATIONS if aggregation.where is None)
EACH_WAY = [
    pytest.param(values_at, aggregations, id=f"{values_at} {who}")
    for values_at in ("event", "tick")
    for aggregations, who in ((AGGREGATIONS, "spark"), (UNFILTERED, "tasks"))
]


@pytest.mark.parametrize(("values_at", "aggregations"), EACH_WAY)
@build_settings
@given(cases=st.lists(event_lists(WHOLE_KEYS), min_size=40, max_size=40))
def test_one_build_and_daily_builds_give_the_rows_of_the_rule(
    workshop: Workshop,
    tmp_path_factory: pytest.TempPathFactory,
    values_at: str,
    aggregations: Any,
    cases: list[list[Event]],
) -> None:
    events = in_one(cases)
    folder = tmp_path_factory.mktemp("events")
    write_events(folder, events)
    number = len(workshop.views)
    together, apart = (
        windowed_view(f"{name}_{number}", folder, values_at=values_at, aggregations=aggregations)
        for name in ("together", "apart")
    )
    wanted = expected(events, together)
    for view, days in ((together, [0, LAST_DAY]), (apart, range(LAST_DAY + 1))):
        workshop.apply(view)
        for start, end in pairwise(days):
            workshop.build(view, day(start).isoformat(), day(end).isoformat())
        assert_agree(identified(logged(workshop, view)), wanted)


@st.composite
def corrected(draw: st.DrawFn, events: list[Event]) -> list[Event]:
    """The events after someone repaired the source: some changed, gone, moved, or new."""
    found = list(events)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(found)))
        if place == len(found):
            found += draw(event_lists(WHOLE_KEYS))[:1]
        else:
            found[place : place + 1] = draw(
                st.sampled_from(
                    [[], [replace(found[place], value=draw(values))], [replace(found[place], counts=False)]]
                )
            )
    return found


@pytest.mark.parametrize(("values_at", "aggregations"), EACH_WAY)
@build_settings
@given(data=st.data(), cases=st.lists(event_lists(WHOLE_KEYS), min_size=60, max_size=60))
def test_a_repaired_source_and_a_backfill_of_the_stale_give_what_building_anew_would(
    workshop: Workshop,
    tmp_path_factory: pytest.TempPathFactory,
    values_at: str,
    aggregations: Any,
    data: st.DataObject,
    cases: list[list[Event]],
) -> None:
    before = in_one(cases)
    after = in_one([data.draw(corrected(events)) for events in cases])
    folder = tmp_path_factory.mktemp("events")
    write_events(folder, before)
    view = windowed_view(f"repaired_{len(workshop.views)}", folder, values_at=values_at, aggregations=aggregations)
    applied = workshop.apply(view)
    for start, end in pairwise(range(LAST_DAY + 1)):
        workshop.build(view, day(start).isoformat(), day(end).isoformat())
    first = identified(logged(workshop, view))
    write_events(folder, after)
    # Whoever repairs a day builds that day again, and then what has become stale.
    repaired = {(e.available - BASE_US) // DAY_US for e in set(before) ^ set(after)}
    for number in sorted(repaired):
        workshop.build(view, day(number).isoformat(), day(number + 1).isoformat(), now=day(60))
    backfill(workshop.builder, view, applied, day(0), day(LAST_DAY))
    rows = logged(workshop, view)
    known = [row for row in rows if row[CREATED] < to_micros(day(60))]
    assert_agree(identified(known), first)
    current: dict[Any, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: (r[CREATED], r[SEQ])):
        current[place(row, EVENT, INTERVAL)] = row
    found = {where: row for where, row in current.items() if row[OP] == "put"}
    wanted = {(key, event, interval): row for (key, event, interval, _), row in expected(after, view).items()}
    assert_agree(found, wanted)


def stale_days(workshop: Workshop, view: FeatureView) -> list[int]:
    entries = workshop.registry.ledger(workshop.registry.view(view.name))
    return [(entry.interval.start - day(0)).days for entry in entries if entry.stale]


def hour(days: int, hours: int) -> int:
    return BASE_US + days * DAY_US + hours * 3_600_000_000


def test_a_repair_that_the_days_own_rows_hide_makes_later_days_stale(workshop: Workshop, tmp_path: Path) -> None:
    key = ("a", "b")
    hidden = Event(key, hour(0, 12), hour(0, 12), 5.0)
    others = [Event(key, hour(0, 10), hour(0, 10), 10.0), Event(key, hour(2, 11), hour(2, 11), 1.0)]
    write_events(tmp_path / "events", [hidden, *others])
    view = windowed_view("greatest", tmp_path / "events", aggregations=[aggregate_value("max", 2 * DAY)])
    applied = workshop.apply(view)
    for number in (0, 2, 3):
        workshop.build(view, day(number).isoformat(), day(number + 1).isoformat())
    write_events(tmp_path / "events", [replace(hidden, value=7.0), *others])
    assert workshop.build(view, day(0).isoformat(), day(1).isoformat(), now=day(60)).status == "unchanged"
    assert stale_days(workshop, view) == [2]
    backfill(workshop.builder, view, applied, day(2), day(3))
    assert sorted(row["value_max_2d"] for row in logged(workshop, view) if row[EVENT] == hour(2, 11)) == [5.0, 7.0]


def test_a_repair_makes_days_stale_whose_late_rows_reach_back_to_it(workshop: Workshop, tmp_path: Path) -> None:
    key = ("a", "b")
    repaired = Event(key, hour(0, 10), hour(0, 10), 1.0)
    late = Event(key, hour(0, 20), hour(4, 3), 8.0)
    others = [Event(key, hour(n, 9), hour(n, 9), 0.5) for n in (1, 2, 3, 4, 5)]
    days = (0, 1, 3, 4)
    write_events(tmp_path / "events", [repaired, late, *others])
    view = windowed_view("total", tmp_path / "events", aggregations=[aggregate_value("sum", DAY)])
    applied = workshop.apply(view)
    for number in days:
        workshop.build(view, day(number).isoformat(), day(number + 1).isoformat())
    write_events(tmp_path / "events", [replace(repaired, value=2.0), late, *others])
    workshop.build(view, day(0).isoformat(), day(1).isoformat(), now=day(60))
    assert stale_days(workshop, view) == [1, 4]
    backfill(workshop.builder, view, applied, day(4), day(5))
    assert sorted(row["value_sum_24h"] for row in logged(workshop, view) if row[EVENT] == hour(0, 20)) == [9.0, 10.0]


def test_a_run_reads_the_files_of_the_days_that_it_needs_alone(workshop: Workshop, tmp_path: Path) -> None:
    key = ("a", "b")
    for number in range(8):
        event = Event(key, hour(number, 9), hour(number, 9), 1.0)
        write_events(tmp_path / f"events/day={day(number).date()}", [event])
    source = replace(events_source(tmp_path / "events"), partition_field="day")
    aggregations = [aggregate_value("count", 2 * DAY)]
    view = windowed_view("pruned", tmp_path / "events", sources=[source], aggregations=aggregations)
    workshop.apply(view)
    # Whoever opens a file of these days fails. Of the first one the schema is read.
    for number in range(1, 4):
        (tmp_path / f"events/day={day(number).date()}/events.parquet").write_bytes(b"damaged")
    assert workshop.build(view, day(6).isoformat(), day(7).isoformat()).rows == 1
    assert [row["value_count_2d"] for row in logged(workshop, view)] == [2]


@pytest.mark.parametrize("where", [None, "counts"])
def test_a_window_may_reach_back_beyond_all_calendars(workshop: Workshop, tmp_path: Path, where: str | None) -> None:
    events = [Event(("a", "b"), hour(number, 9), hour(number, 9), 1.0) for number in range(3)]
    write_events(tmp_path / "events", events)
    ever = aggregate_value("count", 1_000_000 * DAY, name="ever", where=where)
    view = windowed_view("ever", tmp_path / "events", aggregations=[ever])
    workshop.apply(view)
    workshop.build(view, day(2).isoformat(), day(3).isoformat())
    assert [row["ever"] for row in logged(workshop, view)] == [3]


def test_a_sum_that_fits_no_type_says_so(workshop: Workshop, tmp_path: Path) -> None:
    table = table_of([Event(("a", "b"), hour(0, 9 + n), hour(0, 9 + n)) for n in range(2)])
    table = table.append_column("large", pa.array([2**62, 2**62], pa.int64()))
    (tmp_path / "events").mkdir()
    pq.write_table(table, tmp_path / "events/events.parquet")
    total = Aggregation(column="large", dtype=DType.INT64, function="sum", windows=[DAY])
    view = windowed_view("large", tmp_path / "events", aggregations=[total])
    workshop.apply(view)
    with pytest.raises(TransformError, match="does not fit int64"):
        workshop.build(view, day(0).isoformat(), day(1).isoformat())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"column": "values"}, "no column 'values'; did you mean 'value'"),
        ({"dtype": DType.INT64}, "column 'value' is double, but int64 (bigint) is declared; cast it"),
        ({"where": "counts and kinds = 'x'"}, "where=\"counts and kinds = 'x'\" cannot be judged"),
        ({"where": "value"}, "where='value' is double; write a condition"),
        ({"where": "value >"}, "where='value >' cannot be judged"),
    ],
)
def test_an_aggregation_that_does_not_fit_its_rows_says_why(
    spark: "SparkSession", changes: dict[str, Any], message: str
) -> None:
    given = {"column": "value", "dtype": DType.FLOAT64, "function": "sum", "windows": [DAY], "name": "total"}
    view = windowed_view("fits", Path("nowhere"), aggregations=[Aggregation(**{**given, **changes})])
    frame = spark.createDataFrame(table_of([])).withColumn(AVAILABLE, F.col("seen_at"))
    with pytest.raises(TransformError) as failure:
        run_transform(view, {"events": frame})
    assert message in str(failure.value)


@pytest.mark.parametrize("where", ["sum(value) > 1", "explode(array(true))"])
def test_a_condition_of_more_than_one_row_is_told(workshop: Workshop, tmp_path: Path, where: str) -> None:
    write_events(tmp_path / "events", [Event(("a", "b"), hour(0, 9), hour(0, 9), 1.0)])
    view = windowed_view("many", tmp_path / "events", aggregations=[aggregate_value("count", DAY, where=where)])
    workshop.apply(view)
    with pytest.raises(TransformError, match="cannot be judged row by row"):
        workshop.build(view, day(0).isoformat(), day(1).isoformat())


def test_a_transform_may_not_give_ticks_a_created_time(spark: "SparkSession") -> None:
    def with_created(events: Any) -> Any:
        return events.withColumnsRenamed({"happened_at": EVENT, "seen_at": CREATED}).withColumn(AVAILABLE, F.col(EVENT))

    view = windowed_view("ticks", Path("nowhere"), transform=with_created, values_at="tick")
    with pytest.raises(TransformError, match="it returned created_timestamp, which no tick could take"):
        run_transform(view, {"events": spark.createDataFrame(table_of([]))})
