"""Instants: aware datetimes and int64 microseconds since 1970-01-01 UTC, and nothing between."""

from datetime import UTC, datetime, timedelta

from features.errors import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def parse_instant(value: datetime | str, *, name: str = "time") -> datetime:
    """An aware datetime in UTC, of an aware one or an ISO string with an offset.

    Raises: UsageError: it is naive, outside the years 1 to 9999, or not a time; `name` says which argument.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as exc:
            raise UsageError(f"{name}={value!r} is not an ISO time; write it as 2024-01-31T00:00:00+00:00") from exc
    if not isinstance(value, datetime):
        raise UsageError(f"{name} must be a datetime or an ISO string, got {type(value).__name__}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise UsageError(f"{name}={value.isoformat()} has no time zone; add an offset, such as +00:00")
    try:
        return value.astimezone(UTC)
    except OverflowError as exc:
        raise UsageError(f"{name}={value.isoformat()} lies outside the years 1 to 9999 in UTC") from exc


def to_micros(instant: datetime) -> int:
    """Microseconds since the epoch, exactly: `datetime.timestamp()` goes through a float and is not exact."""
    return (instant - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The instant, aware and in UTC, that many microseconds after the epoch."""
    return EPOCH + timedelta(microseconds=micros)


def duration_micros(duration: timedelta) -> int:
    """The duration in microseconds, exactly."""
    return duration // MICROSECOND


def earlier(instant: datetime, duration: timedelta) -> datetime:
    """That much before an instant, or the beginning of time as datetimes have it."""
    try:
        return instant - duration
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def later(instant: datetime, duration: timedelta) -> datetime:
    """That much after an instant, or the end of time as datetimes have it."""
    try:
        return instant + duration
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def format_instant(instant: datetime) -> str:
    """ISO with offset, without a fraction where it is zero: 2024-01-31T00:00:00+00:00."""
    return instant.astimezone(UTC).isoformat()
