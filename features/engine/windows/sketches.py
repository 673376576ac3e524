"""Counts of different values in sliding windows from a sample of the values: bounded work, bounded error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from features.core.dtypes import DType
from features.engine.windows.arrays import Ints, Mask, WindowSpec
from features.engine.windows.distinct import Distinct
from features.engine.windows.hashing import Hashes, hashes_of
from features.engine.windows.ranges import Part, Windows
from features.engine.windows.series import Series, numbers_to_arrow

# Different values up to which an answer is exact; above, its standard error is 1.2 / sqrt(2048) = 2.7 % of it.
CAPACITY = 2048


def approx_count_distinct(
    series: Series, windows: Mapping[int, Windows], specs: Sequence[WindowSpec]
) -> "list[pa.Array]":
    """The answers of approx_count_distinct specs over one series; `windows` by width, over its values."""
    sample = AdaptiveSample(series, capacity=CAPACITY)
    return [numbers_to_arrow(sample.of(windows[spec.width_us]), None, DType.INT64) for spec in specs]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    """The rows whose values are in the sample. before: how many of them before each row of the series; None for all."""

    distinct: Distinct
    before: Ints | None


class AdaptiveSample:
    """Estimates of how many different values each window holds: Wegman's adaptive sampling.

    Level l keeps the values whose hash begins with l zero bits. A window is answered at the least level at which it
    holds no more than `capacity` different values, by their number times 2**l: unbiased, with a standard error of
    1.20 / sqrt(capacity), and exact at level 0 (P. Flajolet, "On adaptive sampling", Computing 43, 1990). So an answer
    is a function of the set of the window's values alone: neither order, repetition nor other windows change it.

    All rows of a value are in a level or none, so what is counted there is counted exactly, by the sliding counts of
    `Distinct`. Levels halve, and only what the level before left open asks for the next one.
    """

    def __init__(self, series: Series, *, capacity: int) -> None:
        self._series, self._capacity = series, capacity
        self._levels = [_Level(distinct=Distinct.of_series(series), before=None)]
        self._hashes: Hashes | None = None

    def of(self, windows: Windows) -> Ints:
        """How many different values each window holds, about."""
        answers = np.zeros(len(windows), dtype=np.int64)
        counts: list[Ints] = []
        for part in windows.whole():
            if part.holes is None:
                counts = self._with_late_rows(part)
                answers[part.queries] = self._estimate(counts)
            else:
                answers[part.queries] = self._without_holes(part, [count[part.queries] for count in counts])
        return answers

    def _with_late_rows(self, part: Part) -> list[Ints]:
        """By level, how many of its values each window holds that is open at the level before; 0 for the others."""
        counts = [self._level(0).distinct.in_sliding(part.starts, part.ends)]
        while bool((still_open := counts[-1] > self._capacity).any()):
            level = self._level(len(counts))
            some = Part(queries=part.queries, starts=part.starts[still_open], ends=part.ends[still_open])
            some = some.among(level.before)
            count = np.zeros_like(counts[0])
            count[still_open] = level.distinct.in_sliding(some.starts, some.ends)
            counts.append(count)
        return counts

    def _estimate(self, counts: Sequence[Ints]) -> Ints:
        answers = counts[0]
        for level in range(1, len(counts)):
            answers = np.where(counts[level - 1] > self._capacity, counts[level] << level, answers)
        return answers

    def _without_holes(self, part: Part, counts: Sequence[Ints]) -> Ints:
        """The estimates for windows with holes. counts: those with late rows, as `_with_late_rows` gives them.

        What holes take away can only lower a window's level. So levels are tried from the highest down, where holes
        have the fewest rows, until one is too full.
        """
        answers = np.zeros(len(counts[0]), dtype=np.int64)
        full = np.zeros(len(answers), dtype=np.bool_)
        for level in reversed(range(len(counts))):
            asked = ~full if level == 0 else ~full & (counts[level - 1] > self._capacity)
            if not bool(asked.any()):
                continue
            left = counts[level][asked] - self._lost(self._level(level), part, asked)
            fits = left <= self._capacity
            answers[asked] = np.where(fits, left << level, answers[asked])
            full[asked] = ~fits
        return answers

    def _lost(self, level: _Level, part: Part, asked: Mask) -> Ints:
        """How many values of a level these windows of a part have in their holes and nowhere else."""
        starts, ends = part.hull()
        windows = Part(queries=np.flatnonzero(asked), starts=starts[asked], ends=ends[asked], holes=part.holes)
        windows = windows.among(level.before)
        if windows.holes is None:
            return np.zeros(len(windows.starts), dtype=np.int64)
        holes = windows.holes
        # Most holes of a high level hold no row of it.
        kept = asked[holes.window] & (holes.start < holes.end)
        places = np.cumsum(asked) - 1
        holes = replace(holes, window=places[holes.window[kept]], start=holes.start[kept], end=holes.end[kept])
        return level.distinct.in_holes_alone(windows, holes)

    def _level(self, number: int) -> _Level:
        if self._hashes is None and number:
            self._hashes = hashes_of(self._series)
        while self._hashes is not None and len(self._levels) <= number:
            last = self._levels[-1]
            sampled = self._hashes < 1 << (64 - len(self._levels))
            self._hashes = self._hashes[sampled]
            before = np.concatenate([[0], np.cumsum(sampled, dtype=np.int64)])
            composed = before if last.before is None else before[last.before]
            self._levels.append(_Level(distinct=last.distinct.among(sampled, before), before=composed))
        return self._levels[number]
