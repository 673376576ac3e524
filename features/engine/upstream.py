"""Reading a source that is a feature view: the rows that its log holds at one position, as a transform gets them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.schedule import next_tick
from features.core.times import MICROSECOND, earlier, from_micros
from features.core.view_source import ViewSource
from features.errors import SourceError
from features.stores.delta import FeatureLog, micros_literal
from features.stores.log_state import AVAILABLE, CREATED, EVENT, INTERVAL, OP, PUT, SEQ, Snapshot
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """The log of a view that is read, up to one commit of it, whatever is committed meanwhile.

    view: the version. snapshot: one that holds the commit; None: there is none yet. position: of the commit.
    delta_version: that the commit made, or was asked for; None: there is none yet.
    """

    view: AppliedView
    log: FeatureLog
    snapshot: Snapshot | None
    position: int
    delta_version: int | None


def read_view(
    upstream: Upstream,
    source: ViewSource,
    start: datetime,
    end: datetime,
    *,
    window: timedelta = timedelta(0),
    at_ticks: bool = False,
) -> "DataFrame":
    """The current rows of a view that belong to [start - history - window, end).

    A row belongs where the moment before its interval's end lies; so its `_interval` is in (start, end], and history is
    before that. Rows of events before the range, which came late, need the history of their time: it is read too.

    Args:
        window, at_ticks: as of `read_source`.

    Returns: join keys, event_timestamp, features, available_timestamp: of each key, event and interval the row that
        counts, if it is no retraction.

    Raises: SourceError: the log cannot be read.
    """
    own = _current(rows_within(upstream, start, end), upstream.view)
    since = start if at_ticks else min(start, _earliest_event(own, source) or start)
    since = earlier(since, source.history + window)
    return own if since == start else _current(rows_within(upstream, since, end), upstream.view)


def rows_within(upstream: Upstream, start: datetime, end: datetime) -> "DataFrame":
    """The log's rows of the intervals that end in (start, end]. Delta reads no file whose statistics exclude them."""
    from pyspark.sql import functions as F

    if upstream.snapshot is None:
        return upstream.log.empty()
    # Delta takes a greatest time for up to a millisecond later: "after the start" would open the file before it, too.
    schedule = upstream.view.schedule
    first = start + MICROSECOND if schedule is None else next_tick(schedule, start)
    inside = (F.col(INTERVAL) >= micros_literal(first)) & (F.col(INTERVAL) <= micros_literal(end))
    return upstream.log.read(upstream.snapshot, position=upstream.position).where(inside)


def _current(rows: "DataFrame", view: AppliedView) -> "DataFrame":
    from pyspark.sql import functions as F

    names = [f.name for f in view.features]
    # The order of a struct is that of its fields, so the greatest struct is the row that counts.
    last = F.max(F.struct(CREATED, SEQ, OP, F.struct(*names).alias("_values"))).alias("_last")
    counting = rows.groupBy(*view.join_keys, EVENT, INTERVAL).agg(last).where(F.col(f"_last.{OP}") == PUT)
    return counting.select(
        *view.join_keys,
        EVENT,
        *(F.col(f"_last._values.{name}").alias(name) for name in names),
        F.timestamp_micros(F.unix_micros(INTERVAL) - 1).alias(AVAILABLE),
    )


def _earliest_event(frame: "DataFrame", source: ViewSource) -> datetime | None:
    from pyspark.sql import functions as F

    try:
        found = frame.agg(F.min(F.unix_micros(EVENT))).first()
    except spark_errors() as exc:
        raise SourceError(
            f"source {source.name!r}: the log of {source.view} cannot be read: {first_line(exc)}"
        ) from exc
    return None if found is None or found[0] is None else from_micros(found[0])
