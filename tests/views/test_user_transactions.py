"""Windows over a card's transactions: their edges, and late rows, worked out by hand."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from features.views.user_transactions import USER_TRANSACTIONS
from tests.builders import at
from tests.views.frames import rows_of, windows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

COUNT, MEAN = (f.name for f in USER_TRANSACTIONS.features)


def pay(spark: "SparkSession", *payments: tuple[int, str, float, str]) -> dict[tuple[int, datetime], dict[str, Any]]:
    """The features by user and time, of (user, transaction_at, amount, recorded_at)."""
    frame = spark.createDataFrame(
        [(user, at(when), amount, at(recorded)) for user, when, amount, recorded in payments],
        "user bigint, transaction_at timestamp, amount double, available_timestamp timestamp",
    )
    found = rows_of(windows_of(USER_TRANSACTIONS, transactions=frame))
    return {(row["user"], row["event_timestamp"]): row for row in found}


def test_the_hour_and_the_week_leave_out_their_beginning(spark: "SparkSession") -> None:
    now = "2024-03-10T12:00"
    found = pay(
        spark,
        (1, "2024-03-03T12:00", 1000.0, "2024-03-03T12:00"),
        (1, "2024-03-03T12:00:00.000001", 1.0, "2024-03-03T12:00:01"),
        (1, "2024-03-10T11:00", 2.0, "2024-03-10T11:00"),
        (1, "2024-03-10T11:00:00.000001", 3.0, "2024-03-10T11:00:01"),
        (1, now, 6.0, now),
        (2, now, 50.0, now),
    )
    row = found[1, at(now)]
    assert (row[COUNT], row[MEAN]) == (2, 3.0)
    assert found[2, at(now)][MEAN] == 50.0


def test_what_is_recorded_late_is_not_seen_by_transactions_recorded_before_it(spark: "SparkSession") -> None:
    found = pay(
        spark,
        (1, "2024-03-10T11:30", 2.0, "2024-03-10T18:00"),
        (1, "2024-03-10T12:00", 6.0, "2024-03-10T12:00:02"),
        (1, "2024-03-10T12:10", 10.0, "2024-03-10T18:00:01"),
    )
    assert (found[1, at("2024-03-10T12:00")][COUNT], found[1, at("2024-03-10T12:00")][MEAN]) == (1, 6.0)
    assert (found[1, at("2024-03-10T12:10")][COUNT], found[1, at("2024-03-10T12:10")][MEAN]) == (3, 6.0)
    assert (found[1, at("2024-03-10T11:30")][COUNT], found[1, at("2024-03-10T11:30")][MEAN]) == (1, 2.0)
