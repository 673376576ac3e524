"""Plain Spark, as one writes it by hand: spine and log in one frame, and the running maximum of what ranks a row.

The logs hold no retractions, with which a running maximum would not do.
"""

from typing import TYPE_CHECKING

from benchmarks.pit.shape import LOOKBACK_DAYS, Layout, View
from benchmarks.spark import open_tuned_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def join(folder: str, out: str) -> None:
    """Join one view after the other, and let Spark write the result."""
    layout = Layout.read(folder)
    spark = open_tuned_session("pit")
    frame = spark.read.parquet(layout.spine)
    for view in layout.views:
        frame = _join_view(frame, spark.read.format("delta").load(view.log), list(layout.keys), view)
    frame.write.parquet(out)


def _join_view(spine: "DataFrame", log: "DataFrame", keys: list[str], view: View) -> "DataFrame":
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    rank = ["event_timestamp", "_interval", "created_timestamp", "_seq"]
    values = F.struct(*view.features).alias("values")
    candidates = log.select(
        *keys,
        F.greatest("event_timestamp", "created_timestamp").alias("time"),
        F.lit(False).alias("is_spine"),
        F.struct(*rank, values).alias("winner"),
    )
    left = spine.select(
        *keys, F.col("event_timestamp").alias("time"), F.lit(True).alias("is_spine"), F.struct("*").alias("spine")
    )
    # False sorts before true: what becomes visible at t counts at t.
    until_now = Window.partitionBy(*keys).orderBy("time", "is_spine").rowsBetween(Window.unboundedPreceding, 0)
    both = left.unionByName(candidates, allowMissingColumns=True)
    joined = both.withColumn("winner", F.max("winner").over(until_now)).where("is_spine")
    age = F.unix_micros("time") - F.unix_micros("winner.event_timestamp")
    fresh = age <= LOOKBACK_DAYS * 86_400_000_000
    return joined.select("spine.*", *(F.when(fresh, F.col(f"winner.values.{f}")).alias(f) for f in view.features))
