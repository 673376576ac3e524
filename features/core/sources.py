"""What authors write of where rows come from. Frozen, and validated at birth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.core.checks import check_choice, check_duration, check_name, check_text, fail, freeze_mapping
from features.core.dtypes import DType
from features.errors import SourceError

SOURCE_FORMATS = ("parquet", "delta", "csv", "json")
# Formats whose values are text: nothing but a declared schema says their types.
TEXT_FORMATS = ("csv", "json")
# The columns that Delta's change feed adds.
CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION = "_change_type", "_commit_timestamp", "_commit_version"
DELETES = ("refuse", "drop", "deliver")

# Fields of later releases: at their default they say nothing, so that hashes of earlier definitions stay.
UNSAID = {"unsaid": True}
# What a source decides by itself: as an option it would undo a check, or contradict a field.
_OWN_OPTIONS = frozenset(
    {"mode", "columnnameofcorruptrecord", "enforceschema", "columnpruning", "mergeschema", "path", "readchangefeed",
     "readchangedata", "startingversion", "startingtimestamp", "endingversion", "endingtimestamp"}
)  # fmt: skip
_SNAPSHOT_OPTIONS = frozenset({"versionasof", "timestampasof"})


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedSource:
    """What every source of rows with times says of them.

    timestamp_field: the column that says when a row is true of the world.
    created_timestamp_field: the column that says when a row could first be read; None: at its event.
    timezone: the zone of naive times; None refuses them.
    null_timestamp: "refuse" an interval with null times, or "drop" such rows (a cancelled flight never lands).
    history: how far before an interval the transform needs rows.
    """

    name: str
    timestamp_field: str
    created_timestamp_field: str | None = None
    timezone: str | None = None
    null_timestamp: str = "refuse"
    history: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        me = self._me
        check_name(self.name, owner=me)
        check_text(self.timestamp_field, owner=me, field="timestamp_field", required=True)
        if self.created_timestamp_field is not None:
            check_text(self.created_timestamp_field, owner=me, field="created_timestamp_field", required=True)
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

    @property
    def _me(self) -> str:
        return f"{type(self).__name__} {self.name!r}"

    @property
    def kind(self) -> str:
        """What it is, in a word: a format, "jdbc" or "function"."""
        raise NotImplementedError

    @property
    def location(self) -> str:
        """Where its rows are, for people."""
        raise NotImplementedError

    @property
    def time_fields(self) -> tuple[str, ...]:
        """The columns with its rows' times: event, then created."""
        return tuple(f for f in (self.timestamp_field, self.created_timestamp_field) if f is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSource(TimedSource):
    """Files that a transform reads: one row per fact.

    path: a folder or file; relative to the working directory of jobs.
    partition_field: a DATE column, or folder level, with the UTC day of the row's available time: runs read only the
        days that they need.
    options: of Spark's reader, such as {"sep": ";"}; never secrets, since definitions are kept as they are.
    schema: column to type. None: what the files say; of csv and json that is a guess, made of all files at each run.
    time_travel: of a Delta table that is overwritten or updated in place: each interval gets the whole table as it was
        when the interval ended, whatever has become of it.
    change_feed: of a Delta table with a change data feed: each interval gets the rows that were inserted, or came of
        an update, in commits of that interval. Their created time is the commit's.
    deletes: what a deletion in the feed means. "refuse" the interval, "drop" it, or "deliver" the row, of which
        `_change_type` says "delete".
    """

    path: str
    format: str
    partition_field: str | None = None
    options: Mapping[str, str] = field(default_factory=dict, hash=False, metadata=UNSAID)
    schema: Mapping[str, DType] | None = field(default=None, hash=False, metadata=UNSAID)
    time_travel: bool = field(default=False, metadata=UNSAID)
    change_feed: bool = field(default=False, metadata=UNSAID)
    deletes: str = field(default="refuse", metadata=UNSAID)

    def __post_init__(self) -> None:
        me = self._me
        check_text(self.path, owner=me, field="path", required=True)
        check_choice(self.format, SOURCE_FORMATS, owner=me, field="format")
        if self.partition_field is not None:
            check_text(self.partition_field, owner=me, field="partition_field", required=True)
        self._check_options(me)
        self._check_delta(me)
        self._check_feed(me)
        TimedSource.__post_init__(self)
        self._check_schema(me)

    @property
    def kind(self) -> str:
        """The format, and how a Delta table is read."""
        how = ", as of intervals' ends" if self.time_travel else ", change feed" if self.change_feed else ""
        return f"{self.format}{how}"

    @property
    def location(self) -> str:
        """The path."""
        return self.path

    def _check_options(self, me: str) -> None:
        options = freeze_mapping(self.options, owner=me, field="options")
        for key, value in options.items():
            check_text(value, owner=me, field=f"options[{key!r}]")
            if key.lower() in _OWN_OPTIONS:
                raise fail(me, "options", f"must not hold {key!r}, which the source decides by itself")
        object.__setattr__(self, "options", options)

    def _check_delta(self, me: str) -> None:
        for name in ("time_travel", "change_feed"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise fail(me, name, f"must be True or False, got {value!r}")
            if value and self.format != "delta":
                raise fail(me, name, f"is what Delta tables have, not {self.format}")
        if self.time_travel and self.change_feed:
            raise fail(me, "change_feed", "and time_travel are two ways to read a table: set one")
        pinned = [key for key in self.options if key.lower() in _SNAPSHOT_OPTIONS]
        if pinned and (self.time_travel or self.change_feed):
            raise fail(me, "options", f"must not hold {pinned[0]!r}: which version is read depends on the interval")
        if self.time_travel and (self.history or self.partition_field is not None):
            what = "history" if self.history else "partition_field"
            raise fail(me, what, "has no meaning with time_travel=True: each interval gets the whole table")

    def _check_feed(self, me: str) -> None:
        check_choice(self.deletes, DELETES, owner=me, field="deletes")
        if not self.change_feed:
            if self.deletes != "refuse":
                raise fail(me, "deletes", "says what a deletion in a change feed means: set change_feed=True")
            return
        if self.created_timestamp_field not in (None, COMMIT_TIMESTAMP):
            raise fail(me, "created_timestamp_field", f"of a change feed is {COMMIT_TIMESTAMP!r}; leave it out")
        if self.partition_field is not None:
            raise fail(me, "partition_field", "has no meaning in a change feed, which is read by commit")
        object.__setattr__(self, "created_timestamp_field", COMMIT_TIMESTAMP)

    def _check_schema(self, me: str) -> None:
        if self.schema is None:
            return
        schema = freeze_mapping(self.schema, owner=me, field="schema")
        object.__setattr__(self, "schema", schema)
        for column, dtype in schema.items():
            check_text(column, owner=me, field="schema", required=True)
            if not isinstance(dtype, DType):
                raise fail(me, "schema", f"[{column!r}] must be a DType, got {dtype!r}")
            if self.format == "csv" and (dtype.is_list or dtype == DType.BYTES):
                raise fail(me, "schema", f"[{column!r}] is {dtype}, which csv has no way to write")
        for column in self.time_fields:
            if column not in schema and column != COMMIT_TIMESTAMP:
                raise fail(me, "schema", f"lacks {column!r}, which holds the rows' times")
            if column in schema and schema[column].kind not in ("timestamp", "date", "string"):
                raise fail(me, "schema", f"[{column!r}] must be TIMESTAMP, DATE or STRING, got {schema[column]}")


@dataclass(frozen=True, kw_only=True, slots=True)
class JdbcSource(TimedSource):
    """A table, or a query, of a database that JDBC reaches. Each run reads the rows of its interval, once.

    connection: of conf's `connections`, which has the address and names the secret.
    table: as the database calls it, such as "public.payments". query: a SELECT instead of it.
    partition_column, num_partitions: a column of whole numbers, by ranges of which so many tasks read in parallel.
    """

    connection: str
    table: str | None = None
    query: str | None = None
    partition_column: str | None = None
    num_partitions: int = 1

    def __post_init__(self) -> None:
        me = self._me
        TimedSource.__post_init__(self)
        check_text(self.connection, owner=me, field="connection", required=True)
        if (self.table is None) == (self.query is None):
            raise fail(me, "table", "or query: give one of them")
        for optional in ("table", "query", "partition_column"):
            if getattr(self, optional) is not None:
                check_text(getattr(self, optional), owner=me, field=optional, required=True)
        if self.query is not None and self.query.rstrip().endswith(";"):
            raise fail(me, "query", "must not end with ; since it becomes part of another")
        count = self.num_partitions
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 1000:
            raise fail(me, "num_partitions", f"must be a whole number from 1 to 1000, got {count!r}")
        if (count > 1) != (self.partition_column is not None):
            raise fail(me, "num_partitions", "above 1 and a partition_column go together")

    @property
    def kind(self) -> str:
        """How it is reached."""
        return "jdbc"

    @property
    def location(self) -> str:
        """The connection, and what is read there."""
        return f"{self.connection}: {self.table or 'a query'}"


def code_not_at_hand(spark: Any, start: Any, end: Any) -> Any:
    """What a source that was read from a registry has for its function. Raises: SourceError."""
    raise SourceError("a registry keeps no code: read a function source through its view's code")


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionSource(TimedSource):
    """Rows that a function gets from anywhere: `read(spark, start, end)` returns a DataFrame.

    It is given aware bounds in UTC, history included, and returns at least the rows that were available in
    [start, end); others are dropped. Its code counts as a part of the views that read it, as a transform's does.
    """

    read: Callable[..., Any]

    def __post_init__(self) -> None:
        TimedSource.__post_init__(self)
        if not callable(self.read):
            raise fail(self._me, "read", f"must be a function, got {type(self.read).__name__}")

    @property
    def kind(self) -> str:
        """What it is."""
        return "function"

    @property
    def location(self) -> str:
        """The function's name, where its code is at hand."""
        return "code" if self.read is code_not_at_hand else str(getattr(self.read, "__qualname__", self.read))
