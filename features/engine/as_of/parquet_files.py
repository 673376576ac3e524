"""Parquet files of one log, opened once by a task, and the parts of them that it chooses to read."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from features.core.times import to_micros
from features.stores.filesystems import is_local, open_filesystem
from features.stores.log_files import LogFile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow.fs import FileSystem

    Ints = np.ndarray[Any, np.dtype[np.int64]]

# The least and greatest value of a column, None: not known; and whether it may hold nulls.
_Known = tuple[tuple[Any, Any] | None, bool]
# A store far away answers slowly, and many at once.
_REMOTE_THREADS = 16
# An address is a file's number, then in so many bits a row's number in it.
_ROW_BITS = 40
_ROW_MASK = (1 << _ROW_BITS) - 1
# So much of a file is held at once while the rows that won are picked from it.
_HELD_BYTES = 64 << 20


@dataclass(frozen=True)
class Piece:
    """One row group of a file. first_row: its first row's number in the file. rows: how many it holds."""

    group: "pq.RowGroupMetaData"
    number: int
    first_row: int
    rows: int
    _places: dict[str, int]
    # Statistics are asked for again and again, and each time unpacked anew.
    _known: "dict[str, _Known]" = field(default_factory=dict)

    def bounds(self, column: str) -> tuple[Any, Any] | None:
        """The least and greatest value, inclusive, times in microseconds; None where Parquet's statistics lack them."""
        return self._of(column)[0]

    def constant(self, column: str) -> Any:
        """The one value that all rows hold, times in microseconds; None: there may be others, or nulls."""
        bounds, has_nulls = self._of(column)
        return None if bounds is None or has_nulls or bounds[0] != bounds[1] else bounds[0]

    def _of(self, column: str) -> "_Known":
        known = self._known.get(column)
        if known is None:
            known = self._known[column] = self._read(column)
        return known

    def _read(self, column: str) -> "_Known":
        place = self._places.get(column)
        statistics = None if place is None else self.group.column(place).statistics
        if statistics is None:
            return None, True
        bounds = (plain(statistics.min), plain(statistics.max)) if statistics.has_min_max else None
        return bounds, not statistics.has_null_count or statistics.null_count > 0


