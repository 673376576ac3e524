"""Reading sources: what an interval needs, with every time an instant."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.core.sources import BatchSource
from features.core.times import from_micros
from features.errors import NotFoundError, SourceError, TimeError
from features.stores.delta import AVAILABLE, micros_literal
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_OFFSET = r"\d{2}:\d{2}(:\d{2}(\.\d+)?)? *(Z|[+-]\d{2}(:?\d{2})?)$"
# Spark wants seconds, and a time where a zone is told.
_DAY_ALONE, _NO_SECONDS = r"^(\d{4}-\d{2}-\d{2})$", r"^(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2})(?!:)"


def read_source(
    spark: "SparkSession",
    source: BatchSource,
    start: datetime,
    end: datetime,
    *,
    window: timedelta = timedelta(0),
    at_ticks: bool = False,
) -> "DataFrame":
    """The rows that could first be read in [start - history - window, end), with their times in UTC.

    Where a source has a created column, a row may be late: the rows before its event are read too.

    Args:
        window: the longest that a view aggregates over. at_ticks: whether its windows end at ticks, for which a row
            that is late by more than the window does not count.

    Returns: the source's columns, its time columns as timestamps, and `available_timestamp`: the later of event and
        created, or the event where the source has no created column.

    Raises:
        SourceError: nothing is there, it cannot be read, or a time column is missing or of another type.
        TimeError: a time is naive and the source declares no timezone, or is null and `null_timestamp` is "refuse".
    """
    frame = _load(spark, source)
    fields = [f for f in (source.timestamp_field, source.created_timestamp_field) if f is not None]
    own = _timed(prune_days(frame, source, start, end), source, fields, start, end)
    since = start
    if source.created_timestamp_field is not None and not at_ticks:
        # A late row is of an earlier time, and needs the history of that time.
        since = min(start, _earliest_event(own, source) or start)
    since = _before(since, source.history + window)
    if since == start:
        return own
    return _timed(prune_days(frame, source, since, end), source, fields, since, end)


def _before(moment: datetime, duration: timedelta) -> datetime:
    """That much earlier, or the beginning of time as datetimes have it."""
    try:
        return moment - duration
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _timed(frame: "DataFrame", source: BatchSource, fields: list[str], start: datetime, end: datetime) -> "DataFrame":
    """The rows available in [start, end), their times as instants."""
    from pyspark.sql import functions as F

    for field in fields:
        frame = frame.withColumn(field, _instant(frame, source, field))
    _check_nulls(frame, source, fields)
    available = F.greatest(*(F.col(_quoted(f)) for f in fields)) if len(fields) > 1 else F.col(_quoted(fields[0]))
    known = F.lit(True)
    for field in fields:
        known = known & F.col(_quoted(field)).isNotNull()
    frame = frame.where(known).withColumn(AVAILABLE, available)
    return frame.where((F.col(AVAILABLE) >= micros_literal(start)) & (F.col(AVAILABLE) < micros_literal(end)))


def _earliest_event(frame: "DataFrame", source: BatchSource) -> datetime | None:
    from pyspark.sql import functions as F

    found = _collect(frame.agg(F.min(F.unix_micros(_quoted(source.timestamp_field)))), source)
    return from_micros(found[0]) if found and found[0] is not None else None


def _collect(frame: "DataFrame", source: BatchSource) -> Any:
    """The first row of a frame over a source. Raises: SourceError: it cannot be read."""
    try:
        return frame.first()
    except spark_errors() as exc:
        raise SourceError(f"source {source.name!r} at {source.path!r} cannot be read: {first_line(exc)}") from exc


def _load(spark: "SparkSession", source: BatchSource) -> "DataFrame":
    local = "://" not in source.path
    if local and not Path(source.path).exists():
        where = Path(source.path).absolute()
        raise SourceError(f"source {source.name!r}: nothing at {str(where)!r}; land the data, or repair path=")
    try:
        reader = spark.read.format(source.format)
        if source.format == "csv":
            reader = reader.option("header", "true").option("inferSchema", "true")
        frame = reader.load(source.path)
        if source.format == "csv":
            # Inference would take a naive time for an instant in UTC: times are read as text, and judged.
            fields = [source.timestamp_field, source.created_timestamp_field]
            types = [f"{_quoted(n)} {'string' if n in fields else t}" for n, t in frame.dtypes]
            frame = reader.schema(", ".join(types)).load(source.path)
    except spark_errors() as exc:
        raise SourceError(f"source {source.name!r} at {source.path!r} cannot be read: {first_line(exc)}") from exc
    for field in (source.timestamp_field, source.created_timestamp_field, source.partition_field):
        if field is not None and field not in frame.columns:
            raise SourceError(f"source {source.name!r}: {NotFoundError.of('column', field, frame.columns)}")
    return frame


def prune_days(frame: "DataFrame", source: BatchSource, start: datetime, end: datetime) -> "DataFrame":
    """The files of the days [start, end], where the source is kept by day."""
    from pyspark.sql import functions as F

    if source.partition_field is None:
        return frame
    day = F.col(_quoted(source.partition_field)).cast("date")
    first, last = start.date(), end.date()
    return frame.where((day >= F.lit(first)) & (day <= F.lit(last)))


def _instant(frame: "DataFrame", source: BatchSource, field: str) -> "Column":
    """The column as a timestamp, whatever the session's time zone is."""
    from pyspark.sql import functions as F

    kind = dict(frame.dtypes)[field]
    column = F.col(_quoted(field))
    if kind == "timestamp":
        return column
    if kind not in ("timestamp_ntz", "date", "string"):
        hint = "timestamps, dates, or ISO text"
        raise SourceError(f"source {source.name!r}: column {field!r} is {kind}, its times must be {hint}")
    text = column.cast("string")
    text = F.regexp_replace(F.regexp_replace(F.trim(text), _DAY_ALONE, "$1 00:00:00"), _NO_SECONDS, "$1:00")
    naive = column.isNotNull() & ~text.rlike(_OFFSET)
    if source.timezone is None and (kind != "string" or _collect(frame.where(naive).select(naive), source)):
        raise TimeError(
            f"source {source.name!r}: times in {field!r} are naive ({kind}); "
            'declare timezone="UTC" or the zone that they are in, or write them with an offset'
        )
    parsed = F.when(naive, F.concat_ws(" ", text, F.lit(source.timezone))).otherwise(text).try_cast("timestamp")
    wrong = _collect(frame.where(column.isNotNull() & parsed.isNull()).select(column.cast("string")), source)
    if wrong:
        raise SourceError(f"source {source.name!r}: {field!r} holds {wrong[0]!r}, which is no time")
    return parsed


def _check_nulls(frame: "DataFrame", source: BatchSource, fields: list[str]) -> None:
    from pyspark.sql import functions as F

    if source.null_timestamp == "drop":
        return
    counts = [F.count_if(F.col(_quoted(f)).isNull()).alias(f"n{i}") for i, f in enumerate(fields)]
    found = _collect(frame.select(*counts), source)
    for field, count in zip(fields, found or (), strict=False):
        if count:
            raise TimeError(
                f"source {source.name!r}: {count} rows have a null {field!r}; "
                'repair them, or declare null_timestamp="drop" where such a row never comes true'
            )


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
