"""What sources held in an interval, in one word: told apart from what they hold when the interval is built again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.schedule import Interval
from features.core.sources import BatchSource, TimedSource
from features.core.times import to_micros
from features.core.view_source import ViewSource
from features.engine.source import prune_days
from features.engine.transform import assign_intervals, collect_one
from features.engine.upstream import Upstream, rows_within
from features.stores.log_state import AVAILABLE, INTERVAL, SEQ

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def fingerprint_intervals(
    frames: "Mapping[str, DataFrame]",
    view: AppliedView,
    intervals: Sequence[Interval],
    upstreams: Mapping[str, Upstream],
) -> dict[datetime, str]:
    """A text for each interval, by its end, that changes when a row of a source that was available in it does.

    The sum of the rows' hashes, and their number: neither order nor files count. Columns of a type that Spark cannot
    hash, maps, are left out. Of a view that is read, the last commit to the interval. Nothing where a view has no
    history: what an interval holds then changes no other.

    Args:
        frames: of the sources, by name, as `read_source` gives them.
        upstreams: the views that are read, by `name@version`.

    Raises: SourceError: a file is damaged.
    """
    if not view.history:
        return {}
    found: dict[int, list[str]] = {to_micros(interval.end): [] for interval in intervals}
    for source in view.sources:
        if isinstance(source, BatchSource) and source.time_travel:
            # What a table held when an interval ended does not change.
            continue
        if isinstance(source, ViewSource):
            held = _committed(upstreams[source.view], intervals, view.reference)
        else:
            held = _held(frames[source.name], source, intervals, view.reference)
        for end, told in found.items():
            told.append(held.get(end, "0"))
    return {interval.end: " ".join(found[to_micros(interval.end)]) for interval in intervals}


def _held(frame: "DataFrame", source: TimedSource, intervals: Sequence[Interval], name: str) -> dict[int, str]:
    from pyspark.sql import functions as F

    own = prune_days(frame, source, intervals[0].start, intervals[-1].end)
    hashed = [F.col(f"`{c.replace('`', '``')}`") for c, kind in own.dtypes if "map<" not in kind]
    summed = (
        assign_intervals(own, intervals)
        .where(F.col(INTERVAL).isNotNull())
        .groupBy(F.unix_micros(INTERVAL).alias("end"))
        # As decimals: a sum of whole numbers would overflow.
        .agg(F.concat_ws("/", F.sum(F.xxhash64(*hashed).cast("decimal(20,0)")), F.count(F.lit(1))).alias("held"))
    )
    return _by_end(summed, name)


def _committed(upstream: Upstream, intervals: Sequence[Interval], name: str) -> dict[int, str]:
    """A log only grows: its rows of an interval are other ones once a later commit has brought some."""
    from pyspark.sql import functions as F

    rows = rows_within(upstream, intervals[0].start, intervals[-1].end).select(
        SEQ, F.timestamp_micros(F.unix_micros(INTERVAL) - 1).alias(AVAILABLE)
    )
    last = (
        assign_intervals(rows, intervals)
        .groupBy(F.unix_micros(INTERVAL).alias("end"))
        .agg(F.max(SEQ).cast("string").alias("held"))
    )
    return _by_end(last, name)


def _by_end(found: "DataFrame", name: str) -> dict[int, str]:
    from pyspark.sql import functions as F

    row = collect_one(found.groupBy().agg(F.collect_list(F.struct("end", "held")).alias("all")), name)
    return {told["end"]: told["held"] for told in row["all"]}
