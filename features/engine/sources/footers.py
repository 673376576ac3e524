"""The columns of those Parquet files that an interval reads.

Spark takes one file's columns for those of all, an old one as a rule: a column that is gone from today's files would
read as null, and a new one would not be there.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from features.core.sources import BatchSource
from features.core.times import MICROSECOND
from features.engine.windows.files import ObstacleError, is_hidden
from features.errors import StorageError
from features.stores.filesystems import OpenFolder, is_native
from features.stores.spark_errors import spark_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileInfo
    from pyspark.sql import SparkSession

# The newest ones of those days.
_MOST_FILES = 200
_MOST_FOLDERS = 62


def read_columns(
    spark: "SparkSession", source: BatchSource, start: datetime, end: datetime, known: Mapping[str, str]
) -> list[dict[str, str]]:
    """The columns of the files with rows of [start, end), column to Spark type: an entry for each set that occurs.

    Where a source is kept in folders by day they are told; of others it is the file that was written last. Empty where
    there are no such files, or only Spark can open them.

    Args: known: of the source as Spark sees it, folder levels included.
    """
    if not is_native(source.path):
        return []
    try:
        folder = OpenFolder.open(source.path)
        places = _day_folders(folder, source, start, end)
        # Without days all of the past is there, in columns of its own time.
        most = _MOST_FILES if places is not None else 1
        listed = _list_files(folder, [folder.inner] if places is None else places)
        files = sorted(listed, key=lambda info: info.mtime_ns or 0)[-most:]
        footers = dict(zip(files, folder.each(lambda info: _footer(folder, info), files), strict=True))
    except (ObstacleError, StorageError, OSError):
        # Spark will say it better.
        return []
    shapes: dict[str, FileInfo] = {}
    schemas: dict[str, pa.Schema] = {}
    for info, schema in footers.items():
        shape = schema.remove_metadata().to_string()
        shapes[shape], schemas[shape] = info, schema
    found = []
    for shape, info in shapes.items():
        levels = [level.partition("=")[0] for level in info.path[len(folder.inner) :].split("/")[:-1] if "=" in level]
        columns = _spark_types(schemas[shape], known) or _ask_spark(spark, folder, info)
        found.append({**columns, **{name: known[name] for name in levels if name in known}})
    return found


def _day_folders(folder: OpenFolder, source: BatchSource, start: datetime, end: datetime) -> list[str] | None:
    """The folders of the days of [start, end) that exist; None: the source is not kept so, or it is a long range."""
    from pyarrow.fs import FileSelector, FileType

    days = list(_days(start, end))
    if source.partition_field is None or len(days) > _MOST_FOLDERS:
        return None
    levels = [f"{folder.inner}/{source.partition_field}={day}" for day in days]
    there = [info.path for info in folder.filesystem.get_file_info(levels) if info.type == FileType.Directory]
    if there:
        return there
    # The field may be a column, not a folder.
    others = folder.filesystem.get_file_info(FileSelector(folder.inner, allow_not_found=True))
    return [] if any(info.base_name.startswith(f"{source.partition_field}=") for info in others) else None


def _list_files(folder: OpenFolder, places: Sequence[str]) -> "Iterator[FileInfo]":
    from pyarrow.fs import FileSelector, FileType

    itself = folder.filesystem.get_file_info(folder.inner)
    if itself.type == FileType.File:
        yield itself
        return
    for place in places:
        for info in folder.filesystem.get_file_info(FileSelector(place, recursive=True)):
            below = info.path[len(folder.inner) + 1 :].split("/")
            if info.type == FileType.File and info.size and not any(is_hidden(part) for part in below):
                yield info


def _days(start: datetime, end: datetime) -> Iterator[date]:
    day = start.date()
    while day <= (end - MICROSECOND).date() and (day - start.date()).days <= _MOST_FOLDERS:
        yield day
        day += timedelta(days=1)


def _footer(folder: OpenFolder, info: "FileInfo") -> "pa.Schema":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(info.path, filesystem=folder.filesystem)
    except (pa.ArrowException, OSError) as exc:
        raise ObstacleError(str(exc)) from exc


def _spark_types(schema: "pa.Schema", known: Mapping[str, str]) -> dict[str, str] | None:
    """The columns in Spark's types, if they are beyond doubt: where all are as they are known."""
    from pyspark.errors import PySparkException
    from pyspark.sql.pandas.types import from_arrow_schema

    try:
        fields = from_arrow_schema(schema, prefer_timestamp_ntz=True).fields
    except (PySparkException, TypeError, ValueError):
        return None
    columns = {field.name: field.dataType.simpleString() for field in fields}
    return columns if all(known.get(name) == kind for name, kind in columns.items()) else None


def _ask_spark(spark: "SparkSession", folder: OpenFolder, info: "FileInfo") -> dict[str, str]:
    path = f"{folder.path}{info.path[len(folder.inner) :]}"
    try:
        return dict(spark.read.parquet(path).dtypes)
    except spark_errors() as exc:
        raise StorageError(str(exc)) from exc
