"""Sources that tasks read by themselves: the same windows as the rule's, and never a row group that is not needed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import Aggregation, BatchSource, DType
from features.engine.windows.buckets import BLOB, BUCKET, unpack
from features.engine.windows.chunks import window_batches
from features.engine.windows.files import EventFiles, ObstacleError, find_event_files
from features.engine.windows.plan import TIMES, WindowPlan, plan_windows
from features.engine.windows.reading import bucket_of, read_packed
from features.stores.log_state import AVAILABLE, EVENT
from tests.builders import UTC_MICROS
from tests.window_cases import AGGREGATIONS, BASE_US, DAY_US, DAYS, WINDOWS, assert_agree, day, event_lists
from tests.window_oracle import Event, event_rows, tick_rows

PAIR = {"left": DType.STRING, "right": DType.STRING}
UNFILTERED = [a for a in AGGREGATIONS if a.where is None]
NAMES = {name for a in UNFILTERED for name in a.names}
LONGEST = timedelta(days=2)


def source(folder: Path, **changes: Any) -> BatchSource:
    given = {
        "name": "events",
        "path": str(folder),
        "format": "parquet",
        "timestamp_field": "happened_at",
        "created_timestamp_field": "seen_at",
        **changes,
    }
    return BatchSource(**given)


def plan(**changes: Any) -> WindowPlan:
    return plan_windows(**{"keys": PAIR, "aggregations": UNFILTERED, **changes})


def table_of(events: Sequence[Event]) -> pa.Table:
    return pa.table(
        {
            "left": pa.array([e.key[0] for e in events], pa.string()),
            "right": pa.array([e.key[1] for e in events], pa.string()),
            "happened_at": pa.array([e.event for e in events], UTC_MICROS),
            "seen_at": pa.array([e.available for e in events], UTC_MICROS),
            "value": pa.array([e.value for e in events], pa.float64()),
        }
    )


def write_events(folder: Path, events: Sequence[Event], *, rows_per_group: int = 4) -> None:
    """In folders by the day on which rows were available."""
    for number in {(e.available - BASE_US) // DAY_US for e in events}:
        mine = [e for e in events if (e.available - BASE_US) // DAY_US == number]
        path = folder / f"day={day(number).date()}"
        path.mkdir(parents=True, exist_ok=True)
        pq.write_table(table_of(mine), path / "events.parquet", row_group_size=rows_per_group)


def computed(files: EventFiles, made: WindowPlan, *, tasks: int, buckets: int) -> list[dict[str, Any]]:
    """What tasks would compute of the files, each bucket by itself; times as microseconds."""
    numbers = [pa.RecordBatch.from_pydict({"id": pa.array([n], pa.int64())}) for n in range(tasks)]
    blobs = [
        batch for n in numbers for batch in read_packed(iter([n]), files=files, plan=made, buckets=buckets, tasks=tasks)
    ]
    found = []
    for bucket in range(buckets):
        mine = [blob for blob in blobs if blob.column(BUCKET)[0].as_py() == bucket]
        table = unpack(iter(blob.select([BUCKET, BLOB]) for blob in mine))
        for batch in window_batches(table, made) if table is not None else ():
            times = {name: batch[name].cast(pa.int64()).to_pylist() for name in (EVENT, AVAILABLE)}
            for place, row in enumerate(batch.drop_columns([EVENT, AVAILABLE]).to_pylist()):
                found.append({**row, EVENT: times[EVENT][place], AVAILABLE: times[AVAILABLE][place]})
    return found


@settings(deadline=None, max_examples=100)
@given(
    events=event_lists().filter(bool),
    first=st.integers(0, DAYS),
    days=st.integers(1, 3),
    tasks=st.integers(1, 3),
    buckets=st.integers(1, 4),
    by_day=st.booleans(),
    at_ticks=st.booleans(),
)
def test_what_tasks_read_gives_the_windows_of_the_rule(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[Event],
    first: int,
    days: int,
    tasks: int,
    buckets: int,
    by_day: bool,
    at_ticks: bool,
) -> None:
    folder = tmp_path_factory.mktemp("events")
    write_events(folder, events)
    start, end = BASE_US + first * DAY_US, BASE_US + (first + days) * DAY_US
    ticks = [start + n * DAY_US for n in range(days + 1)] if at_ticks else []
    made = plan(since=start, ticks=ticks)
    given_source = source(folder, partition_field="day" if by_day else None)
    files = find_event_files(given_source, made, day(first), day(first + days), window=LONGEST)
    found = computed(files, made, tasks=tasks, buckets=buckets)
    windows = {name: window for name, window in WINDOWS.items() if name in NAMES}
    known = [e for e in events if e.available < end]
    if at_ticks:
        wanted: dict[Any, Any] = tick_rows(known, windows, ticks)
        assert_agree({((r["left"], r["right"]), r[EVENT]): r for r in found}, wanted)
    else:
        wanted = {place: row for place, row in event_rows(known, windows).items() if place[2] >= start}
        assert_agree({((r["left"], r["right"]), r[EVENT], r[AVAILABLE]): r for r in found}, wanted)


def test_a_run_reads_the_row_groups_that_its_windows_reach_and_no_other(tmp_path: Path) -> None:
    events = [Event(("a", "b"), BASE_US + n * DAY_US, BASE_US + n * DAY_US, 1.0) for n in range(9)]
    write_events(tmp_path, events)
    pq.write_table(table_of(events), tmp_path / "all.parquet", row_group_size=1)
    made = plan(since=BASE_US + 6 * DAY_US)
    by_day = source(tmp_path, partition_field="day")
    names = [
        (Path(path).parent.name, number)
        for path, number in find_event_files(by_day, made, day(6), day(7), window=LONGEST).groups
    ]
    assert sorted(names) == sorted(
        [(f"day={day(n).date()}", 0) for n in (4, 5, 6)] + [(tmp_path.name, n) for n in (4, 5, 6)]
    )


def test_rows_in_the_folder_of_another_day_are_for_spark_to_refuse(tmp_path: Path) -> None:
    late = Event(("a", "b"), BASE_US, BASE_US + DAY_US - 1, 1.0)
    write_events(tmp_path, [late])
    by_day = source(tmp_path, partition_field="day")
    assert len(find_event_files(by_day, plan(), day(0), day(1), window=LONGEST).groups) == 1
    later = table_of([replace(late, available=BASE_US + DAY_US)])
    pq.write_table(later, tmp_path / f"day={day(0).date()}/more.parquet")
    with pytest.raises(ObstacleError, match=r"more\.parquet may hold rows of another day than its folder's"):
        find_event_files(by_day, plan(), day(0), day(1), window=LONGEST)


def test_what_is_hidden_is_no_data(tmp_path: Path) -> None:
    write_events(tmp_path, [Event(("a", "b"), BASE_US, BASE_US, 1.0)])
    for name in ("_SUCCESS", ".events.parquet.tmp", "_temporary/part.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_event_files(source(tmp_path), plan(), day(0), day(1), window=LONGEST)
    assert len(found.groups) == 1


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"format": "delta"}, "it is delta at"),
        ({"path": "hdfs://host/events"}, "it is parquet at hdfs://host/events"),
        ({"path": "nowhere"}, "nowhere is not listed"),
        ({"timestamp_field": "value"}, "'value' of .* is double, no instant as tasks read them"),
        ({"timestamp_field": "at"}, "'at' of .* is None, no instant as tasks read them"),
        ({"timestamp_field": "naive"}, r"'naive' of .* is timestamp\[us\], no instant"),
        ({"timestamp_field": "holed"}, "may hold null times"),
    ],
)
def test_what_is_not_plain_has_an_obstacle(tmp_path: Path, changes: dict[str, Any], because: str) -> None:
    table = table_of([Event(("a", "b"), BASE_US, BASE_US, 1.0)] * 2)
    table = table.append_column("naive", table["happened_at"].cast(pa.timestamp("us")))
    table = table.append_column("holed", pa.array([None, BASE_US], UTC_MICROS))
    pq.write_table(table, tmp_path / "events.parquet")
    with pytest.raises(ObstacleError, match=because):
        find_event_files(replace(source(tmp_path), **changes), plan(), day(0), day(1), window=LONGEST)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"aggregations": AGGREGATIONS}, "a filter is a condition in SQL"),
        ({"keys": {"left": DType.INT64}}, "'left' of .* is string, not int64"),
        ({"own": {"value": DType.FLOAT32}}, "'value' of .* is double, not float32"),
        (
            {"aggregations": [Aggregation(column="kind", dtype=DType.STRING, function="last", windows=[LONGEST])]},
            "'kind' of .* is None, not string",
        ),
    ],
)
def test_what_a_plan_needs_beyond_the_files_has_an_obstacle(
    tmp_path: Path, changes: dict[str, Any], because: str
) -> None:
    write_events(tmp_path, [Event(("a", "b"), BASE_US, BASE_US, 1.0)])
    with pytest.raises(ObstacleError, match=because):
        find_event_files(source(tmp_path), plan(**changes), day(0), day(1), window=LONGEST)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, -1, None, 2**63 - 1], pa.int64()),
        pa.array([1, 2, -1, None, 7], pa.int32()),
        pa.array(["", "a", "ab", None, "ba"]),
        pa.array([b"", b"\x00", b"\x00\x00", None, b"\xff"]),
        pa.array([0, 1, -1, None, 5], pa.int64()).cast(UTC_MICROS),
        pa.array([0, 1, -1, None, 5], pa.int32()).cast(pa.date32()),
        pa.array([True, False, None]),
        pa.array(["1.00", "2.00", None, "-1.00"]).cast(pa.decimal128(9, 2)),
    ],
    ids=lambda values: str(values.type),
)
def test_a_keys_bucket_is_the_same_in_whatever_company(values: pa.Array) -> None:
    other = values.take(pa.array([len(values) - 1, 0]))
    together = bucket_of(pa.table({"key": pa.concat_arrays([other, values, values])}), 1 << 20)
    alone = [int(bucket_of(pa.table({"key": values.slice(n, 1)}), 1 << 20)[0]) for n in range(len(values))]
    assert together.tolist() == [alone[-1], alone[0], *alone, *alone]
    assert len(set(alone)) == len(values)


def test_buckets_are_of_even_size() -> None:
    keys = pa.table({"left": [f"customer-{n % 1000}" for n in range(40_000)], "right": range(40_000)})
    sizes = [int((bucket_of(keys, 8) == bucket).sum()) for bucket in range(8)]
    assert min(sizes) > 4_500


def test_times_travel_as_whole_numbers(tmp_path: Path) -> None:
    table = table_of([Event(("a", "b"), BASE_US, BASE_US + 5_000, 1.0)])
    millis = table["seen_at"].cast(pa.timestamp("ms", tz="UTC"))
    pq.write_table(table.set_column(3, "seen_at", millis), tmp_path / "events.parquet")
    files = find_event_files(source(tmp_path), plan(), day(0), day(1), window=LONGEST)
    (batch,) = read_packed(
        iter([pa.RecordBatch.from_pydict({"id": [0]})]), files=files, plan=plan(), buckets=1, tasks=1
    )
    moved = unpack(iter([batch]))
    assert moved is not None
    assert [moved[name].to_pylist() for name in TIMES] == [[BASE_US], [BASE_US + 5_000]]


def test_tasks_that_work_elsewhere_find_the_files_of_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_events(tmp_path / "landing", [Event(("a", "b"), BASE_US, BASE_US, 1.0)])
    monkeypatch.chdir(tmp_path)
    found = find_event_files(source(Path("landing")), plan(), day(0), day(1), window=LONGEST)
    monkeypatch.chdir("/")
    assert len(computed(found, plan(), tasks=1, buckets=1)) == 1
