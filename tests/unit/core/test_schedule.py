from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.core.schedule import (
    Interval,
    cover,
    longest_interval,
    next_tick,
    parse_schedule,
    previous_intervals,
    previous_tick,
)
from features.errors import DefinitionError, IntervalError

MICROSECOND = timedelta(microseconds=1)
SCHEDULES = [
    "@hourly", "@daily", "@weekly", "0 6 * * 1-5", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "0 0 31 * *",
    "15 3 29 2 *", "0 0 1 1 *", "0 0 13 * 5", "0 0 L * *", "59 23 * * sun", "5,10 0-3 1,15 */3 *",
]  # fmt: skip
instants = st.datetimes(
    min_value=datetime.fromisoformat("1990-01-01"),
    max_value=datetime.fromisoformat("2050-01-01"),
    timezones=st.just(UTC),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def spans(intervals: tuple[Interval, ...] | list[Interval]) -> list[tuple[str, str]]:
    return [(f"{i.start:%Y-%m-%d %H:%M}", f"{i.end:%Y-%m-%d %H:%M}") for i in intervals]


@settings(deadline=None)
@given(st.sampled_from(SCHEDULES), instants)
def test_no_tick_lies_between_the_previous_and_the_next(schedule: str, moment: datetime) -> None:
    before, after = previous_tick(schedule, moment), next_tick(schedule, moment)

    assert before <= moment < after
    assert next_tick(schedule, before) == after
    assert previous_tick(schedule, after) == after
    assert previous_tick(schedule, after - MICROSECOND) == before


@settings(deadline=None)
@given(st.sampled_from(SCHEDULES), instants, st.integers(1, 5))
def test_the_intervals_of_a_range_tile_it(schedule: str, moment: datetime, count: int) -> None:
    start = end = previous_tick(schedule, moment)
    for _ in range(count):
        end = next_tick(schedule, end)

    intervals = cover(schedule, start, end)

    assert len(intervals) == count
    assert (intervals[0].start, intervals[-1].end) == (start, end)
    assert all(one.end == other.start for one, other in pairwise(intervals))
    assert list(intervals) == previous_intervals(schedule, end, count)


@settings(deadline=None)
@given(st.sampled_from(SCHEDULES), instants, instants)
def test_a_range_is_whole_intervals_or_the_message_names_one_that_is(
    schedule: str, one: datetime, other: datetime
) -> None:
    if one == other:
        return
    start, end = sorted((one, other))
    end = min(end, start + timedelta(days=2))
    outer = Interval(previous_tick(schedule, start), previous_tick(schedule, end))
    outer = outer if outer.end == end else Interval(outer.start, next_tick(schedule, end))
    if outer == Interval(start, end):
        assert cover(schedule, start, end)
    else:
        with pytest.raises(IntervalError) as raised:
            cover(schedule, start, end)
        assert str(raised.value).endswith(f"the nearest that does is {outer}")
        assert cover(schedule, outer.start, outer.end)


@pytest.mark.parametrize(
    ("schedule", "start", "end", "expected"),
    [
        (
            "@daily",
            "2024-02-28",
            "2024-03-01",
            [("2024-02-28 00:00", "2024-02-29 00:00"), ("2024-02-29 00:00", "2024-03-01 00:00")],
        ),
        ("@daily", "2023-02-28", "2023-03-01", [("2023-02-28 00:00", "2023-03-01 00:00")]),
        (
            "@hourly",
            "2023-12-31 23:00",
            "2024-01-01 01:00",
            [("2023-12-31 23:00", "2024-01-01 00:00"), ("2024-01-01 00:00", "2024-01-01 01:00")],
        ),
        # Sunday, whichever the week.
        ("@weekly", "2023-12-31", "2024-01-07", [("2023-12-31 00:00", "2024-01-07 00:00")]),
        (
            "0 0 1 * *",
            "2024-01-01",
            "2024-03-01",
            [("2024-01-01 00:00", "2024-02-01 00:00"), ("2024-02-01 00:00", "2024-03-01 00:00")],
        ),
        (
            "0 0 31 * *",
            "2024-01-31",
            "2024-05-31",
            [("2024-01-31 00:00", "2024-03-31 00:00"), ("2024-03-31 00:00", "2024-05-31 00:00")],
        ),
        ("0 0 29 2 *", "2096-02-29", "2104-02-29", [("2096-02-29 00:00", "2104-02-29 00:00")]),
        # Friday's values stand until Monday morning.
        (
            "0 6 * * 1-5",
            "2024-03-07 06:00",
            "2024-03-11 06:00",
            [("2024-03-07 06:00", "2024-03-08 06:00"), ("2024-03-08 06:00", "2024-03-11 06:00")],
        ),
        # An hour is left out and another comes twice, but not in UTC.
        (
            "30 2 * * *",
            "2024-03-30 02:30",
            "2024-04-01 02:30",
            [("2024-03-30 02:30", "2024-03-31 02:30"), ("2024-03-31 02:30", "2024-04-01 02:30")],
        ),
        (None, "2024-01-01 00:03", "2024-01-09 11:00", [("2024-01-01 00:03", "2024-01-09 11:00")]),
    ],
)
def test_a_range_of_whole_intervals(
    schedule: str | None, start: str, end: str, expected: list[tuple[str, str]]
) -> None:
    assert spans(cover(schedule, at(start), at(end))) == expected


@pytest.mark.parametrize(
    ("schedule", "start", "end", "nearest"),
    [
        ("@daily", "2024-01-01 06:00", "2024-01-02", "[2024-01-01T00:00:00+00:00, 2024-01-02T00:00:00+00:00)"),
        (
            "@daily",
            "2024-01-01",
            "2024-01-02 00:00:00.000001",
            "[2024-01-01T00:00:00+00:00, 2024-01-03T00:00:00+00:00)",
        ),
        (
            "@daily",
            "2024-01-01 00:00:00.000001",
            "2024-01-02",
            "[2024-01-01T00:00:00+00:00, 2024-01-02T00:00:00+00:00)",
        ),
        ("@daily", "2024-01-01 00:00:30", "2024-01-02", "[2024-01-01T00:00:00+00:00, 2024-01-02T00:00:00+00:00)"),
        ("@hourly", "2024-02-29 23:10", "2024-02-29 23:50", "[2024-02-29T23:00:00+00:00, 2024-03-01T00:00:00+00:00)"),
        ("0 6 * * 1-5", "2024-03-09", "2024-03-10", "[2024-03-08T06:00:00+00:00, 2024-03-11T06:00:00+00:00)"),
    ],
)
def test_a_range_off_the_schedule_is_refused_with_the_nearest(
    schedule: str, start: str, end: str, nearest: str
) -> None:
    with pytest.raises(IntervalError) as raised:
        cover(schedule, at(start), at(end))

    assert str(raised.value) == (
        f"{Interval(at(start), at(end))} does not cover whole intervals of schedule {schedule!r}; "
        f"the nearest that does is {nearest}"
    )


@pytest.mark.parametrize("schedule", ["@daily", None])
@pytest.mark.parametrize("end", ["2024-01-01", "2023-12-31"])
def test_an_empty_or_reversed_range_is_refused(schedule: str | None, end: str) -> None:
    with pytest.raises(IntervalError, match="ends at or before its start; swap or widen it"):
        cover(schedule, at("2024-01-01"), at(end))


def test_a_range_may_be_given_in_any_zone() -> None:
    cet = timezone(timedelta(hours=1))

    (interval,) = cover("@daily", datetime(2024, 1, 1, 1, tzinfo=cet), datetime(2024, 1, 2, 1, tzinfo=cet))

    assert str(interval) == "[2024-01-01T00:00:00+00:00, 2024-01-02T00:00:00+00:00)"


def test_previous_intervals_come_oldest_first() -> None:
    found = previous_intervals("0 6 * * 1-5", at("2024-03-12 06:00"), 3)

    assert spans(found) == [
        ("2024-03-07 06:00", "2024-03-08 06:00"),
        ("2024-03-08 06:00", "2024-03-11 06:00"),
        ("2024-03-11 06:00", "2024-03-12 06:00"),
    ]
    assert previous_intervals("@daily", at("2024-03-12"), 0) == []


@pytest.mark.parametrize(
    ("text", "cron"),
    [("@hourly", "0 * * * *"), ("@daily", "0 0 * * *"), ("@weekly", "0 0 * * 0"), ("0 9 * MAR fri", "0 9 * MAR fri")],
)
def test_a_schedule_is_a_cron_or_stands_for_one(text: str, cron: str) -> None:
    assert parse_schedule(text) == cron


@pytest.mark.parametrize(
    "text", ["", "@monthly", "daily", "* * * *", "0 0 * * * 30", "60 * * * *", "H 0 * * *", 5, None, ["@daily"]]
)
def test_what_is_no_schedule_is_refused(text: object) -> None:
    with pytest.raises(DefinitionError, match="is neither a 5-field cron nor one of @hourly, @daily, @weekly"):
        parse_schedule(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["R 0 * * *", "0 r(2-5) * * *"])
def test_a_schedule_of_random_times_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="is neither a 5-field cron"):
        parse_schedule(text)


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6 *"])
def test_a_schedule_that_never_ticks_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="never ticks"):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("schedule", "longest"),
    [
        ("@hourly", timedelta(hours=1)),
        ("@weekly", timedelta(days=7)),
        ("0 6 * * 1-5", timedelta(days=3)),
        ("0 0 1 * *", timedelta(days=31)),
        ("0 0 1 1 *", timedelta(days=366)),
        ("0 0 29 2 *", timedelta(days=8 * 366 - 7)),
    ],
)
def test_the_longest_interval_is_that_of_the_longest_month_or_year(schedule: str, longest: timedelta) -> None:
    assert longest_interval(schedule) == longest
