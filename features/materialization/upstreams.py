"""The views that a build reads: at which commit of their logs, and whether that holds all that the build needs."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from features.core.aggregations import longest_window
from features.core.applied import AppliedView
from features.core.references import parse_reference
from features.core.schedule import Interval, iterate_intervals, previous_tick
from features.core.times import earlier, format_instant
from features.core.upstreams import view_sources
from features.engine.upstream import Upstream
from features.errors import UpstreamError, UsageError
from features.materialization.ledger import reconcile
from features.registry import LedgerEntry, Registry
from features.stores.delta import FeatureLog

logger = logging.getLogger(__name__)

_SHOWN = 3


def open_upstreams(
    log: FeatureLog,
    registry: Registry,
    view: AppliedView,
    intervals: Sequence[Interval],
    versions: Mapping[str, int],
    *,
    run_id: str,
) -> dict[str, Upstream]:
    """The views that a view reads, by `name@version`, each pinned to one commit of its log.

    Args:
        log: of the view.
        intervals: of the run. What the range needs of a view, and of its history since the first interval that was
            built, has to be built.
        versions: the Delta version to read of a view, by its name or `name@version`; of all others the newest.
        run_id: of the run, which is told what it reads.

    Raises:
        UsageError: a version is given of a view that is not read.
        UpstreamError: an interval that is needed is not built, or not at that Delta version.
        StorageError: a log cannot be read.
    """
    pins = _pins(view, versions)
    found = {
        reference: _open(log, registry, view, registry.view(reference), intervals, pins.get(reference))
        for reference in view.upstreams
    }
    if found:
        read = {reference: upstream.delta_version for reference, upstream in found.items()}
        registry.record_upstreams(run_id, read)
        logger.info("reading views", extra={"view": view.reference, "upstreams": read})
    return found


def _pins(view: AppliedView, versions: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, version in versions.items():
        read = [reference for reference in view.upstreams if name in (reference, parse_reference(reference).name)]
        if len(read) != 1:
            reads = f"it reads {', '.join(view.upstreams)}" if view.upstreams else "it reads no view"
            raise UsageError(f"{view.reference} is to read {name!r} at Delta version {version}, but {reads}")
        found[read[0]] = version
    return found


def _open(
    log: FeatureLog,
    registry: Registry,
    view: AppliedView,
    read: AppliedView,
    intervals: Sequence[Interval],
    pin: int | None,
) -> Upstream:
    own = log.beside(read)
    reconcile(registry, own, read)
    # Before the log is opened: what the ledger tells of is in it by then.
    check_built(registry, view, read, Interval(intervals[0].start, intervals[-1].end), pin)
    snapshot = own.snapshot()
    if pin is not None and (snapshot is None or snapshot.version < pin):
        newest = "has no commit yet" if snapshot is None else f"is at {snapshot.version}"
        raise UpstreamError(
            f"{view.reference} is to read {read.reference} at Delta version {pin}, but its log {newest}; look at "
            f"`features status {read.name}`, or leave --upstream out"
        )
    if snapshot is None:
        return Upstream(view=read, log=own, snapshot=None, position=0, delta_version=None)
    version = snapshot.version if pin is None else pin
    position = snapshot.position if version == snapshot.version else registry.position_of(read, version)
    return Upstream(view=read, log=own, snapshot=snapshot, position=position, delta_version=version)


def check_built(registry: Registry, view: AppliedView, read: AppliedView, span: Interval, pin: int | None) -> None:
    """That all intervals of a view are built which a run of its reader needs: those of its range, and of its history.

    Of the history only what lies behind the first interval that was ever built: there is nothing before. What is stale
    will do: once it is built again, what was made of it is stale too.

    Args:
        view: that reads. read: that is read.
        span: the range of the run.
        pin: the Delta version that is read of it; None: the newest.

    Raises: UpstreamError: names the intervals that are missing, and what builds them.
    """
    ever = registry.built_span(read)
    reach = max(source.history for source in view_sources(view) if source.view == read.reference)
    since = earlier(span.start, reach + longest_window(view.aggregations))
    since = span.start if ever is None else min(span.start, max(since, ever.start))
    judged = registry.ledger(read, since=since, until=span.end)
    built = {entry.interval for entry in judged if entry.built and _is_in(entry, pin)}
    if pin is not None and any(entry.built and entry.interval not in built for entry in judged):
        ranges = registry.built_ranges(read, delta_version=pin)
        built |= {
            e.interval for e in judged if any(r.start <= e.interval.start and e.interval.end <= r.end for r in ranges)
        }
    missing = list(_missing(read, span, since, built))
    if missing:
        raise UpstreamError(_tell(view, read, span, missing, judged, pin, registry))


def _is_in(entry: LedgerEntry, pin: int | None) -> bool:
    """Whether the interval was built by that Delta version, as far as its last build tells."""
    return pin is None or entry.delta_version is None or entry.delta_version <= pin


def _missing(read: AppliedView, span: Interval, since: datetime, built: set[Interval]) -> Iterator[Interval]:
    """What is needed of a view, and not built."""
    if read.schedule is not None:
        for interval in iterate_intervals(read.schedule, previous_tick(read.schedule, since), span.end):
            if since < interval.end <= span.end and interval not in built:
                yield interval
        return
    # Without a schedule the ranges that were built have to leave no gap.
    reached = span.start
    for interval in sorted(built):
        if interval.start > reached:
            yield Interval(reached, min(interval.start, span.end))
        reached = max(reached, interval.end)
    if reached < span.end:
        yield Interval(reached, span.end)


def _tell(
    view: AppliedView,
    read: AppliedView,
    span: Interval,
    missing: Sequence[Interval],
    judged: Sequence[LedgerEntry],
    pin: int | None,
    registry: Registry,
) -> str:
    fates = {entry.interval: "built later" if entry.built else entry.status for entry in judged}
    shown = [f"{interval} ({fates.get(interval, 'never built')})" for interval in missing[:_SHOWN]]
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    at = "" if pin is None else f" at Delta version {pin}"
    start, end = format_instant(missing[0].start), format_instant(missing[-1].end)
    remedy = f"run `features backfill {read.name} --start {start} --end {end}`, then this again"
    if pin is not None and all(fates.get(interval) == "built later" for interval in missing):
        remedy = f"read a later version: --upstream {read.name}=N, or leave that out"
    elif not _is_current(read, registry):
        remedy = f"{read.reference} is built no more, since its code has changed; let the source read {read.name!r}"
    return f"{view.reference} over {span} needs {', '.join(shown)}{more} of {read.reference}{at}; {remedy}"


def _is_current(view: AppliedView, registry: Registry) -> bool:
    return any(current.reference == view.reference for current in registry.views())
