"""Reads a log's Parquet files inside a task: the narrow columns that rank rows, then the values of rows that won.

What cannot match is not read: files by Delta's statistics, row groups by Parquet's, columns that hold one value not at
all.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.core.dtypes import DType
from features.engine.as_of.parquet_files import ParquetFiles, Piece, addresses_of, constant_of, micros_of, plain
from features.engine.as_of.rounds import LogRows
from features.engine.as_of.spine_index import SpineIndex
from features.stores.log_files import LogFile
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, PUT, RETRACT, SEQ

if TYPE_CHECKING:
    import pyarrow as pa

    Ints = np.ndarray[Any, np.dtype[np.int64]]

# So many rows of key and time columns are looked up together.
_BATCH_ROWS = 500_000
# Types whose order in statistics is the one of their values in Python.
_ORDERED = frozenset({"int32", "int64", "string", "date", "timestamp"})
_RANKING = (EVENT, CREATED, INTERVAL, SEQ)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """What part of a log the rows of a spine can see. Times in microseconds, inclusive.

    keys: by join key, its distinct values, sorted; only those of ordered types. latest: the last time at which anyone
    looks. oldest: the oldest event that still counts, None: any.
    """

    keys: Mapping[str, Sequence[Any]]
    latest: int
    oldest: int | None
    position: int
    by_created: bool

    def may_match(self, bounds_of: "Callable[[str], tuple[Any, Any] | None]") -> bool:
        """Whether rows within such bounds can be seen by someone: of each column the least and greatest, None: any."""
        # Keys first: they tell row groups of one file apart.
        for key, values in self.keys.items():
            bounds = bounds_of(key)
            if bounds is not None:
                place = bisect_left(values, bounds[0])
                if place == len(values) or values[place] > bounds[1]:
                    return False
        event = bounds_of(EVENT)
        if event is not None and (event[0] > self.latest or (self.oldest is not None and event[1] < self.oldest)):
            return False
        created = bounds_of(CREATED) if self.by_created else None
        if created is not None and created[0] > self.latest:
            return False
        seq = bounds_of(SEQ)
        return seq is None or seq[0] <= self.position


@dataclass(frozen=True)
class LogReader:
    """One log at one version, read for one spine.

    keys: join keys and their types, in the order of the view. files: its Parquet files.
    """

    keys: Mapping[str, DType]
    files: ParquetFiles

    @classmethod
    def of(cls, keys: Mapping[str, DType], files: Sequence[LogFile]) -> "LogReader":
        """A reader of these files."""
        words = tuple(key for key, dtype in keys.items() if dtype.kind in ("string", "bytes"))
        return cls(keys, ParquetFiles(files, words))

    def reach(self, index: SpineIndex, *, lookback: int | None, position: int, by_created: bool) -> Reach:
        """What the index can see. lookback: microseconds, None: no limit."""
        values = dict(zip(index.keys.names, index.keys.values, strict=True))
        ordered = {
            k: sorted(map(plain, values[k].to_pylist())) for k, dtype in self.keys.items() if dtype.kind in _ORDERED
        }
        return Reach(
            keys=ordered,
            latest=int(index.times.max()),
            oldest=None if lookback is None else int(index.times.min()) - lookback,
            position=position,
            by_created=by_created,
        )

    def rows(self, index: SpineIndex, reach: Reach, *, retracted_only: bool = False) -> Iterator[LogRows]:
        """The rows that may be seen, a file's at a time; key number -1 where the spine has no such key.

        Args:
            retracted_only: files without retractions are left out.
        """
        waiting: list[tuple[int, pa.Table, list[Piece]]] = []
        count = 0
        chosen = self.files.choose(reach.may_match, holds=(OP, RETRACT) if retracted_only else None)
        for number, pieces in chosen:
            table = self.files.read(number, pieces, self._to_read(pieces, reach))
            waiting.append((number, table, pieces))
            count += table.num_rows
            if count >= _BATCH_ROWS:
                yield from self._numbered(index, reach, waiting)
                waiting, count = [], 0
        yield from self._numbered(index, reach, waiting)

    def values(self, addresses: "Ints", names: Sequence[str]) -> "pa.Table":
        """The values of rows, in the order of their addresses, which must ascend, be distinct, and be some."""
        import pyarrow as pa

        return pa.concat_tables(self.files.take_at(addresses, names))

    def _to_read(self, pieces: Sequence[Piece], reach: Reach) -> list[str]:
        """The narrow columns that hold more than one value in these pieces, or that are looked up."""
        return [*self.keys, EVENT, *(c for c in (CREATED, INTERVAL, SEQ, OP) if constant_of(pieces, c) is None)]

    def _numbered(
        self, index: SpineIndex, reach: Reach, waiting: "Sequence[tuple[int, pa.Table, list[Piece]]]"
    ) -> Iterator[LogRows]:
        import pyarrow as pa

        if not waiting:
            return
        columns = [
            pa.chunked_array([chunk for _, table, _ in waiting for chunk in table[key].chunks])
            for key in index.keys.names
        ]
        codes = index.keys.look_up(columns)
        start = 0
        for number, table, pieces in waiting:
            own = codes[start : start + table.num_rows]
            start += table.num_rows
            yield _log_rows(own, number, table, pieces, reach)


def _log_rows(codes: "Ints", number: int, table: "pa.Table", pieces: Sequence[Piece], reach: Reach) -> LogRows:
    import pyarrow.compute as pc

    count = len(codes)
    columns: dict[str, Ints] = {}
    for name in _RANKING:
        fixed = constant_of(pieces, name) if name not in table.column_names else None
        columns[name] = micros_of(table[name]) if fixed is None else np.broadcast_to(np.int64(fixed), (count,))
    if OP in table.column_names:
        is_put = pc.equal(table[OP], PUT).to_numpy(zero_copy_only=False)
    else:
        is_put = np.broadcast_to(np.bool_(constant_of(pieces, OP) == PUT), (count,))
    seq = columns[SEQ]
    # After compaction one file holds rows of many commits, some behind the position that is read.
    if count and int(seq.max()) > reach.position:
        codes = np.where(seq <= reach.position, codes, -1)
    event, created = columns[EVENT], columns[CREATED]
    if not reach.by_created:
        available = event
    elif CREATED not in table.column_names and count and int(event.max()) <= int(created[0]):
        available = created
    else:
        available = np.maximum(event, created)
    return LogRows(
        codes=codes,
        available=available,
        event=event,
        interval=columns[INTERVAL],
        created=created,
        seq=seq,
        is_put=is_put,
        address=addresses_of(number, pieces),
    )
