"""How many rows a computation has read, of what Spark counts by itself."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.engine.session import persisted
from features.engine.stages import rows_scanned
from tests.builders import write_payments

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

PAYMENTS = [(customer, f"2024-01-0{day} 10:00", 1.0) for customer in "abc" for day in range(1, 5)]


@pytest.fixture
def payments(spark: "SparkSession", tmp_path: Path) -> "DataFrame":
    write_payments(tmp_path / "payments", PAYMENTS)
    return spark.read.parquet(str(tmp_path / "payments"))


def counted(frame: "DataFrame") -> tuple[int | None, int]:
    """Rows read, and rows."""
    with persisted(frame) as kept:
        rows = kept.count()
        # Again, of the cache.
        assert kept.count() == rows
        return rows_scanned(kept), rows


def test_each_row_counts_once_however_often_the_result_is_looked_at(payments: "DataFrame") -> None:
    assert counted(payments.where("customer = 'a'")) == (12, 4)
    assert counted(payments.groupBy("customer").count()) == (12, 3)


def test_what_is_read_twice_counts_twice_and_what_is_exchanged_again_once(payments: "DataFrame") -> None:
    assert counted(payments.union(payments)) == (24, 24)
    totals = payments.groupBy("customer").count()
    assert counted(totals.join(totals.withColumnRenamed("count", "again"), "customer")) == (12, 3)


def test_nothing_is_told_of_what_only_tasks_have_read(spark: "SparkSession", payments: "DataFrame") -> None:
    read_by_tasks = spark.range(2).select("id")
    assert counted(read_by_tasks) == (None, 2)
    assert counted(read_by_tasks.crossJoin(payments))[0] is None
    assert rows_scanned(payments) is None
    assert counted(payments.groupBy("customer").count().where("count > 99").join(payments, "customer")) == (None, 0)


def test_rows_of_the_query_itself_are_none_of_a_source(spark: "SparkSession", payments: "DataFrame") -> None:
    names = spark.sql("SELECT * FROM VALUES ('a'), ('b') AS names (customer)")
    assert counted(payments.join(names, "customer")) == (12, 8)
