"""The row of each key that counts, once everything in the log is visible: what the online store serves."""

from typing import TYPE_CHECKING

from features.core.definitions import ViewSpec
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, PUT, SEQ

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def winners(log: "DataFrame", view: ViewSpec) -> "DataFrame":
    """One row per key of `log`: join keys, event_timestamp, created_timestamp, features, and `_found` (bool).

    Of each (key, event, _interval) the row with the greatest (created, _seq) counts; a retraction is out. Of what
    remains the greatest (event, _interval), then created, wins. `_found` is false, and all else but the keys null,
    where every row of a key is retracted. Created times do not hide rows: a run may be ahead of its delay.
    """
    from pyspark.sql import functions as F

    keys = list(view.join_keys)
    names = [f.name for f in view.features]
    # The order of a struct is that of its fields, so the greatest struct is the row that counts.
    last = F.max(F.struct(CREATED, SEQ, OP, F.struct(*names).alias("_values"))).alias("_last")
    counting = log.groupBy(*keys, EVENT, INTERVAL).agg(last)
    ranked = F.struct(
        EVENT, INTERVAL, F.col(f"_last.{CREATED}").alias(CREATED), F.col("_last._values").alias("_values")
    )
    kept = F.when(F.col(f"_last.{OP}") == PUT, ranked)
    best = counting.groupBy(*keys).agg(F.max(kept).alias("_best"))
    return best.select(
        *keys,
        F.col(f"_best.{EVENT}").alias(EVENT),
        F.col(f"_best.{CREATED}").alias(CREATED),
        *(F.col(f"_best._values.{name}").alias(name) for name in names),
        F.col("_best").isNotNull().alias("_found"),
    )
