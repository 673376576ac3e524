"""What a rerun makes stale beyond what its rows tell: changes that they hide, and intervals whose rows came late."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from features.core.applied import AppliedView
from features.core.schedule import Interval
from features.core.times import to_micros
from features.registry import Registry
from features.stores.delta import FeatureLog, micros_literal
from features.stores.log_state import EVENT, INTERVAL, Snapshot


def changed_sources(
    registry: Registry, view: AppliedView, intervals: Sequence[Interval], fingerprints: Mapping[datetime, str]
) -> set[datetime]:
    """The ends of built intervals whose sources hold something else than when they were built.

    Where the greatest amount of an hour stays the same, a smaller one that was corrected shows in the hours after it
    alone.
    """
    if not fingerprints:
        return set()
    entries = registry.ledger(view, since=intervals[0].start, until=intervals[-1].end)
    known = {entry.interval.end: entry.fingerprint for entry in entries if entry.fingerprint is not None}
    return {end for end, told in fingerprints.items() if known.get(end, told) != told}


def find_late(
    registry: Registry,
    log: FeatureLog,
    snapshot: Snapshot | None,
    view: AppliedView,
    intervals: Sequence[Interval],
    changed: Sequence[datetime],
) -> list[Interval]:
    """Built intervals past reach of the changed ones that have rows within reach of them: rows that came late.

    Args:
        intervals: of the run. changed: the ends of those whose rows or sources have changed.
    """
    from pyspark.sql import functions as F

    if not changed or snapshot is None or not view.history or not view.has_created_source or view.values_at == "tick":
        return []
    reach = max(changed) + view.history
    behind = max(reach, intervals[-1].end)
    entries = [e.interval for e in registry.ledger(view, since=behind) if e.built and e.interval.end > behind]
    if not entries or not log.may_hold(snapshot, [interval.end for interval in entries]):
        return []
    rows = log.read(snapshot).where((F.col(INTERVAL) > micros_literal(behind)) & (F.col(EVENT) < micros_literal(reach)))
    ends = {row[0] for row in rows.select(F.unix_micros(INTERVAL)).distinct().collect()}
    return [interval for interval in entries if to_micros(interval.end) in ends]
