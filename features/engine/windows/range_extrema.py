"""Least and greatest values of row ranges: tables of power-of-two ranges, one power alive at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.engine.windows.arrays import Ints

Values = npt.NDArray[Any]


class Spans:
    """Row ranges, sorted by the greatest power of two that fits in their length; that power twice covers the range."""

    def __init__(self, starts: Ints, ends: Ints) -> None:
        self.length = len(starts)
        # The exponent of a double is its logarithm, rounded down: 0 for an empty range, and k + 1 for 2**k rows.
        powers = np.frexp((ends - starts).astype(np.float64))[1].astype(np.uint8)
        self.order: Ints = np.argsort(powers, kind="stable")
        self._edges: Ints = np.concatenate([[0], np.cumsum(np.bincount(powers, minlength=1))])
        self._starts = starts[self.order]
        self._ends = ends[self.order]

    @property
    def powers(self) -> int:
        """How many powers of two the ranges need."""
        return len(self._edges) - 2

    def answer(self, ufunc: np.ufunc, table: Values, power: int, into: Values) -> None:
        """Writes the values of the ranges of one power, in `order`, from a table of ranges of 2**power rows."""
        if power >= self.powers:
            return
        places = slice(int(self._edges[power + 1]), int(self._edges[power + 2]))
        left = table.take(self._starts[places])
        ufunc(left, table.take(self._ends[places] - (1 << power)), out=into[places])


def range_extrema(values: Values, spans: Sequence[Spans], ufunc: np.ufunc, empty: Any) -> list[Values]:
    """`ufunc` (maximum, minimum, fmin) over every range of each of `spans`; `empty` for ranges without rows.

    Time: n log(longest range) for the tables and O(1) per range. Memory: two tables of n values.
    A sparse table (Bender and Farach-Colton, The LCA Problem Revisited, 2000), whose levels are not kept.
    """
    answers = [np.full(span.length, empty, dtype=values.dtype) for span in spans]
    table = values
    for power in range(max((span.powers for span in spans), default=0)):
        if power:
            table = ufunc(table[: -(1 << power - 1)], table[1 << power - 1 :])
        for span, answer in zip(spans, answers, strict=True):
            span.answer(ufunc, table, power, answer)
    placed = []
    for span, answer in zip(spans, answers, strict=True):
        out = np.empty_like(answer)
        out[span.order] = answer
        placed.append(out)
    return placed
