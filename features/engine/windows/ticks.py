"""At which ticks a key has something to say: while its longest window holds rows, and once more when it has emptied."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from features.engine.windows.arrays import Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """Runs of neighbouring ticks of one key each: numbers of ticks, first <= tick < end; sorted by key, then tick."""

    codes: Ints
    first: Ints
    end: Ints

    def slice(self, start: int, end: int) -> "Runs":
        """Some of the runs."""
        return Runs(codes=self.codes[start:end], first=self.first[start:end], end=self.end[start:end])

    def points(self, most: int) -> Iterator[tuple[Ints, Ints]]:
        """Every key and tick, in order, at most `most` at a time."""
        behind = np.cumsum(self.end - self.first)
        total = int(behind[-1]) if len(behind) else 0
        for start in range(0, total, most):
            at = np.arange(start, min(start + most, total))
            run = np.searchsorted(behind, at, "right")
            yield self.codes[run], at - behind[run] + self.end[run]


def active_runs(codes: Ints, event: Ints, available: Ints, *, ticks: Ints, longest_us: int) -> Runs:
    """When each key has a row: at ticks t with rows in [t - longest, t) that were available before t, and one tick on.

    Args:
        codes, event, available: of the rows, by ascending code.
        ticks: ascending; the first one counts as a tick at which a window may have held rows, and has no row itself.
    """
    # A row counts at every tick after both its times, up to the last that its event is within reach of.
    first = np.searchsorted(ticks, np.maximum(event, available), "right")
    end = np.searchsorted(ticks, event + longest_us, "right")
    counts = first < end
    codes, first, end = codes[counts], first[counts], end[counts]
    order = np.lexsort((first, codes))
    codes, first, end = codes[order], first[order], end[order]
    if not len(codes):
        return Runs(codes=codes, first=first, end=end)
    # Keys ascend, so one running maximum serves them all: no end of an earlier key reaches into the next.
    width = len(ticks) + 1
    reached = np.maximum.accumulate(codes * width + end)
    begins = np.ones(len(codes), bool)
    begins[1:] = codes[1:] * width + first[1:] > reached[:-1]
    starts = np.flatnonzero(begins)
    lasts = np.append(starts[1:], len(codes)) - 1
    own = codes[starts]
    # One tick more, at which the window has emptied; the tick before the first has been told by the run before.
    clipped_first = np.maximum(first[starts], 1)
    clipped_end = np.minimum(reached[lasts] - own * width + 1, len(ticks))
    told = clipped_first < clipped_end
    return Runs(codes=own[told], first=clipped_first[told], end=clipped_end[told])
