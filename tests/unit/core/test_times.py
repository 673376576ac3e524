from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.core.times import duration_micros, format_instant, from_micros, parse_instant, to_micros
from features.errors import UsageError

instants = st.datetimes(timezones=st.just(UTC))
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


@settings(deadline=None)
@given(instants)
def test_micros_and_text_bring_back_any_instant(instant: datetime) -> None:
    assert from_micros(to_micros(instant)) == instant
    assert parse_instant(format_instant(instant)) == instant


@settings(deadline=None)
@given(instants, instants)
def test_micros_keep_order_and_distance(one: datetime, other: datetime) -> None:
    assert to_micros(one) - to_micros(other) == duration_micros(one - other)


@pytest.mark.parametrize(
    ("instant", "micros"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), -1),
        (FIRST, -62_135_596_800_000_000),
        (LAST, 253_402_300_799_999_999),
        # A float of seconds would round this one.
        (datetime(5138, 11, 16, 9, 46, 39, 999999, tzinfo=UTC), 99_999_999_999_999_999),
    ],
)
def test_micros_are_exact(instant: datetime, micros: int) -> None:
    assert to_micros(instant) == micros
    assert from_micros(micros) == instant


@pytest.mark.parametrize(
    "value", ["2024-01-31T01:00:00+01:00", datetime(2024, 1, 31, 1, tzinfo=timezone(timedelta(hours=1)))]
)
def test_an_instant_of_any_zone_becomes_utc(value: datetime | str) -> None:
    instant = parse_instant(value)

    assert (instant, instant.tzinfo) == (datetime(2024, 1, 31, tzinfo=UTC), UTC)
    assert format_instant(instant) == "2024-01-31T00:00:00+00:00"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("2024-01-31T00:00:00", r"start=2024-01-31T00:00:00 has no time zone; add an offset"),
        (datetime(2024, 1, 31), r"start=2024-01-31T00:00:00 has no time zone; add an offset"),  # noqa: DTZ001
        ("yesterday", r"start='yesterday' is not an ISO time; write it as 2024-01-31T00:00:00\+00:00"),
        (1706659200, "start must be a datetime or an ISO string, got int"),
        (date(2024, 1, 31), "start must be a datetime or an ISO string, got date"),
        ("0001-01-01T00:00:00+14:00", "start=0001-01-01T00:00:00.14:00 lies outside the years 1 to 9999"),
    ],
)
def test_what_is_no_instant_is_refused_by_the_name_of_the_argument(value: object, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_instant(value, name="start")  # type: ignore[arg-type]
