"""Where a test of a view reads: samples in place of its sources, and two intervals that hold rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from features.core.definitions import FeatureView, Source
from features.core.schedule import Interval, cover, next_tick, previous_tick
from features.core.sources import COMMIT_TIMESTAMP, SOURCE_FORMATS, BatchSource, TimedSource
from features.core.times import MICROSECOND, from_micros, to_micros
from features.core.view_source import ViewSource
from features.engine.source import read_source
from features.errors import NotFoundError, SourceError, UsageError
from features.materialization.trial_upstreams import with_upstreams
from features.stores.log_state import AVAILABLE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# How many distinct minutes of a source are looked at for two intervals with rows.
_MINUTES = 20_000
_EVER = datetime(1000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def replace_sources(
    view: FeatureView, paths: Mapping[str, str], views: Mapping[str, FeatureView]
) -> tuple[FeatureView, ...]:
    """The view with some sources read from elsewhere, in the format that the path's suffix names, if it names one.

    Args:
        paths: by the name of a source, of the view or of those that it reads. A source that is a view is read from a
            sample of its rows then, available_timestamp among them.
        views: all that the code defines, by name.

    Returns: the views that it still reads, as of `with_upstreams`, and the view last.

    Raises: NotFoundError: no view has a source of a name; SourceError: nothing is at a path.
    """
    names = [source.name for read in with_upstreams(view, views) for source in read.sources]
    for name, path in paths.items():
        if name not in names:
            raise NotFoundError.of(f"source of {view.name!r}", name, names)
        if "://" not in path and not Path(path).exists():
            raise SourceError(
                f"source {name!r}: nothing at {str(Path(path).absolute())!r}; name a sample that is there"
            )

    def placed(code: FeatureView) -> FeatureView:
        return replace(code, sources=[_elsewhere(s, paths[s.name]) if s.name in paths else s for s in code.sources])

    return with_upstreams(placed(view), {name: placed(code) for name, code in views.items()})


def choose_span(
    views: Sequence[FeatureView], spark: "SparkSession", span: tuple[datetime, datetime] | None
) -> tuple[Interval, ...]:
    """The intervals of a span, or two neighbours with rows in the first source; the view tested is the last one.

    Raises: UsageError: the span is one interval of a schedule; SourceError: the source has no rows.
    """
    view = views[-1]
    if span is None:
        return _find_intervals(view, {known.name: known for known in views}, spark)
    intervals = cover(view.schedule, *span)
    if view.schedule is not None and len(intervals) < 2:
        raise UsageError(
            f"{Interval(*span)} is one interval of {view.name!r}; give two, to build them together and apart"
        )
    return intervals


def _find_intervals(view: FeatureView, views: Mapping[str, FeatureView], spark: "SparkSession") -> tuple[Interval, ...]:
    """The first two neighbours with rows in the first source, or else the first with rows and the one after it."""
    intervals = _filled(view, views, spark)
    if view.schedule is None:
        return tuple(intervals)
    for before, after in pairwise(intervals):
        if before.end == after.start:
            return before, after
    only = intervals[0]
    return only, Interval(only.end, next_tick(view.schedule, only.end))


def _filled(view: FeatureView, views: Mapping[str, FeatureView], spark: "SparkSession") -> list[Interval]:
    """The intervals with rows in the first source, in order; without a schedule the one that holds them all."""
    moments = _moments(view, views, spark)
    if view.schedule is None:
        return [Interval(from_micros(moments[0]), from_micros(moments[-1]) + MICROSECOND)]
    return list(_holding(view.schedule, moments))


def _moments(view: FeatureView, views: Mapping[str, FeatureView], spark: "SparkSession") -> list[int]:
    """When rows of the first source were available, in order: the minutes, or without a schedule the first and last."""
    from pyspark.sql import functions as F

    source = view.sources[0]
    if isinstance(source, ViewSource):
        ends = [interval.end for interval in _filled(views[source.view], views, spark)]
        return [to_micros(end - MICROSECOND) for end in ends]
    if not isinstance(source, BatchSource) or source.change_feed:
        raise UsageError(
            f"source {source.name!r} is {source.kind}, all of which is not read to find two intervals with rows; give "
            "--start and --end, or a sample with --source"
        )
    start, end = _EVER
    frame = read_source(spark, replace(source, history=timedelta(0)), start, end)
    if view.schedule is None:
        first = frame.select(F.min(F.unix_micros(AVAILABLE)), F.max(F.unix_micros(AVAILABLE))).first()
        if first is None or first[0] is None:
            raise _no_rows(source)
        return [first[0], first[1]]
    minute = F.unix_micros(F.date_trunc("minute", F.col(AVAILABLE)))
    minutes = [row[0] for row in frame.select(minute).distinct().orderBy(minute).limit(_MINUTES).collect()]
    if not minutes:
        raise _no_rows(source)
    return minutes


def _holding(schedule: str, minutes: Sequence[int]) -> Iterator[Interval]:
    """The intervals of a schedule, whose ticks lie on minutes, that hold some of these, in order."""
    end = _EVER[0]
    for micros in minutes:
        moment = from_micros(micros)
        if moment >= end:
            start = previous_tick(schedule, moment)
            end = next_tick(schedule, start)
            yield Interval(start, end)


def _no_rows(source: TimedSource) -> SourceError:
    return SourceError(f"source {source.name!r} at {source.location!r} has no rows; name a sample with --source")


def _elsewhere(source: Source, path: str) -> BatchSource:
    suffix = Path(path).suffix.removeprefix(".")
    if isinstance(source, BatchSource) and not (source.time_travel or source.change_feed):
        # A sample is one file: the folder levels that prune a large source are not there.
        found = suffix if suffix in SOURCE_FORMATS else source.format
        options = source.options if found == source.format else {}
        return replace(source, path=path, format=found, partition_field=None, options=options)
    # Of a view, a database or a function its rows as the transform gets them; of a table's past, one state of it.
    created = source.created_timestamp_field
    whole = isinstance(source, BatchSource) and source.time_travel
    return BatchSource(
        name=source.name,
        path=path,
        format=suffix if suffix in SOURCE_FORMATS else "parquet",
        timestamp_field=source.timestamp_field,
        created_timestamp_field=None if created == COMMIT_TIMESTAMP else created,
        timezone=None if isinstance(source, ViewSource) else source.timezone,
        null_timestamp="refuse" if isinstance(source, ViewSource) else source.null_timestamp,
        history=_EVER[1] - _EVER[0] if whole else source.history,
    )
