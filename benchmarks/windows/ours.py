"""This project's windows at every event, as builds compute them; the tasks write the Parquet files."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.sink import WRITTEN, parquet_sink
from benchmarks.spark import our_settings
from benchmarks.windows.shape import DAYS, FUNCTIONS, START, WIDTHS, feature
from features import Aggregation, BatchSource, DType
from features.engine.session import open_session
from features.engine.windows.files import find_event_files
from features.engine.windows.plan import WindowPlan, plan_windows
from features.engine.windows.spark import compute_windows, compute_windows_of_files
from features.stores.log_state import AVAILABLE, EVENT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def compute_of_files(folder: str, out: str) -> None:
    """One row for each event, as of a view without a transform: tasks read the files."""
    spark, plan = _start(out)
    source = BatchSource(name="events", path=str(Path(folder).absolute()), format="parquet", timestamp_field=EVENT)
    end = START + timedelta(days=DAYS)
    files = find_event_files(source, plan, START, end, window=max(WIDTHS.values()))
    compute_windows_of_files(spark, files, plan, then=parquet_sink(out), schema=WRITTEN).collect()


def compute_of_frame(folder: str, out: str) -> None:
    """One row for each event, as of a view with a transform: Spark reads the files."""
    spark, plan = _start(out)
    events = spark.read.parquet(folder)
    rows = events.withColumn(AVAILABLE, events[EVENT])
    compute_windows(rows, plan, then=parquet_sink(out), schema=WRITTEN).collect()


def _start(out: str) -> "tuple[SparkSession, WindowPlan]":
    Path(out).mkdir(parents=True)
    plan = plan_windows(
        keys={"customer": DType.INT64},
        aggregations=[_aggregation(function, width) for width in WIDTHS for function in FUNCTIONS],
        own={"row_id": DType.INT64},
    )
    return open_session(our_settings(), app="windows"), plan


def _aggregation(function: str, width: str) -> Aggregation:
    return Aggregation(
        column="amount", dtype=DType.FLOAT64, function=function, windows=[WIDTHS[width]], name=feature(function, width)
    )
