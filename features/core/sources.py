"""What authors write of where rows come from. Frozen, and validated at birth."""

from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.core.checks import check_choice, check_duration, check_name, check_text, fail

SOURCE_FORMATS = ("parquet", "delta", "csv", "json")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSource:
    """Files that a transform reads: one row per fact.

    path: a folder or file; relative to the working directory of jobs.
    timestamp_field: the column that says when a row is true of the world.
    created_timestamp_field: the column that says when a row could first be read; None: at its event.
    timezone: the zone of naive times; None refuses them.
    null_timestamp: "refuse" an interval with null times, or "drop" such rows (a cancelled flight never lands).
    history: how far before an interval the transform needs rows.
    partition_field: a DATE column, or folder level, with the UTC day of the row's available time: runs read only the
        days that they need.
    """

    name: str
    path: str
    format: str
    timestamp_field: str
    created_timestamp_field: str | None = None
    timezone: str | None = None
    null_timestamp: str = "refuse"
    history: timedelta = timedelta(0)
    partition_field: str | None = None

    def __post_init__(self) -> None:
        me = f"BatchSource {self.name!r}"
        check_name(self.name, owner=me)
        check_text(self.path, owner=me, field="path", required=True)
        check_choice(self.format, SOURCE_FORMATS, owner=me, field="format")
        check_text(self.timestamp_field, owner=me, field="timestamp_field", required=True)
        for optional in ("created_timestamp_field", "partition_field"):
            if getattr(self, optional) is not None:
                check_text(getattr(self, optional), owner=me, field=optional, required=True)
        if self.timezone is not None:
            try:
                ZoneInfo(check_text(self.timezone, owner=me, field="timezone", required=True))
            # A folder of zones, or a name that is too long, is an OSError.
            except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
                raise fail(
                    me, "timezone", f"{self.timezone!r} is not an IANA time zone, such as Europe/Berlin"
                ) from exc
        check_choice(self.null_timestamp, ("refuse", "drop"), owner=me, field="null_timestamp")
        check_duration(self.history, owner=me, field="history")
