"""What each task does with its rows of a training set: write them as Parquet, and sum them up in the same pass.

Each attempt of a task writes files of its own, each save a folder of its own. What counts is the list that the driver
gets from the attempts that succeeded, so a task that is killed, repeated or run twice does no harm.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.stores.filesystems import is_local, open_filesystem
from features.training.content_hash import RowSums, sum_rows
from features.training.splits import NONE, SPLIT, Splits
from features.training.statistics import ColumnStatistics

# Columns of the one row that a task answers with for each of its parts.
SUMMARY = (
    "part int, rows bigint, file string, bytes bigint, "
    "spine_file string, spine_rows bigint, spine_bytes bigint, summary binary"
)

# A row group: what a reader takes at once. Whichever is reached first.
_GROUP_ROWS = 1 << 17
_GROUP_BYTES = 1 << 26
# A folder for rows of no part, as Hive, Spark and Delta call it.
_NO_PART = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """One file: its path below its folder, and how large it is. part: of the split; None: of no part, or no split."""

    path: str
    rows: int
    bytes: int
    part: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSummary:
    """What a task found of one part of its rows. sums: over the spine's columns, and over all."""

    sums: tuple[RowSums, RowSums]
    statistics: tuple[ColumnStatistics, ...]


def read_summary(answer: bytes) -> PartSummary:
    """The summary in a task's answer."""
    summary: PartSummary = pickle.loads(answer)
    return summary


@dataclass(frozen=True, kw_only=True)
class RowSink:
    """Takes all batches of a task, and answers with a row for each part; see SUMMARY.

    schema: of the set, the spine's columns first; batches are brought to it. spine_width: how many are the spine's.
    folder: where `data` and `spine` are written; None: rows are summed up alone. splits: the parts; None: one.
    """

    schema: pa.Schema
    spine_width: int
    folder: str | None = None
    splits: Splits | None = None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Take them all, then answer."""
        parts: dict[int, _Part] = {}
        spine = None if self.folder is None else _Writer(f"{self.folder}/spine", self.spine_schema)
        for given in batches:
            for start in range(0, given.num_rows, _GROUP_ROWS):
                batch = self.conform(given.slice(start, _GROUP_ROWS))
                if spine is not None:
                    spine.write(batch.select(self.spine_schema.names))
                for number, rows in self._by_part(batch):
                    if number not in parts:
                        parts[number] = self._open(number)
                    parts[number].take(rows, self.spine_width)
        written = None if spine is None else spine.close()
        for place, (number, part) in enumerate(parts.items()):
            yield part.answer(number, written if place == 0 else None)

    def conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch in the set's own types and order."""
        if batch.schema.equals(self.schema):
            return batch
        return batch.select(self.schema.names).cast(self.schema)

    def write_empty(self) -> tuple[WrittenFile, WrittenFile]:
        """Files without rows, of set and spine, so that a set that has none can still be read."""
        return (
            _Writer(f"{self.folder}/data", self.schema).finish(),
            _Writer(f"{self.folder}/spine", self.spine_schema).finish(),
        )

    @property
    def spine_schema(self) -> pa.Schema:
        """The spine's columns."""
        return pa.schema(list(self.schema)[: self.spine_width])

    def _by_part(self, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        if self.splits is None:
            yield NONE, batch
            return
        assigned = self.splits.assign(batch)
        for number in np.unique(assigned).tolist():
            chosen = np.flatnonzero(assigned == number)
            yield number, batch if len(chosen) == batch.num_rows else batch.take(pa.array(chosen))

    def _open(self, number: int) -> "_Part":
        writer = None
        if self.folder is not None:
            below = ""
            if self.splits is not None:
                below = f"{SPLIT}={_NO_PART if number == NONE else self.splits.names[number]}/"
            writer = _Writer(f"{self.folder}/data", self.schema, below=below)
        return _Part(writer=writer, statistics=tuple(ColumnStatistics() for _ in self.schema))


@dataclass(slots=True)
class _Part:
    writer: "_Writer | None"
    statistics: tuple[ColumnStatistics, ...]
    sums: tuple[RowSums, RowSums] = (RowSums(), RowSums())

    def take(self, rows: pa.RecordBatch, spine_width: int) -> None:
        spine, whole = sum_rows(rows, cuts=(spine_width, rows.num_columns))
        self.sums = (self.sums[0] + spine, self.sums[1] + whole)
        for statistics, column in zip(self.statistics, rows.columns, strict=True):
            statistics.update(column)
        if self.writer is not None:
            self.writer.write(rows)

    def answer(self, number: int, spine: WrittenFile | None) -> pa.RecordBatch:
        file = None if self.writer is None else self.writer.close()
        # Both ends run this very code, and numbers of any size come through.
        summary = pickle.dumps(PartSummary(sums=self.sums, statistics=self.statistics))
        columns: dict[str, Any] = {
            "part": pa.array([number], pa.int32()),
            "rows": pa.array([self.sums[1].rows], pa.int64()),
            "file": pa.array([None if file is None else file.path], pa.string()),
            "bytes": pa.array([None if file is None else file.bytes], pa.int64()),
            "spine_file": pa.array([None if spine is None else spine.path], pa.string()),
            "spine_rows": pa.array([None if spine is None else spine.rows], pa.int64()),
            "spine_bytes": pa.array([None if spine is None else spine.bytes], pa.int64()),
            "summary": pa.array([summary], pa.binary()),
        }
        return pa.RecordBatch.from_pydict(columns)


@dataclass(slots=True)
class _Writer:
    """One Parquet file, opened with its first row group; `close` tells what was written, None where nothing was."""

    folder: str
    schema: pa.Schema
    below: str = ""
    _pending: list[pa.RecordBatch] = field(default_factory=list)
    _file: Any = None
    _stream: Any = None
    _path: str = ""
    _rows: int = 0

    def write(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            room = _GROUP_ROWS - sum(b.num_rows for b in self._pending)
            self._pending.append(batch.slice(0, room))
            if batch.num_rows >= room or sum(b.nbytes for b in self._pending) >= _GROUP_BYTES:
                self._flush()
            batch = batch.slice(room)

    def close(self) -> WrittenFile | None:
        return self.finish() if self._pending or self._file is not None else None

    def finish(self) -> WrittenFile:
        if self._pending or self._file is None:
            self._flush()
        self._file.close()
        size = self._stream.tell()
        self._stream.close()
        return WrittenFile(path=self._path, rows=self._rows, bytes=size)

    def _flush(self) -> None:
        if self._file is None:
            self._open()
        table = pa.Table.from_batches(self._pending, self.schema)
        self._pending = []
        self._rows += table.num_rows
        self._file.write_table(table, row_group_size=_GROUP_ROWS)

    def _open(self) -> None:
        filesystem, root = open_filesystem(self.folder)
        self._path = f"{self.below}part-{uuid4().hex}.parquet"
        where = f"{root.rstrip('/')}/{self._path}"
        if is_local(self.folder):
            filesystem.create_dir(where.rpartition("/")[0], recursive=True)
        self._stream = filesystem.open_output_stream(where)
        # A dictionary of floats is all cost: ten times the time, and larger files.
        texts = [f.name for f in self.schema if pa.types.is_string(f.type) or pa.types.is_binary(f.type)]
        self._file = pq.ParquetWriter(
            self._stream, self.schema, compression="zstd", use_dictionary=texts or False, version="2.6"
        )
