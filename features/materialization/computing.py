"""What a run computes before the gate judges it: sources read, transformed, and aggregated over windows."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING

from features.core.aggregations import longest_window
from features.core.applied import AppliedView
from features.core.definitions import FeatureView, Source
from features.core.schedule import Interval
from features.core.sources import BatchSource, FunctionSource
from features.core.view_source import ViewSource
from features.engine.fingerprint import fingerprint_intervals
from features.engine.source import NO_CONNECTIONS, Connections, SchemaCheck, read_source
from features.engine.sources.delta import group_by_snapshot
from features.engine.transform import assign_intervals, collapse, run_transform
from features.engine.upstream import Upstream, read_view
from features.engine.windows.files import ObstacleError, find_event_files
from features.engine.windows.plan import plan_view
from features.engine.windows.spark import compute_windows, compute_windows_of_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)

_NONE = timedelta(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Computed:
    """What a run computed.

    rows: as `collapse` leaves them. held: what the sources held, as a fingerprint of each interval, by its end.
    reads: the position that was read of each view that the view reads, by `name@version`.
    """

    rows: "DataFrame"
    held: Mapping[datetime, str]
    reads: Mapping[str, int]


def compute(
    spark: "SparkSession",
    view: FeatureView,
    applied: AppliedView,
    intervals: Sequence[Interval],
    upstreams: Mapping[str, Upstream],
    *,
    connections: Connections = NO_CONNECTIONS,
    check: SchemaCheck | None = None,
) -> Computed:
    """The rows of a view over these intervals, and what its sources hold.

    The transform is called once; where a source is read as of intervals' ends, once for each state that it was in.

    Args:
        upstreams: of the views that it reads, by `name@version`.
        connections, check: as of `read_source`.

    Raises: SourceError, TransformError: with the view's name and the cause.
    """
    rows: list[DataFrame] = []
    held: dict[datetime, str] = {}
    for group in group_by_snapshot(spark, applied.sources, intervals):
        start, end = group[0].start, group[-1].end

        def read(
            source: Source, start: datetime = start, end: datetime = end, *, at_ticks: bool, window: timedelta = _NONE
        ) -> "DataFrame":
            if isinstance(source, ViewSource):
                return read_view(upstreams[source.view], source, start, end, window=window, at_ticks=at_ticks)
            return read_source(
                spark, source, start, end, window=window, at_ticks=at_ticks, connections=connections, check=check
            )

        returned, frames = _compute_group(spark, view, applied, group, read)
        held.update(fingerprint_intervals(frames, applied, group, upstreams))
        rows.append(assign_intervals(returned, group))
    united = reduce(lambda one, other: one.unionByName(other), rows)
    reads = {name: upstream.position for name, upstream in upstreams.items()}
    return Computed(rows=collapse(united, applied), held=held, reads=reads)


def _compute_group(
    spark: "SparkSession",
    view: FeatureView,
    applied: AppliedView,
    intervals: Sequence[Interval],
    read: "Callable[..., DataFrame]",
) -> "tuple[DataFrame, dict[str, DataFrame]]":
    """What the transform returns for intervals that one state of all sources serves, and the sources' rows."""
    sources = _with_code(view, applied)
    at_ticks = applied.values_at == "tick"
    returned = _windows_of_files(spark, view, applied, intervals)
    if returned is not None:
        # Their history was read by the tasks: what is left is to check the interval, and to tell what it holds.
        frames = {source.name: read(source, at_ticks=True) for source in sources}
        run_transform(view, frames)
        return returned, frames
    window = longest_window(applied.aggregations)
    frames = {source.name: read(source, window=window, at_ticks=at_ticks) for source in sources}
    returned = run_transform(view, frames)
    if applied.aggregations:
        returned = compute_windows(returned, plan_view(applied, intervals))
    return returned, frames


def _with_code(view: FeatureView, applied: AppliedView) -> list[Source]:
    """The applied sources; of functions, which no registry keeps, those of the view's code, whose hash is the same."""
    code = {source.name: source for source in view.sources}
    return [code[source.name] if isinstance(source, FunctionSource) else source for source in applied.sources]


def _windows_of_files(
    spark: "SparkSession", view: FeatureView, applied: AppliedView, intervals: Sequence[Interval]
) -> "DataFrame | None":
    """The windows of a view whose rows are those of its source, where tasks can read that by themselves."""
    if view.transform is not None or not applied.aggregations:
        return None
    (source,) = applied.sources
    if not isinstance(source, BatchSource):
        # What they hold, or which of a log's rows count, is for Spark to tell.
        return None
    plan = plan_view(applied, intervals)
    try:
        files = find_event_files(
            source, plan, intervals[0].start, intervals[-1].end, window=longest_window(applied.aggregations)
        )
    except ObstacleError as obstacle:
        logger.info("Spark reads the source of windows", extra={"source": source.name, "because": str(obstacle)})
        return None
    return compute_windows_of_files(spark, files, plan)
