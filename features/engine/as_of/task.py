"""What one task of the native join does: rows of the spine in as Arrow, the same rows out with what was known of them.

It runs in a Python worker of Spark, reads the log's files by itself, and holds one chunk of the spine at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.core.arrow_types import arrow_type
from features.core.dtypes import DType
from features.engine.as_of.log_reader import LogReader
from features.engine.as_of.requests import EXPIRED, FOUND, NOT_FOUND
from features.engine.as_of.retractions import RetractedGroups, winners_of_groups
from features.engine.as_of.rounds import LogRows, Winners, exceeds
from features.engine.as_of.spine_index import SpineIndex
from features.errors import SpineError, StorageError
from features.stores.log_files import LogFile, find_removal, list_files
from features.stores.log_state import EVENT

if TYPE_CHECKING:
    import pyarrow as pa

    Ints = np.ndarray[Any, np.dtype[np.int64]]

# A batch that goes on to Spark, or to whoever takes it.
_BATCH_ROWS = 65_536
_BATCH_BYTES = 64 << 20
# What a chunk of the spine may take; the rows that it may have are told to the task.
_CHUNK_BYTES = 128 << 20
# How often a log is listed again when files of it vanish under a reader.
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class LogToRead:
    """One view, as a task needs to know it.

    table: the log's Delta table. version: the one that is pinned. files: those of it that can matter.
    columns: of the answer, one for each of `features`. lookback: microseconds, None: no limit.
    others: as AsOf has them.
    """

    reference: str
    table: str
    version: int
    files: tuple[LogFile, ...]
    position: int
    keys: tuple[tuple[str, DType], ...]
    features: tuple[tuple[str, DType], ...]
    columns: tuple[str, ...]
    lookback: int | None
    known_at: str
    status: str | None

    @property
    def answer(self) -> tuple[tuple[str, DType], ...]:
        """Name and type of each column of the answer, in order."""
        named = tuple((column, dtype) for column, (_, dtype) in zip(self.columns, self.features, strict=True))
        return named if self.status is None else (*named, (self.status, DType.INT32))


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinTask:
    """Joins the logs, all of the same join keys, to batches of a spine.

    chunk_rows: how many rows of the spine are joined at a time. first, last: the least and greatest time of the spine
    that the files were chosen for, microseconds.
    """

    logs: tuple[LogToRead, ...]
    chunk_rows: int
    first: int
    last: int

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """The batches' rows with the answer's columns behind their own, in any order."""
        readers = [_Reader(log) for log in self.logs]
        waiting: list[pa.RecordBatch] = []
        rows = held = 0
        for batch in batches:
            waiting.append(batch)
            rows += batch.num_rows
            held += batch.nbytes
            if rows >= self.chunk_rows or held >= _CHUNK_BYTES:
                yield from self._join(waiting, readers)
                waiting, rows, held = [], 0, 0
        if rows:
            yield from self._join(waiting, readers)

    def _join(self, batches: "Sequence[pa.RecordBatch]", readers: "Sequence[_Reader]") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        table = pa.Table.from_batches(batches).combine_chunks()
        keys = {name: _whole(table[name]) for name, _ in self.logs[0].keys}
        times = _whole(table[EVENT]).cast(pa.int64()).to_numpy(zero_copy_only=False)
        if int(times.min()) < self.first or int(times.max()) > self.last:
            raise SpineError(
                "entity_df gave other rows when it was read again; save it, or persist it, before it is joined"
            )
        index = SpineIndex.of(keys, times)
        answers = [reader.answer(index, table.num_rows) for reader in readers]
        row_bytes = sum(answer.row_bytes for answer in answers)
        slices = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, row_bytes)))
        for start in range(0, table.num_rows, slices):
            part = table.slice(start, slices)
            for answer in answers:
                for name, column in answer.columns(start, part.num_rows):
                    part = part.append_column(name, column)
            yield from part.combine_chunks().to_batches()


@dataclass(frozen=True)
class _Answer:
    """What one view answers to a chunk of the spine: values of the rows that won, and which spine row finds which.

    places: for each row of the spine the row of `values` that it finds, -1: none. status: of each row of the spine.
    """

    log: LogToRead
    values: "pa.Table | None"
    places: "Ints"
    status: "Ints"

    @property
    def row_bytes(self) -> int:
        """What the values of one row take, about."""
        return 0 if self.values is None else int(self.values.nbytes) // max(1, self.values.num_rows)

    def columns(self, start: int, count: int) -> "Iterator[tuple[str, pa.Array]]":
        """The answer's columns for a slice of the spine's rows."""
        import pyarrow as pa

        places = self.places[start : start + count]
        picked = None if self.values is None else self.values.take(pa.array(places, mask=places < 0))
        for column, (name, dtype) in zip(self.log.columns, self.log.features, strict=True):
            kind = arrow_type(dtype)
            yield column, pa.nulls(count, kind) if picked is None else _whole(picked[name].cast(kind))
        if self.log.status is not None:
            yield self.log.status, pa.array(self.status[start : start + count].astype(np.int32))


class _Reader:
    """One log, read for chunk after chunk of the spine."""

    def __init__(self, log: LogToRead) -> None:
        self._log = log
        self._open(log.files)

    def _open(self, files: Sequence[LogFile]) -> None:
        self._files = LogReader.of(dict(self._log.keys), files)

    def answer(self, index: SpineIndex, count: int) -> _Answer:
        """The view's answer to `count` rows of the spine.

        Raises: StorageError: the log cannot be read, or files of it are gone and no newer version has their rows.
        """
        import pyarrow as pa

        log = self._log
        for _ in range(_ATTEMPTS):
            try:
                return _answer(log, index, count, self._files)
            except FileNotFoundError as exc:
                # Compaction and VACUUM replace files, not rows: up to a position, today's files say the same.
                missing = exc
                removed_by = find_removal(log.table, after=log.version)
                if removed_by is not None:
                    raise StorageError(
                        f"rows of {log.reference} at {log.table} were removed while it was read, by {removed_by}, and "
                        "VACUUM took the files that held them; run this again"
                    ) from exc
                listed = list_files(log.table, [name for name, _ in log.keys])
                if listed.obstacle is not None:
                    raise StorageError(
                        f"{log.reference} at {log.table} changed while it was read: {listed.obstacle}; run this again"
                    ) from exc
                self._open(listed.files)
            except (OSError, pa.ArrowException) as exc:
                raise StorageError(f"{log.reference} at {log.table} cannot be read: {exc}") from exc
        raise StorageError(
            f"files of {log.reference} at {log.table} vanish while they are read ({missing}); let its maintenance end, "
            "then run this again"
        )


def _answer(log: LogToRead, index: SpineIndex, count: int, reader: LogReader) -> _Answer:
    address, status_at = _winners(log, index, reader)
    distinct, of_places = np.unique(address, return_inverse=True)
    has_none = bool(len(distinct)) and distinct[0] < 0
    places = np.full(count, -1, np.int64)
    places[index.order] = of_places - int(has_none)
    status = np.full(count, NOT_FOUND, np.int64)
    status[index.order] = status_at
    wanted = distinct[1:] if has_none else distinct
    names = list(dict.fromkeys(name for name, _ in log.features))
    values = reader.values(wanted, names).combine_chunks() if len(wanted) else None
    return _Answer(log, values, places, status)


def _winners(log: LogToRead, index: SpineIndex, reader: LogReader) -> "tuple[Ints, Any]":
    """The address of the row that counts at each place of the index, -1 where none does, and the status of each."""
    if not len(index):
        return np.empty(0, np.int64), np.empty(0, np.int32)
    # Whoever asks for the status wants to tell what is too old from what never was.
    oldest = None if log.status is not None else log.lookback
    reach = reader.reach(index, lookback=oldest, position=log.position, by_created=log.known_at == "created")
    retracted = RetractedGroups.of(reader.rows(index, reach, retracted_only=True))
    winners = Winners(index)
    swept: list[LogRows] = []
    for rows in reader.rows(index, reach):
        if retracted is None:
            winners.add(rows)
            continue
        inside = retracted.holds(rows)
        winners.add(rows.where(~inside))
        swept.append(rows.where(inside))
    address, ranks = winners.at_each_place()
    if swept:
        others, their_ranks = winners_of_groups(LogRows.concat(swept), index)
        better = exceeds(their_ranks, ranks)
        address = np.where(better, others, address)
        ranks = tuple(np.where(better, theirs, ours) for theirs, ours in zip(their_ranks, ranks, strict=True))
    found = address >= 0
    fresh = found
    if log.lookback is not None:
        # Not index.times - event: the rank of nothing at all is as small as can be, and would overflow.
        fresh = found & (np.where(found, ranks[0], index.times) >= index.times - np.int64(log.lookback))
    status = np.where(fresh, FOUND, np.where(found, EXPIRED, NOT_FOUND)).astype(np.int32)
    return np.where(fresh, address, -1), status


def _whole(column: "pa.ChunkedArray") -> "pa.Array":
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
