"""`features test`: one view on a sample of its sources, in a folder that is thrown away, without any server.

A transform must compute each row from source rows within `history` of it. That can't be read off its code, but it
shows: two intervals that are built together and apart then give the same rows.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView, Selection
from features.core.definitions import FeatureView, Source
from features.core.discovery import Definitions
from features.core.schedule import Interval, cover, next_tick, previous_tick
from features.core.sources import COMMIT_TIMESTAMP, SOURCE_FORMATS, BatchSource, TimedSource
from features.core.times import MICROSECOND, duration_micros, from_micros, to_micros
from features.core.view_source import ViewSource
from features.engine.as_of.spark_join import as_of_join
from features.engine.session import persisted
from features.engine.source import NO_CONNECTIONS, Connections, read_source
from features.errors import NotFoundError, OnlineStoreError, SourceError, UsageError
from features.materialization.build import Builder
from features.materialization.build_comparison import check_equal
from features.materialization.load import Loader
from features.materialization.trial_upstreams import build_upstreams, with_upstreams
from features.registry import Registry
from features.stores.base import OnlineRow, Read, rows_of
from features.stores.delta import FeatureLog
from features.stores.log_state import AVAILABLE, CREATED, EVENT, INTERVAL
from features.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)

_KEYS_READ = 3
_SAMPLE = 5
# How many distinct minutes of a source are looked at for two intervals with rows.
_MINUTES = 20_000
_EVER = datetime(1000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewTest:
    """What a passed test saw.

    rows_by_interval: rows in the log. compared: whether there were two intervals to build together and apart.
    quarantined: rows that the gate withheld. gate: how every rule fared. sample: a few rows of the log.
    keys_read: how many keys were read back online, and compared with their as-of value.
    """

    view: str
    rows_by_interval: tuple[tuple[Interval, int], ...]
    compared: bool
    quarantined: int
    gate: tuple[Mapping[str, Any], ...]
    sample: tuple[Mapping[str, Any], ...]
    keys_read: int


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A registry and a warehouse of their own, with the view applied."""

    view: FeatureView
    applied: AppliedView
    builder: Builder
    log: FeatureLog

    def build(self, interval: Interval) -> int:
        """Build a range; how many rows the gate withheld."""
        return self.builder.build(self.view, self.applied, interval.start, interval.end).quarantined

    def rows(self) -> "DataFrame":
        """The rows of the log."""
        snapshot = self.log.snapshot()
        return self.log.empty() if snapshot is None else self.log.read(snapshot)


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


def try_view(
    view: FeatureView,
    *,
    spark: "SparkSession",
    folder: str | Path,
    span: tuple[datetime, datetime] | None = None,
    upstreams: Sequence[FeatureView] = (),
    connections: Connections = NO_CONNECTIONS,
) -> ViewTest:
    """Build two intervals of a view together and apart, compare, load into memory, and compare again with the log.

    Args:
        view: the code; nothing need be applied.
        folder: an empty one, for registries and logs.
        span: start and end of two intervals or more; None: the first two neighbours with rows in the first source.
            Without a schedule there is one interval, the whole of the source, and nothing to compare.
        upstreams: the views that it reads, as of `with_upstreams`: they are built first, of their own sources.
        connections: the databases of conf, by name.

    Raises:
        TransformError: the transform failed, or its rows depend on which intervals are built at once.
        IntervalError, UsageError: the span is off the schedule, or covers one interval.
        SourceError, RefusedError: as a build would; the source may also be empty.
        OnlineStoreError: what is read online is not the as-of value.
    """
    # Samples are old, and retention is judged by the clock: it would remove from the online store what is compared.
    # They are thin, too: as many rows as usual, or fresh ones, are not to be expected of them.
    view = replace(view, retention=None, checks=())
    views = (*upstreams, view)
    found = _span(views, spark, span)
    whole = Interval(found[0].start, found[-1].end)
    with _open_trial(views, spark, Path(folder) / "together", whole, connections) as together:
        logger.info("building the intervals together", extra={"view": view.name, "range": str(whole)})
        quarantined = together.build(whole)
        with persisted(together.rows()) as rows:
            if len(found) > 1:
                with _open_trial(views, spark, Path(folder) / "apart", whole, connections) as apart:
                    for interval in found:
                        logger.info("building one interval", extra={"view": view.name, "range": str(interval)})
                        apart.build(interval)
                    check_equal(rows, apart.rows(), together.applied)
            registry = together.builder.registry
            (run,) = registry.runs(together.applied, limit=1)
            return ViewTest(
                view=view.name,
                rows_by_interval=_count_rows(rows, found),
                compared=len(found) > 1,
                quarantined=quarantined,
                gate=registry.validations(run.run_id),
                sample=_sample(rows, together.applied),
                keys_read=_check_online(together, rows),
            )


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


