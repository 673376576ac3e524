"""Building intervals again: what the ledger says is missing or stale, and past ones for late data."""

import logging
from collections.abc import Mapping
from datetime import datetime

from features.core.applied import AppliedView
from features.core.definitions import FeatureView
from features.core.schedule import Interval, cover, previous_intervals
from features.errors import UsageError
from features.materialization.build import Builder
from features.materialization.results import BuildResult

logger = logging.getLogger(__name__)

# One chunk is one commit: enough to spread a session's overhead, few enough that a kill loses little.
_CHUNK = 31
_MOST_REPROCESSED = 1000


def backfill(
    builder: Builder, view: FeatureView, applied: AppliedView, start: datetime, end: datetime, *, every: bool = False
) -> tuple[BuildResult, ...]:
    """Build the intervals of [start, end) that were never built, or are stale; all of them where `every`.

    Chunk by chunk, oldest first, so that a rerun that makes later intervals stale comes before them. A refused chunk
    ends it; what was built before stays, and the next call goes on from there.

    Raises: as `Builder.build`.
    """
    intervals = cover(applied.schedule, start, end)
    results: list[BuildResult] = []
    done = start
    while True:
        chunk = _next_chunk(builder, applied, [i for i in intervals if i.start >= done], every=every)
        if not chunk:
            return tuple(results)
        results.append(builder.build(view, applied, chunk[0].start, chunk[-1].end))
        done = chunk[-1].end
        logger.info("backfilled", extra={"view": applied.reference, "until": done, "of": end})


def rerun_past(
    builder: Builder,
    view: FeatureView,
    applied: AppliedView,
    start: datetime,
    end: datetime,
    *,
    count: int,
    upstream_versions: Mapping[str, int] | None = None,
) -> tuple[BuildResult, ...]:
    """Build again those of the `count` intervals before a run's own that were built, for late data.

    What changed in them counts as known from the run's own interval's end on. Where that interval was built before, the
    run has been cleared and comes again, perhaps years later: then from now on.

    Args:
        start, end: of the run's own interval, or range of them.
        upstream_versions: as of `Builder.build`.

    Raises: UsageError: the count; else as `Builder.build`.
    """
    if not 0 <= count <= _MOST_REPROCESSED:
        raise UsageError(f"reprocess={count} must be between 0 and {_MOST_REPROCESSED}; for more, use backfill")
    own = cover(applied.schedule, start, end)
    if not count or applied.schedule is None:
        return ()
    past = previous_intervals(applied.schedule, start, count)
    judged = builder.registry.ledger(applied, since=past[0].start, until=end)
    built = {entry.interval for entry in judged if entry.built}
    nominal = None if built & set(own) else end
    return tuple(
        builder.build(view, applied, interval.start, interval.end, nominal=nominal, upstream_versions=upstream_versions)
        for interval in past
        if interval in built
    )


def _next_chunk(builder: Builder, applied: AppliedView, ahead: list[Interval], *, every: bool) -> list[Interval]:
    if not ahead:
        return []
    judged = builder.registry.ledger(applied, since=ahead[0].start, until=ahead[-1].end)
    fresh = {entry.interval for entry in judged if entry.built and not entry.stale}
    chunk: list[Interval] = []
    for interval in ahead:
        if every or interval not in fresh:
            chunk.append(interval)
        elif chunk:
            break
        if len(chunk) == _CHUNK:
            break
    return chunk
