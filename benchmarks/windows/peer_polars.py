"""Polars: rolling groups by time within each key, one process, two threads: the fastest of four ways that we tried."""

import os

from benchmarks.windows.shape import WIDTHS, feature

# Read when Polars is imported.
os.environ["POLARS_MAX_THREADS"] = "2"


def compute(folder: str, out: str) -> None:
    """One row for each event. Windows are (t - w, t], as Polars has them by default."""
    import polars as pl

    events = pl.scan_parquet(f"{folder}/*.parquet").sort("customer", "event_timestamp").collect()
    amount = pl.col("amount")
    parts = [events.select("row_id", "customer", "event_timestamp")]
    for width in WIDTHS:
        rolled = events.rolling("event_timestamp", period=width, closed="right", group_by="customer").agg(
            pl.len().cast(pl.Int64).alias(feature("count", width)),
            amount.sum().alias(feature("sum", width)),
            amount.mean().alias(feature("mean", width)),
            amount.min().alias(feature("min", width)),
            amount.max().alias(feature("max", width)),
        )
        # The groups come in the order of the sorted events, one for each.
        parts.append(rolled.drop("customer", "event_timestamp"))
    pl.concat(parts, how="horizontal").write_parquet(out)
