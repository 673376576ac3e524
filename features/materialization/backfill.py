"""Backfill: building what the ledger says is missing or stale, in order, in chunks."""

import logging
from datetime import datetime

from features.core.applied import AppliedView
from features.core.definitions import FeatureView
from features.core.schedule import Interval, cover
from features.materialization.build import Builder
from features.materialization.results import BuildResult

logger = logging.getLogger(__name__)

# One chunk is one commit: enough to spread a session's overhead, few enough that a kill loses little.
_CHUNK = 31


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
