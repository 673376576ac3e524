"""Files as sources: parquet, delta, csv and json, with reader options and declared schemas."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.core.sources import TEXT_FORMATS, BatchSource, TimedSource
from features.core.times import MICROSECOND
from features.engine.sources.footers import read_columns
from features.engine.sources.opened import Opened, quoted, unreadable
from features.errors import NotFoundError, SourceError
from features.stores.spark_errors import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader, SparkSession

CORRUPT = "_corrupt_record"
_TIME_KINDS = ("timestamp", "timestamp_ntz", "date", "string")


def open_files(spark: "SparkSession", source: BatchSource) -> Opened:
    """The files of a source, read as their columns or its schema say.

    Raises: SourceError: nothing is there, it cannot be read, or it lacks what the schema declares.
    """
    check_exists(source)
    reader = spark.read.format(source.format).options(**source.options)
    try:
        if source.format in TEXT_FORMATS:
            return _open_text(reader, source)
        frame = reader.load(source.path)
    except spark_errors() as exc:
        raise unreadable(source, exc) from exc
    if source.format == "parquet" and source.schema is None:
        return _open_parquet(spark, source, frame)
    return Opened(
        columns=dict(frame.dtypes), fetch=lambda since, until: prune_days(declared(frame, source), source, since, until)
    )


def check_exists(source: BatchSource) -> None:
    """Raises: SourceError: nothing is at a local path."""
    if "://" not in source.path and not Path(source.path).exists():
        where = Path(source.path).absolute()
        raise SourceError(f"source {source.name!r}: nothing at {str(where)!r}; land the data, or repair path=")


def declared(frame: "DataFrame", source: BatchSource) -> "DataFrame":
    """The columns that the schema declares; all, where it declares none.

    Raises: SourceError: one is missing, or of another type: Spark would read it as null, or fail halfway.
    """
    if source.schema is None:
        return frame
    kinds = dict(frame.dtypes)
    for column, dtype in source.schema.items():
        if column not in kinds:
            raise SourceError(
                f"source {source.name!r}: {NotFoundError.of('column', column, kinds)}; its schema declares it"
            )
        fits = kinds[column] in _TIME_KINDS if column in source.time_fields else kinds[column] == dtype.spark
        if not fits:
            raise SourceError(
                f"source {source.name!r}: column {column!r} is {kinds[column]}, but its schema declares {dtype} "
                f"({dtype.spark}); repair the source, or the schema"
            )
    kept = [*source.schema, *(f for f in (source.partition_field,) if f is not None and f not in source.schema)]
    return frame.select(*(quoted(column) for column in kept if column in kinds))


def prune_days(frame: "DataFrame", source: TimedSource, start: datetime, end: datetime) -> "DataFrame":
    """The files of the days that [start, end) meets, where the source is kept by day."""
    from pyspark.sql import functions as F

    if not isinstance(source, BatchSource) or source.partition_field is None:
        return frame
    day = F.col(quoted(source.partition_field)).cast("date")
    first, last = start.date(), (end - MICROSECOND).date()
    return frame.where((day >= F.lit(first)) & (day <= F.lit(last)))


def _open_parquet(spark: "SparkSession", source: BatchSource, frame: "DataFrame") -> Opened:
    """Parquet with the columns of all files that an interval reads: Spark by itself takes those of one file."""
    kinds = dict(frame.dtypes)
    widened = [frame]

    def variants(start: datetime, end: datetime) -> list[dict[str, str]]:
        found = read_columns(spark, source, start, end, kinds)
        new = {name: kind for columns in found for name, kind in columns.items() if name not in kinds}
        if new:
            types = ", ".join(f"{quoted(name)} {kind}" for name, kind in {**kinds, **new}.items())
            widened[0] = spark.read.format("parquet").options(**source.options).schema(types).load(source.path)
        return found

    return Opened(
        columns=kinds, fetch=lambda since, until: prune_days(widened[0], source, since, until), variants=variants
    )


def _open_text(reader: "DataFrameReader", source: BatchSource) -> Opened:
    """Text, each record of which fits the schema, or is kept whole in a column of its own, to be judged."""
    header = source.format == "csv" and source.options.get("header", "true").lower() == "true"
    if source.format == "csv":
        # Without pruning, a line with too many or too few values shows whichever columns are asked for.
        reader = reader.option("header", str(header).lower()).option("columnPruning", "false")
    if source.schema is None:
        guessing = reader.option("inferSchema", source.options.get("inferSchema", "true"))
        columns = dict(guessing.option("columnNameOfCorruptRecord", CORRUPT).load(source.path).dtypes)
        columns.pop(CORRUPT, None)
    else:
        columns = {column: dtype.spark for column, dtype in source.schema.items()}
        if header:
            # By default Spark takes columns by position, whatever a file's header says.
            reader = reader.option("enforceSchema", "false")
    # Spark would take a naive time for an instant in UTC: times are read as text, and judged.
    texts = [c for c, kind in columns.items() if c in source.time_fields or _is_declared_time(source, c, kind)]
    types = ", ".join(f"{quoted(c)} {'string' if c in texts else kind}" for c, kind in columns.items())
    reader = reader.option("mode", "PERMISSIVE").option("columnNameOfCorruptRecord", CORRUPT)
    frame = reader.schema(f"{types}{', ' if types else ''}{quoted(CORRUPT)} string").load(source.path)
    return Opened(
        columns=_told(columns, frame),
        fetch=lambda since, until: prune_days(frame, source, since, until),
        texts=tuple(c for c in texts if c not in source.time_fields),
        corrupt=CORRUPT,
    )


def _is_declared_time(source: BatchSource, column: str, kind: str) -> bool:
    return source.schema is not None and column in source.schema and kind == "timestamp"


def _told(columns: Mapping[str, str], frame: "DataFrame") -> dict[str, str]:
    """The columns of the files, and those that folders tell."""
    return {c: columns.get(c, kind) for c, kind in frame.dtypes if c != CORRUPT}
