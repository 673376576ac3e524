"""How the rows of a spine come to their tasks: rows without a key too, which no range holds."""

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F

from features.engine.as_of.ranges import Cuts, distribute

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
CUTS = Cuts(keys=("carrier",), starts=(("D", 0), ("M", 0), ("S", 0)))


def rows_of_one_time(spark: "SparkSession", carrier: str | None, rows: int, partitions: int) -> "DataFrame":
    return spark.range(0, rows, 1, partitions).select(
        F.col("id"),
        F.lit(carrier).cast("string").alias("carrier"),
        F.timestamp_micros(F.lit(9)).alias("event_timestamp"),
        F.array(F.struct(F.col("id").alias("inner"))).alias("odd name.x"),
        F.create_map(F.lit("a"), F.col("id")).alias("attributes"),
        F.parse_json(F.col("id").cast("string")).alias("anything"),
    )


def task_of_each(frame: "DataFrame") -> dict[int, int]:
    return {row["id"]: row["task"] for row in frame.select("id", F.spark_partition_id().alias("task")).collect()}


def test_rows_without_a_key_and_of_one_time_are_shared_out_evenly(spark: "SparkSession") -> None:
    tasks = Counter(task_of_each(distribute(rows_of_one_time(spark, None, 4_000, 2), CUTS)).values())
    assert sorted(tasks) == [0, 1, 2, 3]
    assert max(tasks.values()) < 1_200


def test_rows_go_to_the_same_task_when_they_are_computed_again_in_other_partitions(spark: "SparkSession") -> None:
    first = task_of_each(distribute(rows_of_one_time(spark, None, 500, 2), CUTS))
    assert task_of_each(distribute(rows_of_one_time(spark, None, 500, 5), CUTS)) == first


def test_rows_with_a_key_go_to_the_range_that_holds_it(spark: "SparkSession") -> None:
    for carrier, task in [("AA", 0), ("D", 1), ("UA", 3)]:
        assert set(task_of_each(distribute(rows_of_one_time(spark, carrier, 10, 2), CUTS)).values()) == {task}
