"""The order of runs: where windows read back, a run must not follow one that left its interval unpublished."""

from datetime import datetime

from features.core.applied import AppliedView
from features.errors import RefusedError
from features.registry import Registry


def require_past(registry: Registry, view: AppliedView, start: datetime) -> None:
    """Do nothing where every judged interval that a run from `start` on reads back into was published.

    A run reads its sources back over the view's history: over rows, too, that the gate refused in an interval before.
    Once those are repaired, nothing would tell that what was computed from them is old. Intervals that no run has
    judged are no hindrance: before the first, there are always some.

    Raises: RefusedError: one was refused, or failed, and never published; it names the earliest.
    """
    if not view.history:
        return
    judged = registry.ledger(view, since=start - view.history, until=start)
    unpublished = [entry for entry in judged if not entry.built and entry.interval.end <= start]
    if unpublished:
        first = unpublished[0]
        more = f" ({len(unpublished)} such intervals)" if len(unpublished) > 1 else ""
        raise RefusedError(
            f"{view.reference} reads {view.history} back, into {first.interval}, whose last run was {first.status}"
            f"{more}: repair what that run says, run it again, then this one"
        )
