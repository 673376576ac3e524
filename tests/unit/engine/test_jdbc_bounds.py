"""The condition by which a database chooses an interval's rows: no fewer than belong to it, in any session's zone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from features.core.sources import JdbcSource
from features.engine.sources.jdbc import _within
from features.errors import SourceError, TimeError
from tests.builders import at


def within(kind: str, since: datetime, until: datetime, **changes: Any) -> str:
    given = {"name": "payments", "connection": "orders", "table": "t", "timestamp_field": "at", **changes}
    return _within(JdbcSource(**given), {"at": kind, "seen": kind}, since, until)


def test_instants_carry_their_offset() -> None:
    day = at("2024-01-01"), at("2024-01-02 00:00:00.000001")

    assert within("timestamp", *day, null_timestamp="drop") == (
        "(\"at\" < TIMESTAMP WITH TIME ZONE '2024-01-02 00:00:00.000001+00:00' AND "
        "(\"at\" >= TIMESTAMP WITH TIME ZONE '2024-01-01 00:00:00+00:00'))"
    )


def test_a_row_is_available_once_it_is_both_true_and_created() -> None:
    condition = within("date", at("2024-01-01"), at("2024-01-02"), timezone="UTC", created_timestamp_field="seen")

    assert condition == (
        "(\"at\" <= DATE '2024-01-02' AND \"seen\" <= DATE '2024-01-02' AND "
        '("at" >= DATE \'2023-12-31\' OR "seen" >= DATE \'2023-12-31\')) OR "at" IS NULL OR "seen" IS NULL'
    )


@pytest.mark.parametrize(
    ("zone", "since", "until", "first", "last"),
    [
        # Clocks go back by an hour within the interval, and by a day's end in the zone.
        ("Europe/Berlin", "2024-10-27 00:00", "2024-10-27 01:00", "2024-10-27 02:00:00", "2024-10-27 02:59:59.999999"),
        ("Antarctica/Troll", "2024-10-26", "2024-10-27 01:00", "2024-10-26 02:00:00", "2024-10-27 02:59:59.999999"),
        ("Asia/Kolkata", "2024-01-01", "2024-01-02", "2024-01-01 05:30:00", "2024-01-02 05:29:59.999999"),
    ],
)
def test_naive_bounds_hold_all_local_times_of_an_interval(
    zone: str, since: str, until: str, first: str, last: str
) -> None:
    condition = within("timestamp_ntz", at(since), at(until), timezone=zone, null_timestamp="drop")
    high, low = (part.split("'")[0] for part in condition.split("TIMESTAMP '")[1:])

    assert low <= first <= last < high


def test_bounds_beyond_the_calendar_are_none() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    day = at("2024-01-01")

    assert within("date", first, day, timezone="America/New_York", null_timestamp="drop") == (
        "(\"at\" <= DATE '2023-12-31' AND (TRUE))"
    )
    assert within("date", day, last, timezone="Asia/Kolkata", null_timestamp="drop") == (
        "(TRUE AND (\"at\" >= DATE '2024-01-01'))"
    )


def test_what_has_no_instants_is_refused() -> None:
    day = at("2024-01-01"), at("2024-01-02")

    with pytest.raises(TimeError, match="naive"):
        within("timestamp_ntz", *day)
    with pytest.raises(SourceError, match="'at' is string; its times must be timestamps or dates: cast it in query="):
        within("string", *day)
