"""The registry's ledger beside the offline log: what a run made of its intervals, told in both.

A commit carries a note of all that the registry is to be told of it. The registry's record of the commit is written
last: while it is missing, the next run, or the next read as of a moment, tells the rest again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.profile import Profile
from features.core.schedule import Interval
from features.core.times import format_instant, from_micros, to_micros
from features.errors import IntervalError
from features.materialization.readers import mark_behind, mark_readers
from features.registry import IntervalOutcome, Registry
from features.stores.log_state import Commit, LogState

if TYPE_CHECKING:
    from features.engine.freshness import Newest
    from features.quality import Span

# A scheduler's clock may be ahead of that of the machine which builds.
CLOCK_SKEW = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What the ledger is to be told of one run. Times are int64 microseconds, so that a commit can carry it as JSON.

    intervals: start, end, status, appended rows, and the fingerprint of what sources held, of each. stale: the range in
    which built intervals are now stale; late: start and end of others that are, since rows in them came late. reads:
    the position that the run read of each view that its view reads, by `name@version`. profiles: the figures of each
    interval, in their order, that later ones are compared with.
    """

    intervals: Sequence[tuple[int, int, str, int, str | None]]
    stale: tuple[int, int] | None = None
    late: Sequence[tuple[int, int]] = ()
    reads: Mapping[str, int] = field(default_factory=dict)
    profiles: Sequence[Mapping[str, Any]] = ()

    @property
    def rows(self) -> int:
        """Appended in all."""
        return sum(rows for _, _, _, rows, _ in self.intervals)

    def note(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def record(
        self,
        registry: Registry,
        log: LogState,
        view: AppliedView,
        run_id: str,
        *,
        position: int | None,
        version: int | None,
    ) -> None:
        """Tell the ledger, also that of the views that read this one; twice does no harm."""
        outcomes = [
            IntervalOutcome(
                interval=Interval(from_micros(start), from_micros(end)),
                status=status,
                rows=rows,
                position=position,
                delta_version=version,
                fingerprint=fingerprint,
                profile=profile,
            )
            for (start, end, status, rows, fingerprint), profile in zip_longest(self.intervals, self.profiles)
        ]
        registry.record_intervals(view, run_id, outcomes)
        for after, until in (*([] if self.stale is None else [self.stale]), *self.late):
            registry.mark_stale(view, after=from_micros(after), until=from_micros(until))
        mark_readers(registry, view, [from_micros(end) for _, end, _, rows, _ in self.intervals if rows])
        if self.reads:
            span = Interval(from_micros(self.intervals[0][0]), from_micros(self.intervals[-1][1]))
            mark_behind(registry, log, view, span, self.reads)


def tell(
    intervals: Sequence[Interval],
    *,
    profiles: Mapping[datetime, Profile],
    rows: Mapping[datetime, int],
    fingerprints: Mapping[datetime, str],
    changed: Sequence[datetime],
    late: Sequence[Interval],
    reads: Mapping[str, int],
    view: AppliedView,
) -> Told:
    """What a run has to tell.

    Args:
        intervals: of the run. profiles: of each, by its end: what the transform gave for it.
        rows: appended, and fingerprints: of what sources held, by the end of their interval.
        changed: the ends of built intervals that rows were appended to, or whose sources hold something else.
        late: intervals beyond reach of these, but with rows that are not.
        reads: the positions that were read of other views' logs.
        view: whose history says how far a change reaches.
    """
    stale = None
    if changed and view.history:
        stale = (to_micros(intervals[-1].end), to_micros(max(changed) + view.history))
    return Told(
        intervals=[
            (
                to_micros(i.start),
                to_micros(i.end),
                "built" if profiles[i.end].rows else "empty",
                rows.get(i.end, 0),
                fingerprints.get(i.end),
            )
            for i in intervals
        ],
        stale=stale,
        late=[(to_micros(i.start), to_micros(i.end)) for i in late],
        reads=reads,
        profiles=[profiles[i.end].to_dict() for i in intervals],
    )


def find_span(registry: Registry, view: AppliedView, intervals: Sequence[Interval], newest: "Newest") -> "Span":
    """The intervals of a run, with what the gate compares them with: how fresh sources are, and earlier intervals."""
    from features.quality import Span

    over = max((check.over for check in view.checks), default=0)
    earlier = registry.profiles(view, before=intervals[0].start, limit=over) if over else ()
    return Span(ends=[interval.end for interval in intervals], earlier=earlier, newest=newest)


def reconcile(registry: Registry, log: LogState, view: AppliedView) -> None:
    """Tell the registry of the commits that killed runs left untold.

    Raises: StorageError: the log cannot be read, or lacks commits that the registry knows.
    """
    known = known_position(registry, view)
    snapshot = log.snapshot(at_least=known)
    if snapshot is None or snapshot.position <= known:
        return
    for commit in reversed(log.commits(after=known)):
        # The notes of earlier releases tell no fingerprints, and no profiles.
        told = Told(
            intervals=[(*interval, None)[:5] for interval in commit.note["intervals"]],
            stale=commit.note["stale"],
            late=commit.note.get("late", ()),
            reads=commit.note.get("reads", {}),
            profiles=commit.note.get("profiles", ()),
        )
        told.record(registry, log, view, commit.run_id, position=commit.position, version=commit.version)
        record_commit(registry, view, commit)


def known_position(registry: Registry, view: AppliedView) -> int:
    """The greatest position of a log that the registry knows a commit of; 0: none."""
    return registry.position_at(view, datetime.max.replace(tzinfo=UTC))


def record_commit(registry: Registry, view: AppliedView, commit: Commit) -> None:
    """Record one commit, after all else that it told; once is enough, and twice does no harm."""
    registry.record_commit(
        view,
        position=commit.position,
        delta_version=commit.version,
        committed_at=commit.committed_at,
        run_id=commit.run_id,
    )


def finish_with(registry: Registry, view: AppliedView, commit: Commit, *, counts: Mapping[str, int]) -> None:
    """Record a commit that brought no rows, of a compaction, a retention or an erasure, and that its run ended so."""
    record_commit(registry, view, commit)
    registry.finish_run(
        commit.run_id,
        status="built",
        position=commit.position,
        delta_version=commit.version,
        committed_at=commit.committed_at,
        counts=counts,
    )


def check_overlap(registry: Registry, view: AppliedView, intervals: Sequence[Interval]) -> None:
    """Without a schedule, a range may equal a built one or lie apart from all of them, not cut one.

    Raises: IntervalError: it cuts one; the message names it.
    """
    if view.schedule is not None:
        return
    (mine,) = intervals
    for entry in registry.ledger(view, since=mine.start, until=mine.end):
        if entry.built and entry.interval != mine:
            raise IntervalError(
                f"{mine} overlaps {entry.interval}, which {view.reference} was built over; "
                "build that very range again, or one that lies apart from it"
            )


def has_ended(view: AppliedView, interval: Interval, *, now: datetime) -> bool:
    """Whether an interval is over, so that what is built of it is all of it; without a schedule who asks decides."""
    return view.schedule is None or interval.end <= now + CLOCK_SKEW


def check_ended(view: AppliedView, intervals: Sequence[Interval], *, now: datetime) -> None:
    """With a schedule, intervals are built when they are over: more rows of one that is not would be built by nothing.

    Raises: IntervalError: one has not ended; the message names the range that has.
    """
    early = next((interval for interval in intervals if not has_ended(view, interval, now=now)), None)
    if early is not None:
        advice = "wait for its end" if early == intervals[0] else f"end at {format_instant(early.start)}"
        raise IntervalError(f"{early} of {view.reference} has not ended, and more rows of it may come; {advice}")
