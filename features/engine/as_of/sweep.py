"""The winner of one key over time, where rows may be retracted: a sweep over the moments at which rows appear."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row of a key's log, by what ranks it. Times are int64 microseconds.

    available: the first moment at which the row is visible.
    """

    available: int
    event: int
    interval: int
    created: int
    seq: int
    is_put: bool


def sweep(rows: Sequence[LogRow]) -> list[tuple[int, int | None]]:
    """From when on which row wins: (moment, index into `rows`, or None where all visible rows are retracted).

    Moments ascend, each differs from the one before it in its winner. The rule is the as-of rule of docs/time.md; the
    cost is O(n log n), however many rows are retracted.
    """
    order = sorted(range(len(rows)), key=lambda i: (rows[i].available, rows[i].created, rows[i].seq))
    counting: dict[tuple[int, int], int] = {}
    alive: list[
        tuple[int, int]
    ] = []  # (event, interval) negated: the greatest first; dead ones leave when they surface
    steps: list[tuple[int, int | None]] = []
    for place, index in enumerate(order):
        row = rows[index]
        group = (row.event, row.interval)
        held = counting.get(group)
        if held is None or (rows[held].created, rows[held].seq) < (row.created, row.seq):
            counting[group] = index
            if row.is_put:
                heapq.heappush(alive, (-row.event, -row.interval))
        if place + 1 < len(order) and rows[order[place + 1]].available == row.available:
            continue
        while alive and not rows[counting[(-alive[0][0], -alive[0][1])]].is_put:
            heapq.heappop(alive)
        winner = counting[(-alive[0][0], -alive[0][1])] if alive else None
        if (steps[-1][1] if steps else None) != winner:
            steps.append((row.available, winner))
    return steps
