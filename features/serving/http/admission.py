"""How many requests a worker takes on at once: as many as are answered about as soon as one alone would be.

A worker that takes on whatever comes answers everything late when too much comes. Here the number under way is bounded,
and the bound follows what requests wait: the middle one of how much longer they took than the least that one of their
kind took lately, and how late the event loop comes to work that is ready. It does not matter where they wait, here or
in the store. Ten times a second: where the wait is above its target, the bound falls by a fifth, if it is nearly in
use at all; where it is not, and the bound was reached, it grows by a tenth, as does a bound that is below the one to
begin with: what arrives together after a moment in which nothing could run is no overload. (The least time as the
measure of an empty queue is TCP Vegas', Brakmo and Peterson 1994.) What is beyond the bound is refused at once, which
costs a fraction of an answer.
"""

import asyncio
import statistics
import time

_BEAT_SECONDS = 0.01
_INTERVAL_SECONDS = 0.1
# A bound to begin with, and one below which nothing is won: the wait may be another process's doing.
_FIRST, _LEAST = 32, 4
_DECREASE, _INCREASE = 0.8, 1.1
# For how many intervals the least time of a kind is held, at least; it is forgotten after twice as many.
_HELD_INTERVALS = 300
_MOST_KINDS = 4096

# What makes requests alike: what they ask for, and the magnitude of their rows.
Kind = tuple[str, int]


class Admission:
    """Counts requests under way against a bound that follows how long they wait.

    most: the bound is never above it. target_seconds: a wait that is none yet.
    """

    def __init__(self, *, most: int, target_seconds: float) -> None:
        self._most = float(most)
        self._least = float(min(_LEAST, most))
        self._target = target_seconds
        self._limit = float(min(_FIRST, most))
        self._under_way = 0
        self._peak = 0
        self._refused = False
        self._waits: list[float] = []
        self._wait = 0.0
        self._shortest: dict[Kind, float] = {}
        self._shortest_before: dict[Kind, float] = {}
        self._intervals = 0

    @property
    def limit(self) -> int:
        """How many may be under way at once now."""
        return int(self._limit)

    @property
    def under_way(self) -> int:
        """How many are."""
        return self._under_way

    @property
    def wait_seconds(self) -> float:
        """What requests waited in the last interval."""
        return self._wait

    def enter(self) -> bool:
        """Take a request on, unless there are too many; whoever is let in must `leave`."""
        if self._under_way >= int(self._limit):
            self._refused = True
            return False
        self._under_way += 1
        if self._under_way > self._peak:
            self._peak = self._under_way
        return True

    def leave(self) -> None:
        """A request is no longer under way."""
        self._under_way -= 1

    def measure(self, kind: Kind, seconds: float) -> None:
        """A request of a kind was answered, and took so long."""
        shortest = self._shortest.get(kind)
        if shortest is None or seconds < shortest:
            if shortest is None and len(self._shortest) >= _MOST_KINDS:
                return
            self._shortest[kind] = seconds
        least = min(self._shortest[kind], self._shortest_before.get(kind, seconds))
        self._waits.append(seconds - least)

    def adjust(self, late_seconds: float) -> None:
        """An interval has passed, in which the event loop was late by that much at least."""
        self._wait = late_seconds + (statistics.median(self._waits) if self._waits else 0.0)
        if self._wait > self._target:
            # Few requests that wait are not helped by a lower bound.
            if self._peak * 2 >= self._limit:
                self._limit = max(self._least, self._limit * _DECREASE)
        elif self._refused or self._peak >= self._limit * _DECREASE or self._limit < _FIRST:
            self._limit = min(self._most, self._limit * _INCREASE + 1)
        self._peak, self._refused = self._under_way, False
        self._waits.clear()
        self._intervals += 1
        if self._intervals % _HELD_INTERVALS == 0:
            self._shortest_before, self._shortest = self._shortest, {}

    async def watch(self) -> None:
        """Measure and adjust, for as long as the server runs."""
        # Not the loop's own clock: uvloop's stands still while the loop is at work, which is what is to be measured.
        while True:
            begun = due = time.monotonic()
            least = float("inf")
            while due - begun < _INTERVAL_SECONDS:
                await asyncio.sleep(_BEAT_SECONDS)
                now = time.monotonic()
                # Timers are late by a millisecond of rounding at most: what is left is the wait for the loop's turn.
                least = min(least, max(0.0, now - due - _BEAT_SECONDS))
                due = now
            self.adjust(least)