@contextmanager
def _open_trial(
    views: Sequence[FeatureView], spark: "SparkSession", folder: Path, span: Interval, connections: Connections
) -> Iterator[_Trial]:
    folder.mkdir(parents=True)
    view = views[-1]
    with Registry.open(f"sqlite:///{folder / 'registry.db'}") as registry:
        registry.apply(Definitions(views={view.name: view for view in views}, services={}))
        applied = registry.view(view.name)
        builder = Builder(spark=spark, registry=registry, warehouse=str(folder / "warehouse"), connections=connections)
        build_upstreams(builder, views, span)
        yield _Trial(view=view, applied=applied, builder=builder, log=FeatureLog(spark, builder.warehouse, applied))


def _span(
    views: Sequence[FeatureView], spark: "SparkSession", span: tuple[datetime, datetime] | None
) -> tuple[Interval, ...]:
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


def _count_rows(rows: "DataFrame", intervals: Sequence[Interval]) -> tuple[tuple[Interval, int], ...]:
    from pyspark.sql import functions as F

    counts: dict[int, int] = dict(rows.groupBy(F.unix_micros(INTERVAL)).count().collect())
    return tuple((interval, counts.get(to_micros(interval.end), 0)) for interval in intervals)


def _sample(rows: "DataFrame", view: AppliedView) -> tuple[Mapping[str, Any], ...]:
    names = [*view.join_keys, EVENT, CREATED, *(f.name for f in view.features)]
    return tuple(rows.orderBy(EVENT, *view.join_keys).limit(_SAMPLE).select(*names).toArrow().to_pylist())


def _check_online(trial: _Trial, rows: "DataFrame") -> int:
    """Load the log into memory, and read a few keys there and by the as-of join; how many. Raises: OnlineStoreError."""
    from pyspark.sql import functions as F

    view, builder, store = trial.applied, trial.builder, MemoryStore()
    loader = Loader(spark=builder.spark, registry=builder.registry, warehouse=builder.warehouse, online=store)
    loader.load(view)
    names = tuple(f.name for f in view.features)
    # The moment at which all of the log is visible.
    last = rows.select(F.max(F.greatest(EVENT, CREATED)).alias("last"))
    spine = rows.select(*view.join_keys).distinct().orderBy(*view.join_keys).limit(_KEYS_READ).crossJoin(last)
    selection = Selection(view=view, features=tuple(view.features), columns=names)
    wanted = as_of_join(spine.withColumnRenamed("last", EVENT), rows, selection).toArrow().to_pylist()
    keys = tuple(tuple(row[key] for key in view.join_keys) for row in wanted)
    read = rows_of(*store.read([Read(view=view, features=names, keys=keys)]))
    for row, online in zip(wanted, read, strict=True):
        expected = tuple(row[name] for name in names)
        found = _served(online, view, to_micros(row[EVENT]), len(names))
        # Values are told by their text: NaN is NaN there.
        if repr(found) != repr(expected):
            shown = ", ".join(f"{key}={row[key]!r}" for key in view.join_keys)
            raise OnlineStoreError(
                f"{view.name!r}: online, {shown} reads {found}, the as-of join gives {expected}; report this"
            )
    return len(keys)


def _served(online: OnlineRow | None, view: AppliedView, now: int, count: int) -> tuple[Any, ...]:
    expired = (
        online is not None and view.lookback is not None and now - online.event_micros > duration_micros(view.lookback)
    )
    return (None,) * count if online is None or expired else tuple(online.values)
