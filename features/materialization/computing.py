"""What a run computes before the gate judges it: sources read, transformed, and aggregated over windows."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from features.core.aggregations import longest_window
from features.core.applied import AppliedView
from features.core.definitions import FeatureView, Source
from features.core.schedule import Interval
from features.core.view_source import ViewSource
from features.engine.fingerprint import fingerprint_intervals
from features.engine.freshness import Newest, find_newest
from features.engine.source import read_source
from features.engine.transform import assign_intervals, collapse, run_transform
from features.engine.upstream import Upstream, read_view
from features.engine.windows.files import ObstacleError, find_event_files
from features.engine.windows.plan import plan_view
from features.engine.windows.spark import compute_windows, compute_windows_of_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Computed:
    """What a run computed.

    rows: as `collapse` leaves them. held: what the sources held, as a fingerprint of each interval, by its end.
    reads: the position that was read of each view that the view reads, by `name@version`.
    newest: how fresh sources are, as far as the view's checks ask.
    """

    rows: "DataFrame"
    held: Mapping[datetime, str]
    reads: Mapping[str, int]
    newest: Newest


def compute(
    spark: "SparkSession",
    view: FeatureView,
    applied: AppliedView,
    intervals: Sequence[Interval],
    upstreams: Mapping[str, Upstream],
) -> Computed:
    """The rows of a view over these intervals, and what its sources hold.

    Args: upstreams: of the views that it reads, by `name@version`.
    Raises: SourceError, TransformError: with the view's name and the cause.
    """
    start, end = intervals[0].start, intervals[-1].end
    window, at_ticks = longest_window(applied.aggregations), applied.values_at == "tick"
    returned = _windows_of_files(spark, view, applied, intervals)
    if returned is not None:
        # Their history was read by the tasks: what is left is to check the interval, and to tell what it holds.
        frames = {s.name: _read(spark, s, start, end, upstreams, at_ticks=True) for s in applied.sources}
        run_transform(view, frames)
    else:
        frames = {
            s.name: _read(spark, s, start, end, upstreams, window=window, at_ticks=at_ticks) for s in applied.sources
        }
        returned = run_transform(view, frames)
        if applied.aggregations:
            returned = compute_windows(returned, plan_view(applied, intervals))
    held = fingerprint_intervals(frames, applied, intervals, upstreams)
    reads = {name: upstream.position for name, upstream in upstreams.items()}

    def read_from(source: Source, since: datetime) -> "DataFrame":
        return _read(spark, source, since, end, upstreams, at_ticks=True)

    newest = find_newest(applied, frames, intervals, read_from)
    rows = collapse(assign_intervals(returned, intervals), applied)
    return Computed(rows=rows, held=held, reads=reads, newest=newest)


def _read(
    spark: "SparkSession",
    source: Source,
    start: datetime,
    end: datetime,
    upstreams: Mapping[str, Upstream],
    *,
    window: timedelta = timedelta(0),
    at_ticks: bool = False,
) -> "DataFrame":
    if isinstance(source, ViewSource):
        return read_view(upstreams[source.view], source, start, end, window=window, at_ticks=at_ticks)
    return read_source(spark, source, start, end, window=window, at_ticks=at_ticks)


def _windows_of_files(
    spark: "SparkSession", view: FeatureView, applied: AppliedView, intervals: Sequence[Interval]
) -> "DataFrame | None":
    """The windows of a view whose rows are those of its source, where tasks can read that by themselves."""
    if view.transform is not None or not applied.aggregations:
        return None
    (source,) = applied.sources
    if isinstance(source, ViewSource):
        # Which rows of a log count is for Spark to tell.
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
