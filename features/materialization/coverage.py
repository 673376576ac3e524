"""Which intervals of a view version are built, and which are not although they are due."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from features.core.applied import AppliedView
from features.core.schedule import Interval, iterate_intervals, next_tick, previous_tick
from features.materialization.maintenance.expired import Kept
from features.registry import LedgerEntry, Registry

# The worst first: where several intervals share a place, it counts.
STATES = ("failed", "refused", "missing", "stale", "built", "empty")


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalState:
    """What became of one interval.

    status: what its last run made of it: "built", "empty", "refused" or "failed"; "missing": due, and no run has judged
    it. built: whether any run built it, or found it empty; that stands until another does. stale: built, from something
    that has changed since. rows: appended by the last run that appended any.
    position, delta_version: of the log after that; None: before its first commit.
    run_id, updated_at: of the last run; None: there was none.
    """

    start: datetime
    end: datetime
    status: str
    built: bool = False
    stale: bool = False
    rows: int = 0
    position: int | None = None
    delta_version: int | None = None
    run_id: str | None = None
    updated_at: datetime | None = None

    @property
    def state(self) -> str:
        """One of STATES: its status or, where its last run was fine, whether that is stale."""
        return "stale" if self.stale and self.status in ("built", "empty") else self.status

    @property
    def interval(self) -> Interval:
        """[start, end)."""
        return Interval(self.start, self.end)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The bounds of what Airflow runs: no interval starts before `start` or ends after `end`; None: no bound."""

    start: datetime | None = None
    end: datetime | None = None


def cover_view(
    registry: Registry,
    view: AppliedView,
    *,
    now: datetime,
    bounds: Bounds | None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> tuple[IntervalState, ...]:
    """The intervals of a view version that were judged, or should have been by now, by their start.

    An interval is due once its end and the view's delay are past. The first that is expected is that of the bounds or
    the first that was judged, whichever is earlier. Without a schedule ranges lie where they were asked for, so none is
    missing.

    What lies past the view's retention is never built any more: left out where it was not, and else as it was built.

    Args:
        now: aware; up to when intervals are due.
        bounds: of what is scheduled; None: nothing is any more, and none is missing behind the last that was judged.
        start, end: only intervals that overlap [start, end); those of it that are due are expected.
    """
    entries = registry.ledger(view, since=start, until=end)
    kept = Kept.of(registry, view)
    known = {entry.interval: entry for entry in entries}
    expected = _expected(view, entries, now=now, bounds=bounds, start=start, end=end)
    found = [_judged(known.pop(i), kept) if i in known else _missing(i) for i in expected]
    found += [_judged(entry, kept) for entry in known.values()]
    found = [item for item in found if item.built or not kept.is_past(item.interval)]
    return tuple(sorted(found, key=lambda item: (item.start, item.end)))


def find_holes(covered: Sequence[IntervalState]) -> tuple[Interval, ...]:
    """The intervals without a build: missing ones, and those that only ever failed or were refused."""
    return tuple(item.interval for item in covered if not item.built)


def worst(states: Sequence[str]) -> str:
    """Of several states the one to look at first."""
    return min(states, key=STATES.index)


def _expected(
    view: AppliedView,
    entries: Sequence[LedgerEntry],
    *,
    now: datetime,
    bounds: Bounds | None,
    start: datetime | None,
    end: datetime | None,
) -> Iterator[Interval]:
    schedule = view.schedule
    if schedule is None:
        return
    firsts = [entry.interval.start for entry in entries[:1]]
    if bounds is not None and bounds.start is not None:
        firsts.append(_tick_from(schedule, bounds.start))
    if start is not None:
        firsts = [previous_tick(schedule, start)]
    if not firsts:
        return
    begin = min(firsts)
    last = max((entry.interval.end for entry in entries), default=begin)
    due = previous_tick(schedule, now - view.delay) if bounds is not None else last
    if bounds is not None and bounds.end is not None:
        due = min(due, previous_tick(schedule, bounds.end))
    # Between what is due and what was judged nothing is left out, but nothing is expected that is not over.
    until = max(due, min(last, previous_tick(schedule, now)))
    if end is not None:
        until = min(until, _tick_from(schedule, end))
    yield from iterate_intervals(schedule, begin, until)


def _tick_from(schedule: str, moment: datetime) -> datetime:
    """The first tick at or after a moment."""
    tick = previous_tick(schedule, moment)
    return tick if tick == moment else next_tick(schedule, moment)


def _judged(entry: LedgerEntry, kept: Kept) -> IntervalState:
    is_settled = kept.is_past(entry.interval) and entry.built and entry.status != "empty"
    return IntervalState(
        start=entry.interval.start,
        end=entry.interval.end,
        status="built" if is_settled else entry.status,
        built=entry.built,
        # Past the retention nothing is built again.
        stale=entry.stale and not kept.lacks(entry.interval),
        rows=entry.rows,
        position=entry.position,
        delta_version=entry.delta_version,
        run_id=entry.run_id,
        updated_at=entry.updated_at,
    )


def _missing(interval: Interval) -> IntervalState:
    return IntervalState(start=interval.start, end=interval.end, status="missing")
