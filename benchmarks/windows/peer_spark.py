"""Plain Spark: RANGE windows."""

from datetime import timedelta

from benchmarks.spark import open_tuned_session
from benchmarks.windows.shape import FUNCTIONS, WIDTHS, feature


def compute(folder: str, out: str) -> None:
    """One row for each event. The windows leave out their first microsecond: (t - w, t]."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    events = open_tuned_session("windows").read.parquet(folder)
    by_time = Window.partitionBy("customer").orderBy(F.unix_micros("event_timestamp"))
    values = [
        getattr(F, function)("amount")
        .over(by_time.rangeBetween(1 - reach // timedelta(microseconds=1), 0))
        .alias(feature(function, width))
        for width, reach in WIDTHS.items()
        for function in FUNCTIONS
    ]
    events.select("row_id", "customer", "event_timestamp", *values).write.parquet(out)
