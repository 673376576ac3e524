"""How fresh sources are: the newest row that each has at the end of an interval, as far back as a check asks."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.definitions import Source
from features.core.schedule import Interval
from features.core.times import from_micros, to_micros
from features.engine.source import before
from features.engine.transform import collect_one
from features.stores.delta import micros_literal
from features.stores.log_state import AVAILABLE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Newest = Mapping[str, Mapping[datetime, datetime | None]]


def find_newest(
    view: AppliedView,
    frames: "Mapping[str, DataFrame]",
    intervals: Sequence[Interval],
    read_from: "Callable[[Source, datetime], DataFrame]",
) -> Newest:
    """By source and end of interval, the greatest available time before that end; None: older than checks tolerate.

    Only of sources that a freshness check names. It looks at one column of the longest `max_age` before each end,
    whatever the range is: of what the run has read, or beyond it where it must.

    Args:
        view: the version.
        frames: of the sources, by name, as the run reads them.
        intervals: of the run.
        read_from: the same of one source, from a moment on.

    Raises: SourceError, TimeError: a source cannot be read.
    """
    ages: dict[str, timedelta] = {}
    for check in view.checks:
        if check.rule == "freshness":
            ages[check.column] = max(ages.get(check.column, timedelta(0)), check.limits["max_age"])
    found: dict[str, dict[datetime, datetime | None]] = {}
    start = intervals[0].start
    for source in view.sources:
        if source.name in ages:
            since = before(intervals[0].end, ages[source.name])
            frame = frames[source.name]
            if since < before(start, source.history):
                frame = read_from(source, since)
            found[source.name] = _newest(frame, since, intervals, view.reference)
    return found


def _newest(
    frame: "DataFrame", since: datetime, intervals: Sequence[Interval], name: str
) -> dict[datetime, datetime | None]:
    from pyspark.sql import functions as F

    def choose(within: Sequence[Interval]) -> "Column":
        if len(within) == 1:
            return F.lit(to_micros(within[0].end))
        middle = len(within) // 2
        earlier = F.col(AVAILABLE) < micros_literal(within[middle].start)
        return F.when(earlier, choose(within[:middle])).otherwise(choose(within[middle:]))

    greatest = (
        frame.where(F.col(AVAILABLE).between(micros_literal(since), micros_literal(intervals[-1].end)))
        .groupBy(choose(intervals).alias("end"))
        .agg(F.max(F.unix_micros(AVAILABLE)).alias("newest"))
    )
    row = collect_one(greatest.groupBy().agg(F.collect_list(F.struct("end", "newest")).alias("all")), name)
    by_end = {each["end"]: from_micros(each["newest"]) for each in row["all"]}
    newest: datetime | None = None
    found = {}
    for interval in intervals:
        newest = by_end.get(to_micros(interval.end), newest)
        found[interval.end] = newest
    return found
