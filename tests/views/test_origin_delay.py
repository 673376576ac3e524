"""Delays of airports of departure: what differs from carriers is the key."""

from typing import TYPE_CHECKING

import pytest

from features.views.origin_delay import ORIGIN_DELAY
from tests.builders import at
from tests.views.frames import reports, rows_of, windows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_an_airport_sums_up_all_carriers_and_destinations(spark: "SparkSession") -> None:
    frame = reports(
        spark,
        ("AA", "JFK", "LAX", "2013-03-08T11:30:00", 10.0, False),
        ("UA", "JFK", "SFO", "2013-03-08T12:00:00", 40.0, False),
        ("UA", "EWR", "SFO", "2013-03-08T11:59:00", 99.0, False),
    )
    found = {(row["origin"], row["event_timestamp"]): row for row in rows_of(windows_of(ORIGIN_DELAY, reports=frame))}
    assert set(found) == {
        ("JFK", at("2013-03-08T11:30:00")),
        ("JFK", at("2013-03-08T12:00:00")),
        ("EWR", at("2013-03-08T11:59:00")),
    }
    row = found["JFK", at("2013-03-08T12:00:00")]
    assert (row["origin_mean_delay_1h"], row["origin_worst_delay_1h"], row["origin_flights_1h"]) == (25.0, 40, 2)


def test_cancellations_of_one_instant_and_a_landing_at_it_are_one_row(spark: "SparkSession") -> None:
    now = "2013-03-08T12:00:00"
    frame = reports(spark, ("AA", "LGA", "ORD", now, None, True), ("UA", "LGA", "ORD", now, 7.0, False))
    (row,) = rows_of(windows_of(ORIGIN_DELAY, reports=frame))
    assert (row["origin_mean_delay_1h"], row["origin_cancel_rate_1h"], row["origin_flights_1h"]) == (7.0, 0.5, 2)


def test_exactly_a_day_before_is_out(spark: "SparkSession") -> None:
    frame = reports(
        spark,
        ("AA", "LGA", "ORD", "2013-03-07T12:00:00", 100.0, False),
        ("AA", "LGA", "ORD", "2013-03-08T12:00:00", 10.0, False),
    )
    found = {row["event_timestamp"]: row for row in rows_of(windows_of(ORIGIN_DELAY, reports=frame))}
    row = found[at("2013-03-08T12:00:00")]
    assert (row["origin_mean_delay_24h"], row["origin_mean_delay_7d"]) == (10.0, 55.0)


def test_what_is_computed_is_what_the_view_declares(spark: "SparkSession") -> None:
    returned = windows_of(
        ORIGIN_DELAY, reports=reports(spark, ("AA", "JFK", "LAX", "2013-03-08T12:00:00", 10.0, False))
    )
    assert dict(returned.dtypes) == {
        "origin": "string",
        "event_timestamp": "timestamp",
        "available_timestamp": "timestamp",
        "created_timestamp": "timestamp",
        **{feature.name: feature.dtype.spark for feature in ORIGIN_DELAY.features},
    }
