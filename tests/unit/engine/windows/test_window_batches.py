"""A task's rows against the oracle: keys of any type, ties, late rows, nulls, and chunks of every size."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import DType
from features.engine.windows import chunks
from features.engine.windows.chunks import window_batches
from features.engine.windows.plan import TIMES, WindowPlan, plan_windows
from features.stores.log_state import AVAILABLE, CREATED, EVENT
from tests.window_cases import AGGREGATIONS, BASE_US, DAY_US, DAYS, WINDOWS, assert_agree, event_lists
from tests.window_oracle import Event, event_rows, tick_rows

PAIR = {"left": DType.STRING, "right": DType.STRING}
MICROS = pa.timestamp("us", tz="UTC")


def plan(*, since: int | None = None, ticks: Sequence[int] = (), own: dict[str, DType] | None = None) -> WindowPlan:
    return plan_windows(keys=PAIR, aggregations=AGGREGATIONS, since=since, ticks=ticks, own=own)


def table_of(events: Sequence[Event], **more: pa.Array) -> pa.Table:
    """Events as they travel to a task."""
    return pa.table(
        {
            "left": pa.array([e.key[0] for e in events], pa.string()),
            "right": pa.array([e.key[1] for e in events], pa.string()),
            TIMES[0]: pa.array([e.event for e in events], pa.int64()),
            TIMES[1]: pa.array([e.available for e in events], pa.int64()),
            CREATED: pa.nulls(len(events), MICROS),
            "_column0": pa.array([e.value for e in events], pa.float64()),
            "_filter0": pa.array([e.counts for e in events], pa.bool_()),
            **more,
        }
    )


def computed(table: pa.Table, made: WindowPlan) -> list[dict[str, Any]]:
    """The rows, their times as microseconds."""
    batches = list(window_batches(table, made))
    assert all(batch.schema == made.arrow_schema for batch in batches)
    found = []
    for batch in batches:
        times = {name: batch[name].cast(pa.int64()).to_pylist() for name in (EVENT, AVAILABLE)}
        for place, row in enumerate(batch.drop_columns([EVENT, AVAILABLE]).to_pylist()):
            found.append({**row, EVENT: times[EVENT][place], AVAILABLE: times[AVAILABLE][place]})
    return found


@settings(deadline=None, max_examples=150)
@given(
    events=event_lists(),
    seed=st.randoms(use_true_random=False),
    chunk=st.sampled_from([1, 2, 5, 500_000]),
    since_day=st.one_of(st.none(), st.integers(0, DAYS)),
)
def test_every_event_has_the_windows_of_the_rule(
    events: list[Event], seed: Any, chunk: int, since_day: int | None
) -> None:
    since = None if since_day is None else BASE_US + since_day * DAY_US
    wanted = {p: row for p, row in event_rows(events, WINDOWS).items() if since is None or p[2] >= since}
    shuffled = list(events)
    seed.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_CHUNK", chunk)
        found = computed(table_of(shuffled), plan(since=since))
    assert len(found) == len(wanted)
    assert_agree({((r["left"], r["right"]), r[EVENT], r[AVAILABLE]): r for r in found}, wanted)


@settings(deadline=None, max_examples=150)
@given(events=event_lists(), seed=st.randoms(use_true_random=False), chunk=st.sampled_from([1, 2, 5, 500_000]))
def test_neither_order_nor_chunks_change_a_bit(events: list[Event], seed: Any, chunk: int) -> None:
    shuffled = list(events)
    seed.shuffle(shuffled)
    plain = sorted(map(repr, computed(table_of(events), plan())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_CHUNK", chunk)
        assert sorted(map(repr, computed(table_of(shuffled), plan()))) == plain


def test_a_key_with_the_least_of_numbers_changes_no_bit_of_another() -> None:
    pair = [Event(("a", "b"), BASE_US, BASE_US, value) for value in (0.1, 0.2)]
    least = Event(("c", "d"), BASE_US, BASE_US, 2.0**-1074)
    alone, beside = (computed(table_of(events), plan()) for events in (pair, [*pair, least]))
    assert repr(alone[0]) == repr(next(row for row in beside if row["left"] == "a"))


@settings(deadline=None, max_examples=150)
@given(
    events=event_lists(),
    seed=st.randoms(use_true_random=False),
    chunk=st.sampled_from([1, 2, 5, 500_000]),
    marks=st.lists(st.integers(0, 4 * DAYS + 12), min_size=2, unique=True),
)
def test_every_tick_has_the_windows_of_the_rule(events: list[Event], seed: Any, chunk: int, marks: list[int]) -> None:
    ticks = [BASE_US + mark * (DAY_US // 4) for mark in sorted(marks)]
    shuffled = list(events)
    seed.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_CHUNK", chunk)
        found = computed(table_of(shuffled).drop_columns(CREATED), plan(ticks=ticks))
    wanted = tick_rows(events, WINDOWS, ticks)
    assert all(row[AVAILABLE] == row[EVENT] - 1 for row in found)
    assert len(found) == len(wanted)
    assert_agree({((r["left"], r["right"]), r[EVENT]): r for r in found}, wanted)


def test_a_key_says_once_that_its_window_is_empty() -> None:
    ticks = [BASE_US + day * DAY_US for day in range(8)]
    events = [Event(("a", "b"), ticks[1], ticks[1], 5.0), Event(("a", "b"), ticks[5], ticks[5], 7.0)]
    found = computed(table_of(events).drop_columns(CREATED), plan(ticks=ticks))
    told = sorted((ticks.index(row[EVENT]), row["rows_2d"], row["value_sum_2d"]) for row in found)
    assert told == [(2, 1, 5.0), (3, 1, 5.0), (4, 0, None), (6, 1, 7.0), (7, 1, 7.0)]


def test_rows_that_pass_something_on_stay_apart() -> None:
    event = Event(("a", "b"), BASE_US, BASE_US, 1.0)
    table = table_of([event, event], amount=pa.array([3.0, 4.0]))
    found = computed(table, plan(own={"amount": DType.FLOAT64}))
    assert sorted((r["amount"], r["rows_6h"], r["value_sum_6h"]) for r in found) == [(3.0, 2, 2.0), (4.0, 2, 2.0)]


@pytest.mark.parametrize("missing", TIMES)
def test_a_row_without_a_time_comes_out_for_checks_to_find(missing: str) -> None:
    table = table_of([Event(("a", "b"), BASE_US, BASE_US, 1.0), Event(("c", "d"), BASE_US, BASE_US, 2.0)])
    times = [None if key == "a" else BASE_US for key in table["left"].to_pylist()]
    table = table.set_column(table.column_names.index(missing), missing, pa.array(times, pa.int64()))
    found = {row["left"]: row for row in computed(table, plan())}
    assert found["a"][{TIMES[0]: EVENT, TIMES[1]: AVAILABLE}[missing]] is None
    assert found["a"]["rows_6h"] is None
    assert found["c"]["rows_6h"] == 1


@pytest.mark.parametrize(
    ("dtype", "keys"),
    [
        (DType.INT64, pa.array([-(2**63), 2**63 - 1, None], pa.int64())),
        (DType.BOOL, pa.array([True, False, None])),
        (DType.BYTES, pa.array([b"", b"\x00", None])),
        (DType.DECIMAL(9, 2), pa.array([Decimal(1), Decimal("0.01"), None], pa.decimal128(9, 2))),
        (DType.DATE, pa.array([0, 1, None], pa.int32()).cast(pa.date32())),
        (DType.TIMESTAMP, pa.array([0, 1, None], pa.int64()).cast(MICROS)),
    ],
    ids=str,
)
def test_keys_of_every_type_come_back_as_they_were(dtype: DType, keys: pa.Array) -> None:
    table = table_of([Event(("a", "b"), BASE_US + n, BASE_US + n, 1.0) for n in (0, 1, 2, 3, 4, 5)])
    table = table.drop_columns(["left", "right"]).append_column("key", pa.concat_arrays([keys, keys]))
    made = plan_windows(keys={"key": dtype}, aggregations=AGGREGATIONS)
    found = pa.Table.from_batches(list(window_batches(table, made)))
    counts = sorted(zip(found["key"].to_pylist(), found["rows_6h"].to_pylist(), strict=True), key=repr)
    assert counts == sorted([(key, n) for key in keys.to_pylist() for n in (1, 2)], key=repr)
