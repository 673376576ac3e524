"""What sources held in an interval, in one word: told apart from what they hold when the interval is built again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.definitions import Source
from features.core.schedule import Interval
from features.core.sources import BatchSource
from features.core.times import to_micros
from features.engine.source import prune_days
from features.engine.transform import assign_intervals, collect_one
from features.stores.delta import INTERVAL

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def fingerprint_intervals(
    frames: "Mapping[str, DataFrame]", view: AppliedView, intervals: Sequence[Interval]
) -> dict[datetime, str]:
    """A text for each interval, by its end, that changes when a row of a source that was available in it does.

    The sum of the rows' hashes, and their number: neither order nor files count. Columns of a type that Spark cannot
    hash, maps, are left out. Nothing where a view has no history: what an interval holds then changes no other.

    Args:
        frames: of the sources, by name, as `read_source` gives them.

    Raises: SourceError: a file is damaged.
    """
    if not view.history:
        return {}
    found: dict[int, list[str]] = {to_micros(interval.end): [] for interval in intervals}
    for source in view.sources:
        held = _held(frames[source.name], source, intervals, view.reference)
        for end, told in found.items():
            told.append(held.get(end, "0"))
    return {interval.end: " ".join(found[to_micros(interval.end)]) for interval in intervals}


def _held(frame: "DataFrame", source: Source, intervals: Sequence[Interval], name: str) -> dict[int, str]:
    from pyspark.sql import functions as F

    own = frame
    if isinstance(source, BatchSource):
        own = prune_days(frame, source, intervals[0].start, intervals[-1].end)
    hashed = [F.col(f"`{c.replace('`', '``')}`") for c, kind in own.dtypes if "map<" not in kind]
    summed = (
        assign_intervals(own, intervals)
        .where(F.col(INTERVAL).isNotNull())
        .groupBy(F.unix_micros(INTERVAL).alias("end"))
        # As decimals: a sum of whole numbers would overflow.
        .agg(F.concat_ws("/", F.sum(F.xxhash64(*hashed).cast("decimal(20,0)")), F.count(F.lit(1))).alias("held"))
    )
    row = collect_one(summed.groupBy().agg(F.collect_list(F.struct("end", "held")).alias("all")), name)
    return {found["end"]: found["held"] for found in row["all"]}
