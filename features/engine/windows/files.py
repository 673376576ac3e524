"""A source's Parquet files, as far as tasks can read event rows from them by themselves, without Spark.

Handing a row from the JVM to Python costs more than computing its windows. What is plain is read this way; for all else
there is an obstacle, which says why, and Spark reads it, with the same result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from features.core.arrow_types import arrow_type
from features.core.sources import BatchSource
from features.core.times import duration_micros, from_micros, to_micros
from features.engine.windows.plan import WindowPlan
from features.errors import StorageError
from features.stores.filesystems import OpenFolder, anywhere, is_native

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Every file's footer is read before the run begins.
_MOST_FILES = 2_000
# Microseconds in the units of time that Spark reads too.
UNITS = {"us": 1, "ms": 1_000}


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFiles:
    """Event rows in Parquet files: those that were available in [since, until), in microseconds.

    root: the folder that holds all files, or the only one. groups: a file, as a path or URI, and one of its row groups.
    event, created: the columns with the rows' times.
    """

    root: str
    groups: tuple[tuple[str, int], ...]
    event: str
    created: str | None
    since: int
    until: int


class ObstacleError(Exception):
    """Why tasks cannot read a source by themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """One row group, the bounds of its rows' events, and the bounds of when they were available."""

    path: str
    number: int
    events: tuple[int, int]
    available: tuple[int, int]


def find_event_files(
    source: BatchSource, plan: WindowPlan, start: datetime, end: datetime, *, window: timedelta
) -> EventFiles:
    """What a run over [start, end) needs of a source for its windows: no less than `read_source` gives.

    Where a source has a created column and windows end at events, how far late rows reach back is read off statistics.

    Args: as of `read_source`.
    Raises: ObstacleError: Spark has to read it.
    """
    if plan.filters:
        raise ObstacleError("a filter is a condition in SQL")
    if source.options or source.schema is not None:
        raise ObstacleError("its options or schema are for Spark's reader")
    if source.format != "parquet" or not is_native(source.path):
        raise ObstacleError(f"it is {source.format} at {source.path}")
    folder = _open(source)
    files = list(_list_files(source, folder))
    if len(files) > _MOST_FILES:
        raise ObstacleError(f"it has {len(files)} files")
    fields = [f for f in (source.timestamp_field, source.created_timestamp_field) if f is not None]
    first, last = to_micros(start), to_micros(end)
    footers: dict[str, list[_Group]] = {}

    def groups_since(low: int) -> Iterator[_Group]:
        low_day = _day(low)
        wanted = {path: day for path, day in files if day is None or low_day <= day <= _day(last - 1)}
        unread = [path for path in wanted if path not in footers]
        footers.update(zip(unread, folder.each(partial(_read_footer, folder, plan, fields), unread), strict=True))
        for path, day in wanted.items():
            if day is not None and any(_day(bound) != day for group in footers[path] for bound in group.available):
                raise ObstacleError(f"{path} may hold rows of another day than its folder's")
            yield from (g for g in footers[path] if g.available[1] >= low and g.available[0] < last)

    reach = duration_micros(source.history + window)
    since = first - reach
    if len(fields) > 1 and not plan.ticks:
        since = min([first, *(group.events[0] for group in groups_since(first))]) - reach
    return EventFiles(
        root=folder.path,
        groups=tuple((group.path, group.number) for group in groups_since(since)),
        event=source.timestamp_field,
        created=source.created_timestamp_field,
        since=since,
        until=last,
    )


def _open(source: BatchSource) -> OpenFolder:
    try:
        return OpenFolder.open(anywhere(source.path))
    except StorageError as exc:
        raise ObstacleError(str(exc)) from exc


def _list_files(source: BatchSource, folder: OpenFolder) -> Iterator[tuple[str, date | None]]:
    """The files, and of a source that is kept in folders by day their day."""
    from pyarrow.fs import FileSelector, FileType

    filesystem, base = folder.filesystem, folder.inner
    try:
        if filesystem.get_file_info(base).type == FileType.File:
            yield folder.path, None
            return
        listed = filesystem.get_file_info(FileSelector(base, recursive=True))
    except OSError as exc:
        raise ObstacleError(f"{source.path} is not listed: {exc}") from exc
    found = False
    for info in listed:
        below = info.path[len(base) + 1 :]
        *folders, name = below.split("/")
        if info.type != FileType.File or is_hidden(name) or any(is_hidden(folder) for folder in folders):
            continue
        # Spark goes into folders that are named as partitions, and into no others.
        if not all("=" in folder for folder in folders):
            continue
        found = True
        yield f"{folder.path}/{below}", _day_of(folders, source.partition_field)
    if not found:
        raise ObstacleError(f"{source.path} holds no files")


def is_hidden(name: str) -> bool:
    """Whether Spark passes over it: a file that is not finished, or no data."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")


def _day_of(folders: Sequence[str], partition_field: str | None) -> date | None:
    levels = dict(folder.split("=", 1) for folder in folders if "=" in folder)
    if partition_field is None or partition_field not in levels:
        return None
    try:
        return date.fromisoformat(unquote(levels[partition_field]))
    except ValueError as exc:
        raise ObstacleError(f"{partition_field}={levels[partition_field]!r} is no day") from exc


def _read_footer(folder: OpenFolder, plan: WindowPlan, fields: Sequence[str], path: str) -> list[_Group]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(folder.locate(path), filesystem=folder.filesystem) as file:
            metadata, schema = file.metadata, file.schema_arrow
    except (OSError, pa.ArrowException) as exc:
        raise ObstacleError(f"{path} is not read: {exc}") from exc
    _check_columns(schema, plan, fields, path)
    places = {metadata.schema.column(place).path: place for place in range(metadata.num_columns)}
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        bounds = [
            _bounds(group.column(places[name]).statistics, UNITS[schema.field(name).type.unit], path) for name in fields
        ]
        if group.num_rows:
            available = max(low for low, _ in bounds), max(high for _, high in bounds)
            found.append(_Group(path=path, number=number, events=bounds[0], available=available))
    return found


def _bounds(statistics: "pq.Statistics | None", unit: int, path: str) -> tuple[int, int]:
    """The least and greatest time of a row group, in which no time is null."""
    if statistics is None or not statistics.has_min_max or not statistics.has_null_count or statistics.null_count:
        raise ObstacleError(f"{path} may hold null times, or says nothing of them")
    return statistics.min_raw * unit, statistics.max_raw * unit


def _check_columns(schema: "pa.Schema", plan: WindowPlan, fields: Sequence[str], path: str) -> None:
    import pyarrow as pa

    for name in fields:
        kind = schema.field(name).type if name in schema.names else None
        if kind is None or not pa.types.is_timestamp(kind) or kind.tz is None or kind.unit not in UNITS:
            raise ObstacleError(f"{name!r} of {path} is {kind}, no instant as tasks read them")
    for name, dtype in (*plan.keys.items(), *plan.own.items(), *plan.columns.values()):
        kind = schema.field(name).type if name in schema.names else None
        if kind is None or kind != arrow_type(dtype):
            raise ObstacleError(f"{name!r} of {path} is {kind}, not {dtype}")


def _day(micros: int) -> date:
    """The UTC day of an instant, however long ago."""
    try:
        return from_micros(micros).date()
    except OverflowError:
        return date.min
