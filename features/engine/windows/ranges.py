"""Windows as ranges of rows: one range per window, or several where late rows leave holes in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.engine.windows.arrays import Ints

# What a block works on stays in the processor's cache.
BLOCK = 1 << 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Holes:
    """Ranges of rows inside windows that are not visible at their points, by (window, start).

    window: its place among the windows of a part. start, end: rows, half-open.
    """

    window: Ints
    start: Ints
    end: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some of the windows. queries: which ones. starts, ends: row ranges, half-open, possibly empty.

    offsets: where each window's ranges begin, None where each has one. A window's ranges ascend and do not overlap.
    holes: what lies between its ranges; the hull is what its ranges and holes fill together.
    """

    queries: slice | Ints
    starts: Ints
    ends: Ints
    offsets: Ints | None = None
    holes: Holes | None = None

    def per_window(self, ufunc: np.ufunc, per_range: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of ranges, combined to one per window."""
        return per_range if self.offsets is None else ufunc.reduceat(per_range, self.offsets)

    def per_range(self, per_window: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of windows, repeated for each of their ranges."""
        if self.offsets is None:
            return per_window
        return np.repeat(per_window, np.diff(self.offsets, append=len(self.starts)))

    def counts(self) -> Ints:
        """How many rows each window holds."""
        counts: Ints = self.per_window(np.add, self.ends - self.starts)
        return counts

    def hull(self) -> tuple[Ints, Ints]:
        """From the first row of each window's first range to behind the last row of its last."""
        if self.offsets is None:
            return self.starts, self.ends
        return self.starts[self.offsets], self.ends[np.append(self.offsets[1:], len(self.ends)) - 1]

    def among(self, kept_before: Ints | None) -> "Part":
        """The same windows over some of the rows. kept_before: how many of them before each row; None for all."""
        if kept_before is None:
            return self
        holes = self.holes and Holes(
            window=self.holes.window, start=kept_before[self.holes.start], end=kept_before[self.holes.end]
        )
        return replace(self, starts=kept_before[self.starts], ends=kept_before[self.ends], holes=holes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """All windows of one width, over all rows or over some.

    begins, ends: each window's range, late rows included. late: makes the parts that take them out again.
    """

    begins: Ints
    ends: Ints
    late: Callable[[], Iterator[Part]]
    kept_before: Ints | None = None

    def __len__(self) -> int:
        return len(self.begins)

    def among(self, kept_before: Ints | None) -> "Windows":
        """The same windows over some of the rows. kept_before: how many of them before each row; None for all."""
        return replace(self, kept_before=kept_before)

    def parts(self, block: int | None = None) -> Iterator[Part]:
        """Every window, `block` at a time, and once more those that have holes: later answers replace earlier ones."""
        block = block or BLOCK
        for first in range(0, len(self), block):
            queries = slice(first, min(first + block, len(self)))
            part = Part(queries=queries, starts=self.begins[queries], ends=self.ends[queries])
            yield part.among(self.kept_before)
        for part in self.late():
            yield part.among(self.kept_before)

    def whole(self) -> Iterator[Part]:
        """As `parts`, with every window in one block."""
        return self.parts(block=max(len(self), 1))
