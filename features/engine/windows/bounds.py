"""Where windows begin and end among sorted rows: one binary search over (key, time), for all keys at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from features.engine.windows.arrays import Ints, Queries, Rows

_LARGEST = (1 << 63) - 1


class Bounds:
    """Row ranges of windows. Neither begins nor ends ever fall from one query to the next."""

    def __init__(self, rows: Rows, queries: Queries) -> None:
        self._inclusive = 1 if queries.closed == "right" else 0
        self._groups = list(_groups(rows, queries))

    def ends(self) -> Ints:
        """The row after the last one of each window."""
        return self._rows_before(self._inclusive)

    def begins(self, width_us: int) -> Ints:
        """The first row of each window; where the window is empty, its end."""
        return self._rows_before(self._inclusive - width_us)

    def _rows_before(self, shift: int) -> Ints:
        found = [group.rows_before(shift) for group in self._groups]
        return found[0] if len(found) == 1 else np.concatenate([np.empty(0, dtype=np.int64), *found])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Neighbouring keys whose (key, time) fit one int64: `place of the key * stride + (time - start)`."""

    first_row: int
    codes: Ints
    times: Ints
    bases: Ints
    start: int
    stride: int

    def rows_before(self, shift: int) -> Ints:
        """How many rows stand before (key, time + shift) of each of the group's queries."""
        codes = np.clip(self.times - (self.start - shift), 0, self.stride - 1)
        codes += self.bases
        found: Ints = np.searchsorted(self.codes, codes)
        found += self.first_row
        return found


def _groups(rows: Rows, queries: Queries) -> Iterator[_Group]:
    row_edges, query_edges = key_edges(rows.keys), key_edges(queries.keys)
    known, asked = rows.keys[row_edges[:-1]], queries.keys[query_edges[:-1]]
    # Keys of queries that have no rows take a place too, so that nobody's rows lie in their stride.
    every = np.union1d(known, asked)
    row_places, query_places = np.searchsorted(every, known), np.searchsorted(every, asked)
    start = int(rows.event.min()) if len(rows) else 0
    stride = int(rows.event.max()) - start + 2 if len(rows) else 2
    per_group = _LARGEST // stride
    for place in range(0, len(every), per_group):
        group_rows, row_bases = _bases(row_places, row_edges, place, per_group, stride)
        group_queries, query_bases = _bases(query_places, query_edges, place, per_group, stride)
        yield _Group(
            first_row=group_rows.start,
            codes=rows.event[group_rows] - start + row_bases,
            times=queries.time[group_queries],
            bases=query_bases,
            start=start,
            stride=stride,
        )


def key_edges(keys: Ints) -> Ints:
    """Where each key's rows begin, and the number of rows behind them, for sorted keys."""
    changes = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    return np.concatenate([np.zeros(min(1, len(keys)), dtype=np.int64), changes, np.array([len(keys)])])


def _bases(places: Ints, edges: Ints, place: int, per_group: int, stride: int) -> tuple[slice, Ints]:
    """The rows of the keys at places [place, place + per_group), and what each adds to its code."""
    first, last = (int(i) for i in np.searchsorted(places, [place, place + per_group]))
    sizes = np.diff(edges[first : last + 1])
    return slice(int(edges[first]), int(edges[last])), np.repeat((places[first:last] - place) * stride, sizes)
