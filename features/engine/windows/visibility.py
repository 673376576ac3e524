"""Rows that came late: which windows hold rows that their points must not see, and where in them those are."""

from collections.abc import Iterator

import numpy as np

from features.engine.windows.arrays import Ints, Queries, Rows
from features.engine.windows.range_extrema import Spans, range_extrema
from features.engine.windows.ranges import Holes, Part

# How many holes are worked on at a time; more only where one window alone has more.
MAX_HOLES = 1 << 16
# How many holes are kept rather than found again for the next function.
_KEPT_HOLES = 1 << 22
_CHILDREN = 4
_NEVER = np.iinfo(np.int64).min


class Visibility:
    """The windows that hold rows which their points do not see, and the ranges of such rows: their holes.

    Costs next to nothing where rows come in the order of their events; else it grows with the number of holes, neither
    with the length of windows nor with that of holes: a bulk of rows that came late together is one hole.
    """

    def __init__(self, rows: Rows, queries: Queries, *, widest: Ints, ends: Ints) -> None:
        """`widest`: where the widest windows begin; all others begin there or later. `ends`: where all end."""
        self._available, self._visible, self._widest, self._ends = rows.available, queries.visible, widest, ends
        in_order = not len(rows) or _comes_in_order(rows, queries, ends)
        self._found: list[tuple[Ints, Holes]] | None = [] if in_order else None
        self._newest = [] if in_order else _levels(rows.available, np.maximum)
        self._oldest = [] if in_order else _levels(rows.available, np.minimum)

    def parts(self, begins: Ints) -> Iterator[Part]:
        """The windows from `begins` on that have holes, as what is left of them, in bounded parts."""
        for queries, holes in self._all_holes():
            first = begins[queries][holes.window]
            inside = holes.end > first
            if not bool(inside.all()):
                holed = np.bincount(holes.window[inside], minlength=len(queries)) > 0
                queries, window = queries[holed], (np.cumsum(holed) - 1)[holes.window[inside]]
                holes = Holes(window=window, start=holes.start[inside], end=holes.end[inside])
            if len(queries):
                holes = Holes(window=holes.window, start=np.maximum(holes.start, first[inside]), end=holes.end)
                yield _remaining(queries, begins[queries], self._ends[queries], holes)

    def _all_holes(self) -> Iterator[tuple[Ints, Holes]]:
        """(queries, the holes of their widest windows), some at a time; kept for the next time while they are few."""
        if self._found is not None:
            yield from self._found
            return
        kept: list[tuple[Ints, Holes]] = []
        count = 0
        for found in self._find_all():
            yield found
            count += len(found[1].start)
            if count <= _KEPT_HOLES:
                kept.append(found)
        if count <= _KEPT_HOLES:
            self._found = kept

    def _find_all(self) -> Iterator[tuple[Ints, Holes]]:
        newest = range_extrema(self._available, [Spans(self._widest, self._ends)], np.maximum, _NEVER)[0]
        chosen = np.flatnonzero(newest > self._visible)
        todo = [chosen[first : first + MAX_HOLES] for first in range(0, len(chosen), MAX_HOLES)][::-1]
        while todo:
            queries = todo.pop()
            holes = self._find(self._widest[queries], self._ends[queries], self._visible[queries])
            if holes is None:
                half = len(queries) // 2
                todo += [queries[half:], queries[:half]]
            else:
                yield queries, holes

    def _find(self, begins: Ints, ends: Ints, visible: Ints) -> Holes | None:
        """The ranges of rows in each window that are not visible; None where those are too many at once."""
        window, node = np.arange(len(begins)), np.zeros(len(begins), dtype=np.int64)
        found: list[tuple[Ints, Ints, Ints]] = []
        count = 0
        # From groups of many rows to single rows: into those that hold an invisible row, as long as not all are.
        for level in range(len(self._newest) - 1, -1, -1):
            size = _CHILDREN**level
            children = node[:, None] * _CHILDREN + np.arange(_CHILDREN)
            chosen = children >= (begins // size)[window][:, None]
            chosen &= children <= ((ends - 1) // size)[window][:, None]
            chosen &= self._newest[level].take(children, mode="clip") > visible[window][:, None]
            pair, child = np.nonzero(chosen)
            window, node = window[pair], children[pair, child]
            start, end = node * size, (node + 1) * size
            whole = (self._oldest[level][node] > visible[window]) & (start >= begins[window]) & (end <= ends[window])
            found.append((window[whole], start[whole], end[whole]))
            window, node = window[~whole], node[~whole]
            count += len(found[-1][0])
            if count + len(window) > MAX_HOLES and len(begins) > 1:
                return None
        return _joined(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _comes_in_order(rows: Rows, queries: Queries, ends: Ints) -> bool:
    """Whether rows become available in the order of events, and every point sees the last row before it."""
    falls = rows.available[1:] < rows.available[:-1]
    if bool(np.any(falls & (rows.keys[1:] == rows.keys[:-1]))):
        return False
    before = np.maximum(ends, 1) - 1
    seen = rows.available[before] <= queries.visible
    return bool(np.all(seen | (rows.keys[before] != queries.keys)))


def _levels(available: Ints, ufunc: np.ufunc) -> list[Ints]:
    """`ufunc` over ever larger groups of neighbours; one group above the last level holds all."""
    levels = [available]
    while len(levels[-1]) > _CHILDREN:
        below = levels[-1]
        levels.append(ufunc.reduceat(below, np.arange(0, len(below), _CHILDREN)))
    return levels


def _joined(window: Ints, start: Ints, end: Ints) -> Holes:
    """Disjoint ranges in order, those that touch as one."""
    order = np.argsort(window * (int(end.max(initial=0)) + 1) + start)
    window, start, end = window[order], start[order], end[order]
    apart = (window[1:] != window[:-1]) | (start[1:] != end[:-1])
    first, last = np.append(True, apart)[: len(start)], np.append(apart, True)[: len(start)]
    return Holes(window=window[first], start=start[first], end=end[last])


def _remaining(queries: Ints, begins: Ints, ends: Ints, holes: Holes) -> Part:
    """Windows as the ranges between their holes. A window with h holes has h + 1 ranges, some of them empty."""
    per_window = np.bincount(holes.window, minlength=len(queries))
    offsets = np.concatenate([[0], np.cumsum(per_window + 1)])
    starts = np.empty(offsets[-1], dtype=np.int64)
    stops = np.empty(offsets[-1], dtype=np.int64)
    # The i-th hole of all, in window w, ends range i + w and begins the next one.
    places = np.arange(len(holes.start)) + holes.window
    starts[offsets[:-1]], stops[offsets[1:] - 1] = begins, ends
    stops[places], starts[places + 1] = holes.start, holes.end
    return Part(queries=queries, starts=starts, ends=stops, offsets=offsets[:-1], holes=holes)
