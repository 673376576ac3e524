"""Delays of carriers over windows: the windows' edges, ties, cancellations and nulls, all worked out by hand."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from features.views.carrier_delay import CARRIER_DELAY
from tests.builders import at
from tests.views.frames import reports, rows_of, windows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def summarize(spark: "SparkSession", *flights: tuple[str, float | None, bool]) -> dict[datetime, dict[str, Any]]:
    """The features of carrier AA by time, of (reported_at, arrival_delay, cancelled)."""
    frame = reports(spark, *(("AA", "JFK", "LAX", *flight) for flight in flights))
    return {row["event_timestamp"]: row for row in rows_of(windows_of(CARRIER_DELAY, reports=frame))}


def test_a_report_counts_itself_and_what_was_reported_before_it(spark: "SparkSession") -> None:
    found = summarize(spark, ("2013-03-08T10:00", 10.0, False), ("2013-03-08T10:30", 40.0, False))
    assert found[at("2013-03-08T10:00")]["carrier_mean_delay_1h"] == 10.0
    row = found[at("2013-03-08T10:30")]
    assert (row["carrier_mean_delay_1h"], row["carrier_worst_delay_1h"], row["carrier_flights_1h"]) == (25.0, 40, 2)


@pytest.mark.parametrize(
    ("window", "exactly_before", "just_inside"),
    [
        ("1h", "2013-03-08T11:00:00", "2013-03-08T11:00:00.000001"),
        ("24h", "2013-03-07T12:00:00", "2013-03-07T12:00:00.000001"),
        ("7d", "2013-03-01T12:00:00", "2013-03-01T12:00:00.000001"),
    ],
)
def test_a_window_leaves_out_its_beginning_to_the_microsecond(
    spark: "SparkSession", window: str, exactly_before: str, just_inside: str
) -> None:
    now = "2013-03-08T12:00:00"
    outside = summarize(spark, (exactly_before, 30.0, False), (now, 10.0, False))
    assert outside[at(now)][f"carrier_mean_delay_{window}"] == 10.0
    assert outside[at(now)][f"carrier_flights_{window}"] == 1
    inside = summarize(spark, (just_inside, 30.0, False), (now, 10.0, False))
    assert inside[at(now)][f"carrier_mean_delay_{window}"] == 20.0
    assert inside[at(now)][f"carrier_flights_{window}"] == 2


def test_a_report_a_microsecond_later_is_not_seen(spark: "SparkSession") -> None:
    found = summarize(spark, ("2013-03-08T12:00:00", 10.0, False), ("2013-03-08T12:00:00.000001", 90.0, False))
    assert found[at("2013-03-08T12:00:00")]["carrier_worst_delay_1h"] == 10


def test_reports_of_one_instant_are_one_row_that_counts_them_all(spark: "SparkSession") -> None:
    now = "2013-03-08T12:00:00"
    found = summarize(spark, (now, 10.0, False), (now, 21.0, False), (now, None, True))
    assert len(found) == 1
    row = found[at(now)]
    assert (row["carrier_mean_delay_1h"], row["carrier_worst_delay_1h"]) == (15.5, 21)
    assert (row["carrier_cancel_rate_1h"], row["carrier_flights_1h"]) == (1 / 3, 3)


def test_where_nothing_arrived_delays_are_null_and_rates_are_not(spark: "SparkSession") -> None:
    now = "2013-03-08T12:00:00"
    row = summarize(spark, ("2013-03-08T11:30:00", None, False), (now, None, True))[at(now)]
    assert row["carrier_mean_delay_1h"] is None
    assert row["carrier_worst_delay_1h"] is None
    assert (row["carrier_cancel_rate_1h"], row["carrier_flights_1h"]) == (0.5, 2)


def test_a_cancelled_flight_counts_in_the_rate_and_not_in_the_mean(spark: "SparkSession") -> None:
    cancelled, early = ("2013-03-07T13:00:00", None, True), ("2013-03-08T11:30:00", -4.0, False)
    row = summarize(spark, cancelled, early, ("2013-03-08T12:00:00", 10.0, False))[at("2013-03-08T12:00:00")]
    assert (row["carrier_mean_delay_24h"], row["carrier_flights_24h"]) == (3.0, 3)
    assert row["carrier_cancel_rate_24h"] == 1 / 3
    assert (row["carrier_cancel_rate_1h"], row["carrier_flights_1h"]) == (0.0, 2)


def test_carriers_are_apart(spark: "SparkSession") -> None:
    now = "2013-03-08T12:00:00"
    frame = reports(spark, ("AA", "JFK", "LAX", now, 10.0, False), ("UA", "JFK", "LAX", now, 30.0, False))
    found = {row["carrier"]: row["carrier_mean_delay_7d"] for row in rows_of(windows_of(CARRIER_DELAY, reports=frame))}
    assert found == {"AA": 10.0, "UA": 30.0}


def test_what_is_computed_is_what_the_view_declares(spark: "SparkSession") -> None:
    returned = windows_of(
        CARRIER_DELAY, reports=reports(spark, ("AA", "JFK", "LAX", "2013-03-08T12:00:00", 10.0, False))
    )
    assert dict(returned.dtypes) == {
        "carrier": "string",
        "event_timestamp": "timestamp",
        "available_timestamp": "timestamp",
        "created_timestamp": "timestamp",
        **{feature.name: feature.dtype.spark for feature in CARRIER_DELAY.features},
    }
