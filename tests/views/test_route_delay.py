"""Delays of routes: a composite key."""

from typing import TYPE_CHECKING

import pytest

from features.views.route_delay import ROUTE_DELAY
from tests.builders import at
from tests.views.frames import reports, rows_of, windows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_routes_that_share_one_airport_are_apart(spark: "SparkSession") -> None:
    now = "2013-03-08T12:00:00"
    frame = reports(
        spark,
        ("AA", "JFK", "LAX", now, 10.0, False),
        ("UA", "JFK", "SFO", now, 20.0, False),
        ("UA", "EWR", "SFO", now, 30.0, False),
    )
    found = {
        (row["origin"], row["dest"]): row["route_mean_delay_7d"]
        for row in rows_of(windows_of(ROUTE_DELAY, reports=frame))
    }
    assert found == {("JFK", "LAX"): 10.0, ("JFK", "SFO"): 20.0, ("EWR", "SFO"): 30.0}


def test_a_route_sums_up_its_carriers(spark: "SparkSession") -> None:
    frame = reports(
        spark,
        ("AA", "JFK", "LAX", "2013-03-05T12:00:00", -5.0, False),
        ("UA", "JFK", "LAX", "2013-03-06T12:00:00", None, True),
        ("DL", "JFK", "LAX", "2013-03-08T12:00:00", 15.0, False),
    )
    found = {row["event_timestamp"]: row for row in rows_of(windows_of(ROUTE_DELAY, reports=frame))}
    row = found[at("2013-03-08T12:00:00")]
    assert (row["route_mean_delay_7d"], row["route_cancel_rate_7d"], row["route_flights_7d"]) == (5.0, 1 / 3, 3)
    assert (row["route_mean_delay_24h"], row["route_cancel_rate_24h"], row["route_flights_24h"]) == (15.0, 0.0, 1)


def test_exactly_a_week_before_is_out(spark: "SparkSession") -> None:
    frame = reports(
        spark,
        ("AA", "JFK", "LAX", "2013-03-01T12:00:00", 100.0, False),
        ("AA", "JFK", "LAX", "2013-03-08T12:00:00", 10.0, False),
    )
    found = {row["event_timestamp"]: row for row in rows_of(windows_of(ROUTE_DELAY, reports=frame))}
    assert found[at("2013-03-08T12:00:00")]["route_worst_delay_7d"] == 10


def test_what_is_computed_is_what_the_view_declares(spark: "SparkSession") -> None:
    returned = windows_of(ROUTE_DELAY, reports=reports(spark, ("AA", "JFK", "LAX", "2013-03-08T12:00:00", 10.0, False)))
    assert dict(returned.dtypes) == {
        "origin": "string",
        "dest": "string",
        "event_timestamp": "timestamp",
        "available_timestamp": "timestamp",
        "created_timestamp": "timestamp",
        **{feature.name: feature.dtype.spark for feature in ROUTE_DELAY.features},
    }
