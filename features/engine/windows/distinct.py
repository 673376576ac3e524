"""Exact counts of different values in sliding windows, in linear time."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from features.core.dtypes import DType
from features.engine.windows.arrays import Ints, Mask, WindowSpec
from features.engine.windows.ranges import Holes, Part, Windows
from features.engine.windows.series import Series, numbers_to_arrow

# How many rows in holes are looked at together; more only where one window alone has more.
MAX_ROWS = 1 << 18


def count_distinct(series: Series, windows: Mapping[int, Windows], specs: Sequence[WindowSpec]) -> "list[pa.Array]":
    """The answers of count_distinct specs over one series; `windows` by width, over its values."""
    distinct = Distinct.of_series(series)
    return [numbers_to_arrow(distinct.of(windows[spec.width_us]), None, DType.INT64) for spec in specs]


class Distinct:
    """Counts of different values of one series; all NaN are one value.

    Windows slide: neither their first nor their last rows ever fall back. So every row enters once and leaves once, and
    a count is the number of rows that were new when they entered, less those that were the last of their value when
    they left: linear in rows and windows, after one sort. What holes take away is found by pairs of window and row.
    """

    def __init__(self, *, previous: Ints, following: Ints, place: Ints) -> None:
        """By row: the one before with its value, or -1; the one after, or their number; its place by value."""
        self._previous, self._following, self._place = previous, following, place

    @classmethod
    def of_series(cls, series: Series) -> "Distinct":
        """Of all rows of a series."""
        previous, following, place = _neighbours(series)
        return cls(previous=previous, following=following, place=place)

    def among(self, sampled: Mask, before: Ints) -> "Distinct":
        """The same over some values, of each all its rows. before: how many rows of those there are before each row."""
        previous, following = self._previous[sampled], before[self._following[sampled]]
        return Distinct(
            previous=np.where(previous < 0, -1, before[previous]), following=following, place=self._place[sampled]
        )

    def of(self, windows: Windows) -> Ints:
        """How many different values each window holds."""
        counts = np.zeros(len(windows), dtype=np.int64)
        for part in windows.whole():
            if part.holes is None:
                counts[part.queries] = self.in_sliding(part.starts, part.ends)
            else:
                counts[part.queries] -= self.in_holes_alone(part, part.holes)
        return counts

    def in_sliding(self, starts: Ints, ends: Ints) -> Ints:
        """Different values in each [start, end)."""
        length = len(self._previous)
        # From window to window, ends move first: a row meets the start of the window before the first that holds it,
        # and at its leaving the end of the first that does not.
        entered, left = (np.cumsum(np.bincount(edges, minlength=length + 1))[:length] for edges in (ends, starts))
        new = self._previous < np.append(0, starts).take(entered)
        gone = self._following >= np.append(ends, 0).take(left)
        entries, exits = (np.concatenate([[0], np.cumsum(mark, dtype=np.int64)]) for mark in (new, gone))
        counts: Ints = entries[ends] - exits[starts]
        return counts

    def in_holes_alone(self, part: Part, holes: Holes) -> Ints:
        """How many values each window has in its holes and nowhere else."""
        length = len(part.hull()[0])
        sizes = holes.end - holes.start
        first_hole = np.searchsorted(holes.window, np.arange(length + 1))
        rows_before = np.append(0, np.cumsum(sizes))[first_hole]
        lost = np.zeros(length, dtype=np.int64)
        window = 0
        while window < length:
            # As many windows at a time as have few enough rows in their holes, and one at least.
            until = int(np.searchsorted(rows_before, rows_before[window] + MAX_ROWS, side="right")) - 1
            until = max(until, window + 1)
            some = slice(int(first_hole[window]), int(first_hole[until]))
            count = sizes[some]
            row = np.repeat(holes.end[some] - np.cumsum(count), count) + np.arange(int(count.sum()))
            lost += self._lost(part, np.repeat(holes.window[some], count), row)
            window = until
        return lost

    def _lost(self, part: Part, window: Ints, row: Ints) -> Ints:
        """How many values each window has in these rows of it and nowhere else."""
        starts, ends = part.hull()
        order = np.lexsort((self._place[row], window))
        window, row = window[order], row[order]
        # Neighbours of one value in one window make a run; one that has no neighbour left inside the window is lost.
        joined = (window[1:] == window[:-1]) & (self._previous[row[1:]] == row[:-1])
        first, last = np.append(True, ~joined)[: len(row)], np.append(~joined, True)[: len(row)]
        alone = self._previous[row[first]] < starts[window[first]]
        alone &= self._following[row[last]] >= ends[window[last]]
        lost: Ints = np.bincount(window[first][alone], minlength=len(starts))
        return lost


def _neighbours(series: Series) -> tuple[Ints, Ints, Ints]:
    """By row: the one before with its value, or -1; the one after, or their number; its place by value."""
    values, length = series.values, len(series)
    by_value = np.argsort(values)
    ascending = values[by_value]
    changes = np.zeros(length, dtype=np.bool_)
    # NaN come last and differ from themselves: one value all the same.
    changes[1:] = (ascending[1:] != ascending[:-1]) & (ascending[:-1] == ascending[:-1])
    # By (value, row), each pair as one number: faster than a stable sort by value.
    code, order = np.divmod(np.sort(np.cumsum(changes) * length + by_value), max(length, 1))
    same = code[1:] == code[:-1]
    previous, following = np.full(length, -1), np.full(length, length)
    previous[order[1:][same]] = order[:-1][same]
    following[order[:-1][same]] = order[1:][same]
    place = np.empty(length, dtype=np.int64)
    place[order] = np.arange(length)
    return previous, following, place
