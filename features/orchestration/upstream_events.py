"""What a run needs of the views that its own reads, whether it is there, and what a run tells of what it built."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.core.schedule import Interval, iterate_intervals, next_tick, previous_tick
from features.core.times import MICROSECOND, format_instant
from features.orchestration.dag_plan import Upstream


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """An interval that a run of an upstream built; delta_version: of its log afterwards, None: it has no rows yet."""

    interval: Interval
    delta_version: int | None


def asset_name(view: str) -> str:
    """The name of a view's asset."""
    return f"feature_view/{view}"


def event_extra(view: str, interval: Interval, end: Mapping[str, Any]) -> dict[str, Any]:
    """What the asset event of a run carries.

    Args:
        view: its reference.
        interval: that the run built.
        end: of its job, which tells the Delta version, the log position and the run's id in the registry.
    """
    build = end.get("build", end)
    told = {name: build.get(name) for name in ("delta_version", "position", "run_id", "status")}
    return {"view": view, "start": format_instant(interval.start), "end": format_instant(interval.end), **told}


def needed(upstream: Upstream, run: Interval, *, since: datetime | None) -> tuple[Interval, ...]:
    """The upstream's intervals whose rows belong to a run's: those that end in (start, end].

    Args:
        upstream: where it has no schedule, the run's own interval is what is needed of it.
        run: the interval.
        since: no interval of the upstream is ever scheduled that starts before it; None: no bound.
    """
    if upstream.cron is None:
        return (run,)
    first = previous_tick(upstream.cron, next_tick(upstream.cron, run.start) - MICROSECOND)
    last = previous_tick(upstream.cron, run.end)
    if last <= run.start:
        return ()
    intervals = iterate_intervals(upstream.cron, first, last)
    return tuple(i for i in intervals if since is None or i.start >= since)


def missing(wanted: Sequence[Interval], published: Iterable[Published]) -> tuple[Interval, ...]:
    """Those intervals that what was published does not cover, in whatever pieces."""
    pieces = sorted(p.interval for p in published)
    return tuple(interval for interval in wanted if not _covers(pieces, interval))


def newest_version(published: Iterable[Published]) -> int | None:
    """The newest Delta version of what was published; None: there is none."""
    return max((p.delta_version for p in published if p.delta_version is not None), default=None)


def _covers(pieces: Sequence[Interval], interval: Interval) -> bool:
    reached = interval.start
    for piece in pieces:
        if piece.start > reached:
            break
        reached = max(reached, piece.end)
    return reached >= interval.end
