"""`features test`: one view on a sample of its sources, in a folder that is thrown away, without any server.

A transform must compute each row from source rows within `history` of it. That can't be read off its code, but it
shows: two intervals that are built together and apart then give the same rows.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView, Selection
from features.core.definitions import FeatureView
from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.core.times import duration_micros, to_micros
from features.engine.as_of.spark_join import as_of_join
from features.engine.session import persisted
from features.engine.source import NO_CONNECTIONS, Connections
from features.errors import OnlineStoreError
from features.materialization.build import Builder
from features.materialization.build_comparison import check_equal
from features.materialization.load import Loader
from features.materialization.trial_sources import choose_span
from features.materialization.trial_upstreams import build_upstreams
from features.registry import Registry
from features.stores.base import OnlineRow, Read, rows_of
from features.stores.delta import FeatureLog
from features.stores.log_state import CREATED, EVENT, INTERVAL
from features.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)

_KEYS_READ = 3
_SAMPLE = 5


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
    views = tuple(replace(code, retention=None, checks=()) for code in (*upstreams, view))
    view = views[-1]
    found = choose_span(views, spark, span)
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
