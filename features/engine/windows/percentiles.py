"""Percentiles of windows: the k-th smallest value of a range of rows, by a wavelet matrix."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.core.arrow_types import arrow_type
from features.engine.windows.arrays import Ints, WindowSpec
from features.engine.windows.bounds import key_edges
from features.engine.windows.ranges import Part, Windows
from features.engine.windows.series import Series


def percentiles(series: Series, windows: Mapping[int, Windows], specs: Sequence[WindowSpec]) -> "list[pa.Array]":
    """The answers of percentile specs over one series; `windows` by width, over its values."""
    found = _Percentiles(series)
    return [found.of(windows[spec.width_us], spec.q or 0.0) for spec in specs]


class _Percentiles:
    """Percentiles of one series. Built in n log(rows of the largest key); a window costs log(rows of the largest key).

    One level per bit of a value's rank within its key, the highest first. A level holds the rows in the order of the
    bits above and counts zeros, so that a range of rows becomes a range of the next level: Claude, Navarro and Ordonez,
    The wavelet matrix, 2015.
    """

    def __init__(self, series: Series) -> None:
        self._series = series
        self._key_first, self._by_value, ranks = _ranks_in_keys(series)
        self._levels: list[npt.NDArray[np.int32]] = []
        for bit in range(int(ranks.max(initial=0)).bit_length() - 1, -1, -1):
            zeros = (ranks >> bit) & 1 == 0
            zeros_before = np.zeros(len(ranks) + 1, dtype=np.int32)
            np.cumsum(zeros, out=zeros_before[1:])
            self._levels.append(zeros_before)
            ranks = np.concatenate([ranks[zeros], ranks[~zeros]])

    def of(self, windows: Windows, q: float) -> "pa.Array":
        """The least value that at least q of a window's values do not exceed; for q = 0 the least. NaN is greatest."""
        if not len(self._series):
            return pa.nulls(len(windows), arrow_type(self._series.dtype))
        rows = np.zeros(len(windows), dtype=np.int64)
        present = np.zeros(len(windows), dtype=np.bool_)
        share = Fraction(repr(q))
        for part in windows.parts():
            counts = part.counts()
            # Exact: a tenth of 30 values is 3 of them, although 0.1 * 30 > 3 in doubles.
            nearest = -(-counts * share.numerator // share.denominator)
            present[part.queries] = counts > 0
            rows[part.queries] = self._kth_smallest(part, np.maximum(nearest - 1, 0))
        return self._series.decode(self._series.values[rows], present)

    def _kth_smallest(self, part: Part, k: Ints) -> Ints:
        """The row with the k-th smallest value, from 0, of each window; any row for a window without."""
        starts, ends, rank = part.starts, part.ends, np.zeros(len(k), dtype=np.int64)
        for zeros_before in self._levels:
            zero_starts, zero_ends = zeros_before[starts].astype(np.int64), zeros_before[ends].astype(np.int64)
            zeros = part.per_window(np.add, zero_ends - zero_starts)
            high = k >= zeros
            k = np.where(high, k - zeros, k)
            rank = rank * 2 + high
            into_ones = part.per_range(high)
            starts = np.where(into_ones, zeros_before[-1] + starts - zero_starts, zero_starts)
            ends = np.where(into_ones, zeros_before[-1] + ends - zero_ends, zero_ends)
        first = self._key_first[np.minimum(part.hull()[0], len(self._key_first) - 1)]
        rows: Ints = self._by_value[np.minimum(first + rank, len(self._by_value) - 1)]
        return rows


def _ranks_in_keys(series: Series) -> tuple[Ints, Ints, Ints]:
    """(the first row of each row's key, rows by (key, value), each row's rank by value within its key, from 0)."""
    edges = key_edges(series.keys)
    sizes = np.diff(edges)
    key_first = np.repeat(edges[:-1], sizes)
    by_value = np.argsort(series.values)
    position = np.empty(len(series), dtype=np.int64)
    position[by_value] = np.arange(len(series))
    # Sorting (key, position) pairs as one number each; a key's rows stay where the key stands.
    pairs = np.sort(np.repeat(np.arange(len(sizes)), sizes) * len(series) + position)
    rows = by_value[pairs % max(len(series), 1)]
    ranks = np.empty(len(series), dtype=np.int64)
    ranks[rows] = np.arange(len(series)) - key_first
    return key_first, rows, ranks
