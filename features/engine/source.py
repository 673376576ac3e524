"""Reading sources: what an interval needs, with every time an instant."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING

from features.config import ConnectionSettings
from features.core.sources import BatchSource, FunctionSource, JdbcSource, TimedSource
from features.core.times import from_micros
from features.engine.sources.delta import open_changes, open_snapshot
from features.engine.sources.files import CORRUPT, open_files
from features.engine.sources.files import prune_days as prune_days
from features.engine.sources.function import open_function
from features.engine.sources.jdbc import open_jdbc
from features.engine.sources.opened import Check, Opened, collect, judge, quoted
from features.engine.sources.times import day_checks, instant, latest, null_checks
from features.errors import NotFoundError, SourceError
from features.stores.delta import micros_literal
from features.stores.log_state import AVAILABLE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Connections = Mapping[str, ConnectionSettings]
SchemaCheck = Callable[[TimedSource, Mapping[str, str]], None]
NO_CONNECTIONS: Connections = MappingProxyType({})
_BEGINNING = datetime.min.replace(tzinfo=UTC)
# What Spark puts for bytes that are none of the encoding.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def read_source(
    spark: "SparkSession",
    source: TimedSource,
    start: datetime,
    end: datetime,
    *,
    window: timedelta = timedelta(0),
    at_ticks: bool = False,
    connections: Connections = NO_CONNECTIONS,
    check: SchemaCheck | None = None,
) -> "DataFrame":
    """The rows that could first be read in [start - history - window, end), with their times in UTC.

    Where a source has a created column, a row may be late: the rows before its event are read too. A table that is read
    as of `end` is there as a whole, save rows that it knew ahead of their time.

    Args:
        window: the longest that a view aggregates over. at_ticks: whether its windows end at ticks, for which a row
            that is late by more than the window does not count.
        connections: the databases of conf, by name.
        check: is told the source's columns, column to Spark type, before its rows are looked at.

    Returns: the source's columns, its time columns as timestamps, and `available_timestamp`: the later of event and
        created, or the event where the source has no created column.

    Raises:
        SourceError: nothing is there, it cannot be read, records do not fit, or a time column is missing or of another
            type.
        TimeError: a time is naive and the source declares no timezone, or is null and `null_timestamp` is "refuse".
    """
    opened = _open(spark, source, connections)
    if opened.columns is not None:
        variants = opened.variants(start, end) if check is not None else ()
        for columns in variants or (opened.columns,):
            if check is not None:
                check(source, columns)
        _check_fields(source, {**opened.columns, **{n: k for columns in variants for n, k in columns.items()}})
    if isinstance(source, BatchSource) and source.time_travel:
        return _timed(opened, source, _BEGINNING, end)
    own = _timed(opened, source, start, end, check, is_own=True)
    if _is_feed(source) and not source.history + window:
        # A row that is updated may be of years ago: nothing of that time is needed, nor may the feed still have it.
        return own
    since = start
    if source.created_timestamp_field is not None and not at_ticks:
        # A late row is of an earlier time, and needs the history of that time.
        since = min(start, _earliest_event(own, source) or start)
    since = before(since, source.history + window)
    if since == start:
        return own
    return _timed(opened, source, since, end)


def before(moment: datetime, duration: timedelta) -> datetime:
    """That much earlier, or the beginning of time as datetimes have it."""
    try:
        return moment - duration
    except OverflowError:
        return _BEGINNING


def _open(spark: "SparkSession", source: TimedSource, connections: Connections) -> Opened:
    if isinstance(source, JdbcSource):
        return open_jdbc(spark, source, connections)
    if isinstance(source, FunctionSource):
        return open_function(spark, source)
    if not isinstance(source, BatchSource):
        raise SourceError(f"source {source.name!r} is a {type(source).__name__}, which nothing here reads")
    if source.time_travel:
        return open_snapshot(spark, source)
    return open_changes(spark, source) if source.change_feed else open_files(spark, source)


def _is_feed(source: TimedSource) -> bool:
    return isinstance(source, BatchSource) and source.change_feed


def _check_fields(source: TimedSource, columns: Mapping[str, str]) -> None:
    own = () if _is_feed(source) else source.time_fields[1:]
    fields = [source.timestamp_field, *own]
    if isinstance(source, BatchSource) and source.partition_field is not None:
        fields.append(source.partition_field)
    for field in fields:
        if field not in columns:
            raise SourceError(f"source {source.name!r}: {NotFoundError.of('column', field, columns)}")


def _timed(
    opened: Opened,
    source: TimedSource,
    start: datetime,
    end: datetime,
    check: SchemaCheck | None = None,
    *,
    is_own: bool = False,
) -> "DataFrame":
    """The rows available in [start, end), their times as instants; all rows that were fetched are judged.

    is_own: it is the run's own range, for which a row in the folder of another day would be missed.
    """
    from pyspark.sql import functions as F

    frame = opened.fetch(start, end)
    if opened.columns is None:
        if check is not None:
            check(source, dict(frame.dtypes))
        _check_fields(source, dict(frame.dtypes))
    checks: list[Check] = []
    if opened.corrupt is not None:
        corrupt = F.col(quoted(opened.corrupt))
        checks.append(Check(condition=corrupt.isNotNull(), sample=corrupt, tell=lambda n, s: _corrupt(source, n, s)))
        checks += _mangled_checks(frame, source)
    checks += opened.checks()
    instants = {}
    for field in (*source.time_fields, *opened.texts):
        instants[field], needed = instant(frame, source, field)
        checks += needed
    checks += null_checks(source)
    if is_own:
        checks += day_checks(source, [instants[field] for field in source.time_fields])
    judge(frame, checks, source, whole=opened.corrupt is not None)
    if opened.corrupt is not None:
        frame = frame.drop(opened.corrupt)
    frame = frame.withColumns(instants)
    times = [F.col(quoted(field)) for field in source.time_fields]
    known = reduce(lambda one, other: one & other, [time.isNotNull() for time in times])
    available = latest(times)
    frame = frame.where(known).withColumn(AVAILABLE, available)
    return frame.where((F.col(AVAILABLE) >= micros_literal(start)) & (F.col(AVAILABLE) < micros_literal(end)))


def _earliest_event(frame: "DataFrame", source: TimedSource) -> datetime | None:
    from pyspark.sql import functions as F

    found = collect(frame.agg(F.min(F.unix_micros(quoted(source.timestamp_field)))), source)
    return from_micros(found[0]) if found and found[0] is not None else None


def _corrupt(source: TimedSource, count: int, sample: str) -> SourceError:
    return SourceError(
        f"source {source.name!r} at {source.location!r}: {count} records do not fit its columns, such as {sample!r}; "
        "repair them, or declare schema= and options= as they are"
    )


def _mangled_checks(frame: "DataFrame", source: TimedSource) -> list[Check]:
    """That no text holds the mark of a byte that is not of its encoding: keys that differ in such bytes become one."""
    from pyspark.sql import functions as F

    if not isinstance(source, BatchSource) or {"encoding", "charset"} & {name.lower() for name in source.options}:
        return []
    return [
        Check(
            condition=F.contains(F.col(quoted(name)), F.lit(_REPLACEMENT)),
            sample=F.col(quoted(name)),
            tell=lambda n, s, name=name: _mangled(source, name, n, s),  # type: ignore[misc]
        )
        for name, kind in frame.dtypes
        if kind == "string" and name != CORRUPT
    ]


def _mangled(source: TimedSource, name: str, count: int, sample: str) -> SourceError:
    return SourceError(
        f"source {source.name!r} at {source.location!r}: {count} values of {name!r} hold bytes that are not UTF-8, "
        f"such as {sample!r}; say what they are with options={{'encoding': ...}}, or repair them"
    )
