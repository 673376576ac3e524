"""What a run waits for of the views that its own reads: pure functions of schedules and asset events."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from features.core.schedule import Interval
from features.orchestration.dag_plan import Upstream
from features.orchestration.upstream_events import (
    Published,
    event_extra,
    missing,
    needed,
    newest_version,
)
from tests.builders import at

DAILY, HOURLY, WEEKLY = "0 0 * * *", "0 * * * *", "0 0 * * 0"
NEW_YEAR = Interval(at("2012-12-31"), at("2013-01-01"))


def upstream(cron: str | None = DAILY) -> Upstream:
    return Upstream(reference="payments@3", cron=cron)


def published(start: str, end: str, version: int | None = 1) -> Published:
    return Published(interval=Interval(at(start), at(end)), delta_version=version)


def extra(**changes: Any) -> dict[str, Any]:
    end = {"build": {"status": "built", "delta_version": 17, "position": 9, "run_id": "r"}}
    return event_extra("payments@3", NEW_YEAR, end) | changes


def test_event_carries_the_version_the_interval_and_where_it_was_written() -> None:
    assert extra() == {
        "view": "payments@3",
        "start": "2012-12-31T00:00:00+00:00",
        "end": "2013-01-01T00:00:00+00:00",
        "delta_version": 17,
        "position": 9,
        "run_id": "r",
        "status": "built",
    }


@pytest.mark.parametrize(
    ("cron", "run", "wanted"),
    [
        (DAILY, ("2013-01-01", "2013-01-02"), [("2013-01-01", "2013-01-02")]),
        (DAILY, ("2012-12-31", "2013-01-01"), [("2012-12-31", "2013-01-01")]),
        # Of a leap day.
        (DAILY, ("2024-02-29", "2024-03-01"), [("2024-02-29", "2024-03-01")]),
        # The rows of a day belong to the hour in which the day ends.
        (DAILY, ("2013-01-01T22:00", "2013-01-01T23:00"), []),
        (DAILY, ("2013-01-01T23:00", "2013-01-02"), [("2013-01-01", "2013-01-02")]),
        (
            "0 */12 * * *",
            ("2013-03-10", "2013-03-11"),
            [("2013-03-10", "2013-03-10T12:00"), ("2013-03-10T12:00", "2013-03-11")],
        ),
        (WEEKLY, ("2013-01-05", "2013-01-06"), [("2012-12-30", "2013-01-06")]),
        (WEEKLY, ("2013-01-06", "2013-01-07"), []),
        # Ticks that no run of the reader falls on.
        ("30 1 * * *", ("2013-01-01", "2013-01-02"), [("2012-12-31T01:30", "2013-01-01T01:30")]),
        (None, ("2013-01-01", "2013-01-02"), [("2013-01-01", "2013-01-02")]),
    ],
)
def test_needed_are_the_intervals_that_end_within_the_run(
    cron: str | None, run: tuple[str, str], wanted: list[tuple[str, str]]
) -> None:
    found = needed(upstream(cron), Interval(at(run[0]), at(run[1])), since=None)
    assert found == tuple(Interval(at(start), at(end)) for start, end in wanted)


def test_interval_that_no_schedule_ever_runs_is_not_waited_for() -> None:
    run = Interval(at("2013-01-05"), at("2013-01-06"))
    assert needed(upstream(WEEKLY), run, since=at("2013-01-01")) == ()
    assert len(needed(upstream(WEEKLY), run, since=at("2012-12-30"))) == 1


def test_pieces_cover_an_interval_only_without_a_gap() -> None:
    day = (Interval(at("2013-01-01"), at("2013-01-02")),)
    morning, evening = published("2013-01-01", "2013-01-01T12:00"), published("2013-01-01T12:00", "2013-01-02")
    late = published("2013-01-01T13:00", "2013-01-03")
    assert missing(day, [evening, morning]) == ()
    assert missing(day, [morning, late]) == day
    assert missing(day, [published("2012-12-01", "2013-02-01")]) == ()
    assert missing(day, []) == day


def test_newest_version_is_read_whatever_the_order() -> None:
    runs = [published("2013-01-02", "2013-01-03", 4), published("2013-01-01", "2013-01-02", 9)]
    assert newest_version([*runs, published("2013-01-03", "2013-01-04", None)]) == 9
    assert newest_version([]) is None


def test_hours_of_a_day_are_all_needed() -> None:
    hours = needed(upstream(HOURLY), Interval(at("2013-03-10"), at("2013-03-11")), since=None)
    assert len(hours) == 24
    assert {hour.end - hour.start for hour in hours} == {timedelta(hours=1)}
    assert hours[0].start == datetime(2013, 3, 10, tzinfo=UTC)
