"""Rows that were read a moment ago, kept in the process: for keys that many requests ask for."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock

from features.stores.base import Key, OnlineRow, Read, ReadAnswer, rows_of


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheCounts:
    """What a cache did since it was made: keys found and not found in it; and the rows that it holds."""

    hits: int
    misses: int
    rows: int

    @property
    def hit_rate(self) -> float:
        """The share of keys that were found; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class RowCache:
    """Rows by table, features and key, that no row is there among them. Safe to use from threads.

    An answer may be `ttl_seconds` older than the store's. When it is full, what was kept longest goes first.

    Args:
        ttl_seconds: how long a row is kept.
        max_rows: how many.
        clock: seconds, growing.
    """

    def __init__(
        self, *, ttl_seconds: float, max_rows: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl_seconds = ttl_seconds
        self._max_rows = max_rows
        self._clock = clock
        self._lock = Lock()
        # Not a dict: finding its first item means to pass by all that were taken out before.
        self._rows: OrderedDict[tuple[str, tuple[str, ...], Key], tuple[float, OnlineRow | None]] = OrderedDict()
        self._hits = self._misses = 0

    @property
    def counts(self) -> CacheCounts:
        """What it did so far."""
        with self._lock:
            return CacheCounts(hits=self._hits, misses=self._misses, rows=len(self._rows))

    def look_up(self, reads: Sequence[Read]) -> "Lookup":
        """What is known of the keys of some reads."""
        missing: list[Read] = []
        known: list[dict[Key, OnlineRow | None]] = []
        now = self._clock()
        with self._lock:
            for read in reads:
                table, found = read.view.online_table, {}
                for key in read.keys:
                    kept = self._rows.get((table, read.features, key))
                    if kept is not None and now < kept[0]:
                        found[key] = kept[1]
                self._hits += len(found)
                self._misses += len(read.keys) - len(found)
                known.append(found)
                missing.append(replace(read, keys=tuple(key for key in read.keys if key not in found)))
        return Lookup(tuple(reads), known, missing)

    def keep(self, read: Read, rows: Sequence[OnlineRow | None]) -> None:
        """Remember what the store answered to a read."""
        until = self._clock() + self._ttl_seconds
        with self._lock:
            for key, row in zip(read.keys, rows, strict=True):
                place = (read.view.online_table, read.features, key)
                self._rows[place] = (until, row)
                # So the order is that of age.
                self._rows.move_to_end(place)
            while len(self._rows) > self._max_rows:
                self._rows.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Some reads, what a cache knows of them, and what is left to ask the store.

    missing: beside each read the same with the keys that are not known.
    """

    reads: Sequence[Read]
    known: Sequence[dict[Key, OnlineRow | None]]
    missing: Sequence[Read]

    def complete(self, answers: Sequence[ReadAnswer], cache: RowCache) -> list[ReadAnswer]:
        """The answers to the reads, of those to what was missing; which the cache keeps."""
        completed: list[ReadAnswer] = []
        for read, known, asked, answer in zip(self.reads, self.known, self.missing, answers, strict=True):
            if isinstance(answer, Exception):
                completed.append(answer)
                continue
            cache.keep(asked, rows_of(answer))
            rows = known | dict(zip(asked.keys, answer, strict=True))
            completed.append([rows[key] for key in read.keys])
        return completed
