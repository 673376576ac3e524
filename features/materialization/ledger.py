"""The registry's ledger beside the offline log: set right after a kill, and asked before a build."""

from collections.abc import Sequence
from datetime import UTC, datetime

from features.core.applied import AppliedView
from features.core.schedule import Interval
from features.errors import IntervalError
from features.registry import Registry
from features.stores.delta import Commit, FeatureLog


def reconcile(registry: Registry, log: FeatureLog, view: AppliedView) -> None:
    """Record the commits that killed runs left untold: Delta's history tells them."""
    known = registry.position_at(view, datetime.max.replace(tzinfo=UTC))
    snapshot = log.snapshot()
    if snapshot is None or snapshot.position <= known:
        return
    for commit in reversed(log.commits(after=known)):
        record_commit(registry, view, commit)


def record_commit(registry: Registry, view: AppliedView, commit: Commit) -> None:
    """Record one commit; once is enough, and twice does no harm."""
    registry.record_commit(
        view,
        position=commit.position,
        delta_version=commit.version,
        committed_at=commit.committed_at,
        run_id=commit.run_id,
    )


def check_overlap(registry: Registry, view: AppliedView, intervals: Sequence[Interval]) -> None:
    """Without a schedule, a range may equal a built one or lie apart from all of them, not cut one.

    Raises: IntervalError: it cuts one; the message names it.
    """
    if view.schedule is not None:
        return
    (mine,) = intervals
    for entry in registry.ledger(view):
        other = entry.interval
        if entry.built and other != mine and mine.start < other.end and other.start < mine.end:
            raise IntervalError(
                f"{mine} overlaps {other}, which {view.reference} was built over; "
                "build that very range again, or one that lies apart from it"
            )
