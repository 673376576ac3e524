"""Cuts the keys of a log into ranges, one for each task, by a sample of its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from features.core.dtypes import DType
from features.engine.as_of.parquet_files import ParquetFiles, plain

if TYPE_CHECKING:
    import pyarrow as pa

    Flags = np.ndarray[Any, np.dtype[np.bool_]]
    Point = tuple[Any, ...]

# Types that Python, Parquet's statistics and Arrow put in the same order.
_ORDERED = frozenset({"int32", "int64", "string", "date", "timestamp"})
# Row groups that are looked at, spread over all files.
_SAMPLED_GROUPS = 24
_SAMPLED_ROWS = 200
# What a task ranks at once takes about 100 bytes a row.
_ROWS_PER_TASK = 4_000_000
# Fewer are not worth a task of their own.
_LEAST_ROWS = 25_000


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRange:
    """The keys from `low` on and before `high`, in the order of some of a view's join keys; None: no end there.

    Times are in microseconds.
    """

    names: tuple[str, ...]
    low: "Point | None" = None
    high: "Point | None" = None

    def may_hold(self, column: str, bounds: tuple[Any, Any] | None) -> bool:
        """Whether rows can be in the range that hold a column's values within bounds. Only the first column tells."""
        if bounds is None or not self.names or column != self.names[0]:
            return True
        least, greatest = bounds
        return (self.low is None or greatest >= self.low[0]) and (self.high is None or least <= self.high[0])

    def select(self, table: "pa.Table") -> "Flags | None":
        """Which rows of a table, with columns of these names, are in the range; None: all."""
        inside = None
        if self.low is not None:
            inside = ~self._before(table, self.low)
        if self.high is not None:
            under = self._before(table, self.high)
            inside = under if inside is None else inside & under
        return inside

    def _before(self, table: "pa.Table", point: "Point") -> "Flags":
        """Whether each row's key comes before a point: column by column, from the last one up."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = np.zeros(table.num_rows, bool)
        for name, value in zip(reversed(self.names), reversed(point), strict=True):
            column = table[name]
            if pa.types.is_timestamp(column.type):
                column = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
            scalar = pa.scalar(value, column.type)
            less = pc.less(column, scalar).to_numpy().astype(bool)
            same = pc.equal(column, scalar).to_numpy().astype(bool)
            found = less | (same & found)
        return found


def cut_ranges(files: ParquetFiles, keys: Mapping[str, DType], *, cores: int, rows: int) -> tuple[KeyRange, ...]:
    """Ranges of about equal numbers of rows.

    Args:
        files: the log's. keys: join keys of the view, in order.
        cores: tasks that run at a time. rows: of all files.

    Raises: FileNotFoundError: a file is gone.
    """
    # Up to the first that has no order: files are sorted by the keys in turn.
    names: list[str] = []
    for name, dtype in keys.items():
        if dtype.kind not in _ORDERED:
            break
        names.append(name)
    wanted = max(-(-rows // _ROWS_PER_TASK), min(cores, -(-rows // _LEAST_ROWS)))
    if not names or wanted <= 1:
        return (KeyRange(names=tuple(names)),)
    points = _sample(files, names)
    if not points:
        return (KeyRange(names=tuple(names)),)
    starts: list[Point] = []
    for place in range(1, wanted):
        point = points[len(points) * place // wanted]
        if point > points[0] and (not starts or point > starts[-1]):
            starts.append(point)
    ends = [None, *starts, None]
    return tuple(KeyRange(names=tuple(names), low=low, high=high) for low, high in pairwise(ends))


def _sample(files: ParquetFiles, names: Sequence[str]) -> "list[Point]":
    """Keys of rows spread evenly over row groups that are spread evenly over the files, sorted."""
    import pyarrow as pa

    # A footer is read for each file that is looked at.
    step = max(1, len(files.files) // _SAMPLED_GROUPS)
    groups = [(number, piece) for number in range(0, len(files.files), step) for piece in files.pieces(number)]
    chosen = groups[:: max(1, len(groups) // _SAMPLED_GROUPS)]
    # One row of so many, whether a group is large or small.
    every = max(1, sum(piece.rows for _, piece in chosen) // max(1, len(chosen) * _SAMPLED_ROWS))
    points: list[Point] = []
    for number, piece in chosen:
        table = files.read(number, [piece], list(names))
        table = table.take(pa.array(np.arange(0, piece.rows, every)))
        points += zip(*([plain(value) for value in table[name].to_pylist()] for name in names), strict=True)
    return sorted(points)
