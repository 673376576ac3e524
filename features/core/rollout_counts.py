"""What serving counts of versions: who read which, and how a shadow differs from live. Gathered in a process, flushed.

Both gatherers are safe to use from threads. `take` empties one; `restore` gives back what could not be stored.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from features.core.equality import equal_values


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewRead:
    """That a consumer has read a version of a view, and when last.

    consumer: who asks, from a small set of names such as services or API keys: each is a row for each version.
    """

    view: str
    version: int
    consumer: str
    last_read_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ShadowCount:
    """How often a shadow's feature was compared with live's.

    compared: entity rows whose key both versions were asked for. missing: of these, those for which exactly one of the
    two had a row. different: those for which both had, with unequal values; NaN equals NaN, null equals null.
    """

    view: str
    live: int
    shadow: int
    feature: str
    compared: int
    different: int
    missing: int

    @property
    def key(self) -> tuple[str, int, int, str]:
        """What is counted together."""
        return self.view, self.live, self.shadow, self.feature


def compare_columns(
    live: Sequence[Any], live_found: Sequence[bool], shadow: Sequence[Any], shadow_found: Sequence[bool]
) -> tuple[int, int, int]:
    """How many entity rows were compared, of these are different, and missing; as `ShadowCount` says.

    Args:
        live, shadow: a feature's values, one per entity row.
        live_found, shadow_found: whether the version had a row for the key that is not past its lookback.
    """
    different = missing = 0
    for one, has_one, other, has_other in zip(live, live_found, shadow, shadow_found, strict=True):
        if has_one != has_other:
            missing += 1
        elif has_one and not equal_values(one, other):
            different += 1
    return len(live), different, missing


class ShadowTally:
    """Counts of this process by view, versions and feature."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[tuple[str, int, int, str], ShadowCount] = {}

    def add(
        self,
        *,
        view: str,
        live: int,
        shadow: int,
        feature: str,
        live_values: Sequence[Any],
        live_found: Sequence[bool],
        shadow_values: Sequence[Any],
        shadow_found: Sequence[bool],
    ) -> tuple[int, int, int]:
        """Compare a feature's values of one request; compared, different and missing, of these alone."""
        found = compare_columns(live_values, live_found, shadow_values, shadow_found)
        compared, different, missing = found
        self.restore(
            [
                ShadowCount(
                    view=view,
                    live=live,
                    shadow=shadow,
                    feature=feature,
                    compared=compared,
                    different=different,
                    missing=missing,
                )
            ]
        )
        return found

    def take(self) -> tuple[ShadowCount, ...]:
        """What was counted since it was last taken."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return tuple(counts.values())

    def restore(self, counts: Iterable[ShadowCount]) -> None:
        """Add counts."""
        with self._lock:
            for count in counts:
                known = self._counts.get(count.key)
                self._counts[count.key] = count if known is None else _sum(known, count)


class ReadLog:
    """Which versions this process has read for whom. A read's time is when it is taken, so it is never told too early.

    clock: what is now.
    """

    def __init__(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._seen: set[tuple[str, int, str]] = set()
        self._taken: set[tuple[str, int, str]] = set()

    @property
    def has_news(self) -> bool:
        """Whether a version was read by a consumer of whom no read of it was ever taken."""
        return not self._seen <= self._taken

    def add(self, *, view: str, version: int, consumer: str) -> None:
        """A version was read."""
        # Neither a lock nor a clock, on the path of every request: a set takes and gives an item in one step.
        self._seen.add((view, version, consumer))

    def take(self) -> tuple[ViewRead, ...]:
        """Each version and consumer of which there was a read since it was last taken."""
        now = self._clock()
        seen = [self._seen.pop() for _ in range(len(self._seen))]
        self._taken.update(seen)
        return tuple(
            ViewRead(view=view, version=version, consumer=consumer, last_read_at=now)
            for view, version, consumer in seen
        )

    def restore(self, reads: Iterable[ViewRead]) -> None:
        """Give back what could not be stored: it is taken again, as if read then."""
        keys = {(read.view, read.version, read.consumer) for read in reads}
        self._taken -= keys
        self._seen |= keys


def _sum(one: ShadowCount, other: ShadowCount) -> ShadowCount:
    return replace(
        one,
        compared=one.compared + other.compared,
        different=one.different + other.different,
        missing=one.missing + other.missing,
    )
