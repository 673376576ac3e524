"""Wall-clock time for the registry's own bookkeeping: when something was written, never when it holds."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Now, aware and in UTC."""
    return datetime.now(UTC)