@dataclass
class ParquetFiles:
    """The files of one log; columns of `words` are read as dictionaries. FileNotFoundError: one of them is gone."""

    files: Sequence[LogFile]
    words: Sequence[str] = ()
    _metadata: "dict[int, pq.FileMetaData]" = field(default_factory=dict)
    _pieces: dict[int, list[Piece]] = field(default_factory=dict)
    _folders: "dict[str, tuple[FileSystem, str]]" = field(default_factory=dict)

    def choose(
        self, may_match: Callable[[Callable[[str], tuple[Any, Any] | None]], bool], *, holds: tuple[str, str] | None
    ) -> Iterator[tuple[int, list[Piece]]]:
        """The number of each file that may match, with the pieces of it that may.

        holds: a column and a value: files and pieces that cannot hold it are left out.
        """
        wanted = [
            number
            for number, file in enumerate(self.files)
            if may_match(file.bounds.get) and (holds is None or file.may_hold(holds[0], low=holds[1], high=holds[1]))
        ]
        for number, pieces in self._ahead(wanted, self.pieces):
            chosen = [piece for piece in pieces if may_match(piece.bounds)]
            if holds is not None:
                chosen = [piece for piece in chosen if _may_hold(piece, *holds)]
            if chosen:
                yield number, chosen

    def pieces(self, number: int) -> list[Piece]:
        """The row groups of a file."""
        if number not in self._pieces:
            with self._open(number) as file:
                metadata = self._metadata[number] = file.metadata
            schema = metadata.schema
            places = {schema.column(place).path: place for place in range(len(schema))}
            pieces, first_row = [], 0
            for group in range(metadata.num_row_groups):
                part = metadata.row_group(group)
                pieces.append(Piece(part, group, first_row, part.num_rows, places))
                first_row += part.num_rows
            self._pieces[number] = pieces
        return self._pieces[number]

    def read(self, number: int, pieces: Sequence[Piece], columns: Sequence[str]) -> "pa.Table":
        """Some columns of some pieces of a file."""
        groups = [piece.number for piece in pieces]
        with self._open(number) as file:
            return file.read_row_groups(groups, columns=list(columns), use_threads=False)

    def take(self, number: int, rows: "Ints", columns: Sequence[str]) -> Iterator["pa.Table"]:
        """Rows of a file, by their ascending numbers in it; pieces that hold none are not read."""
        import pyarrow as pa

        pieces = self.pieces(number)
        ends = np.cumsum([piece.rows for piece in pieces])
        of_rows = np.searchsorted(ends, rows, side="right")
        for bundle in _bundles([pieces[place] for place in np.unique(of_rows)]):
            first, last = bundle[0].number, bundle[-1].number
            mine = slice(*np.searchsorted(of_rows, [first, last + 1]))
            table = self.read(number, bundle, columns)
            if mine.stop - mine.start == table.num_rows:
                yield table
                continue
            # A row's place among the pieces that were read: less the rows of those that were not.
            skipped = np.zeros(last - first + 1, np.int64)
            read = 0
            for piece in bundle:
                skipped[piece.number - first] = piece.first_row - read
                read += piece.rows
            yield table.take(pa.array(rows[mine] - skipped[of_rows[mine] - first]))

    def take_at(self, addresses: "Ints", columns: Sequence[str]) -> Iterator["pa.Table"]:
        """Rows of any files, by their ascending addresses, in that order."""
        if not len(addresses):
            return
        numbers = addresses >> _ROW_BITS
        starts = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
        for start, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
            yield from self.take(int(numbers[start]), addresses[start:end] & _ROW_MASK, columns)

    @contextmanager
    def _open(self, number: int) -> "Iterator[pq.ParquetFile]":
        """The file, its footer read once; closed afterwards, since one that is open keeps what was read ahead of it."""
        import pyarrow.parquet as pq

        folder, _, name = self.files[number].path.rpartition("/")
        near = is_local(folder)
        if folder not in self._folders:
            self._folders[folder] = open_filesystem(folder)
        filesystem, inner = self._folders[folder]
        with filesystem.open_input_file(f"{inner}/{name}") as source:
            # Small reads from far away are joined; on a local disk that only copies.
            yield pq.ParquetFile(
                source,
                metadata=self._metadata.get(number),
                pre_buffer=not near,
                read_dictionary=list(self.words) or None,
            )

    def _ahead(self, numbers: Sequence[int], work: Callable[[int], list[Piece]]) -> Iterator[tuple[int, list[Piece]]]:
        """Each file's work in order; files far away several at a time."""
        if not numbers or is_local(self.files[numbers[0]].path):
            yield from ((number, work(number)) for number in numbers)
            return
        with ThreadPoolExecutor(_REMOTE_THREADS) as pool:
            for start in range(0, len(numbers), _REMOTE_THREADS):
                some = numbers[start : start + _REMOTE_THREADS]
                yield from zip(some, pool.map(work, some), strict=True)


def _bundles(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    bundle: list[Piece] = []
    held = 0
    for piece in pieces:
        if bundle and held + piece.group.total_byte_size > _HELD_BYTES:
            yield bundle
            bundle, held = [], 0
        bundle.append(piece)
        held += piece.group.total_byte_size
    if bundle:
        yield bundle


def _may_hold(piece: Piece, column: str, value: str) -> bool:
    bounds = piece.bounds(column)
    return bounds is None or bounds[0] <= value <= bounds[1]


def plain(value: Any) -> Any:
    """Instants as microseconds; what else statistics hold as it is."""
    if isinstance(value, datetime):
        return to_micros(value if value.tzinfo is not None else value.replace(tzinfo=UTC))
    return value


def addresses_of(number: int, pieces: Sequence[Piece]) -> "Ints":
    """The addresses of all rows of some pieces of a file, whose number is given."""
    rows = [np.arange(piece.first_row, piece.first_row + piece.rows, dtype=np.int64) for piece in pieces]
    return np.concatenate([np.empty(0, np.int64), *rows]) + (np.int64(number) << _ROW_BITS)


def constant_of(pieces: Sequence[Piece], column: str) -> Any:
    """The one value that the column holds in all pieces, or None."""
    values = {piece.constant(column) for piece in pieces}
    return values.pop() if len(values) == 1 else None


def micros_of(column: "pa.ChunkedArray") -> "Ints":
    """The numbers of a column without nulls, instants as microseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        # Other writers than ours may leave nanoseconds, and no zone.
        column = column.cast(pa.timestamp("us", tz="UTC"))
    numbers: Ints = column.cast(pa.int64()).to_numpy()
    return numbers
