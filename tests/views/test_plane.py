"""The plane's last arrival: one row per landing, ties settled, the register joined."""

from typing import TYPE_CHECKING, Any

import pytest

from features.views.plane import PLANE_STATE, plane
from tests.builders import at
from tests.views.frames import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

Landing = tuple[str | None, str, str, str, str, float | None]
Registered = tuple[str, str, float | None, int]


def land(spark: "SparkSession", *landings: Landing, planes: tuple[Registered, ...] = ()) -> list[dict[str, Any]]:
    """The view's rows of landings (tailnum, origin, dest, scheduled_at, landed_at, arrival_delay)."""
    flights = spark.createDataFrame(
        [
            ("AA", 1, tailnum, origin, dest, at(scheduled), at(landed), delay, at(landed))
            for tailnum, origin, dest, scheduled, landed, delay in landings
        ],
        "carrier string, flight int, tailnum string, origin string, dest string, scheduled_at timestamp, "
        "landed_at timestamp, arrival_delay double, available_timestamp timestamp",
    )
    register = spark.createDataFrame(
        [(tailnum, at(recorded), year, seats, at(recorded)) for tailnum, recorded, year, seats in planes],
        "tailnum string, recorded_at timestamp, year double, seats int, available_timestamp timestamp",
    )
    returned = plane(landings=flights, planes=register)
    assert dict(returned.dtypes) == {
        "tailnum": "string",
        "event_timestamp": "timestamp",
        **{feature.name: feature.dtype.spark for feature in PLANE_STATE.features},
    }
    return rows_of(returned)


def test_a_landing_says_where_when_and_how_late(spark: "SparkSession") -> None:
    (row,) = land(
        spark,
        ("N1", "JFK", "LAX", "2013-03-08T12:00", "2013-03-08T18:10", 25.0),
        planes=(("N1", "2013-01-01T00:00", 1999.0, 182),),
    )
    assert row == {
        "tailnum": "N1",
        "event_timestamp": at("2013-03-08T18:10"),
        "last_origin": "JFK",
        "last_dest": "LAX",
        "last_landed_at": at("2013-03-08T18:10"),
        "last_arrival_delay": 25,
        "seats": 182,
        "age": 14,
    }


def test_each_landing_of_a_plane_is_a_row(spark: "SparkSession") -> None:
    found = land(
        spark,
        ("N1", "JFK", "LAX", "2013-03-08T12:00", "2013-03-08T18:10", 25.0),
        ("N1", "EWR", "BOS", "2013-03-09T12:00", "2013-03-09T13:00", -3.0),
    )
    assert {(row["last_dest"], row["last_arrival_delay"]) for row in found} == {("LAX", 25), ("BOS", -3)}


def test_of_two_landings_at_one_instant_the_one_scheduled_last_counts(spark: "SparkSession") -> None:
    (row,) = land(
        spark,
        ("N710TW", "JFK", "SFO", "2013-04-18T15:00", "2013-04-18T19:04", 5.0),
        ("N710TW", "JFK", "LAX", "2013-04-18T12:00", "2013-04-18T19:04", 90.0),
    )
    assert (row["last_dest"], row["last_arrival_delay"]) == ("SFO", 5)


def test_a_diverted_flight_landed_without_a_delay(spark: "SparkSession") -> None:
    (row,) = land(spark, ("N1", "JFK", "LAX", "2013-03-08T12:00", "2013-03-08T21:00", None))
    assert (row["last_dest"], row["last_arrival_delay"]) == ("LAX", None)


def test_a_plane_that_is_not_registered_has_neither_seats_nor_age(spark: "SparkSession") -> None:
    (row,) = land(
        spark,
        ("N1", "JFK", "LAX", "2013-03-08T12:00", "2013-03-08T18:10", 25.0),
        planes=(("N2", "2013-01-01T00:00", 1999.0, 182),),
    )
    assert (row["seats"], row["age"]) == (None, None)


def test_what_is_registered_later_is_not_seen(spark: "SparkSession") -> None:
    landing = ("N1", "JFK", "LAX", "2013-03-08T12:00", "2013-03-08T18:10", 25.0)
    (later,) = land(spark, landing, planes=(("N1", "2013-03-08T18:10:00.000001", 1999.0, 182),))
    assert later["seats"] is None
    (in_time,) = land(spark, landing, planes=(("N1", "2013-03-08T18:10", 1999.0, 182),))
    assert in_time["seats"] == 182


def test_a_plane_of_unknown_year_has_seats_and_no_age(spark: "SparkSession") -> None:
    (row,) = land(
        spark,
        ("N1", "JFK", "LAX", "2013-03-08T12:00", "2013-03-08T18:10", 25.0),
        planes=(("N1", "2013-01-01T00:00", None, 20),),
    )
    assert (row["seats"], row["age"]) == (20, None)


def test_a_landing_without_a_tail_number_is_left_out(spark: "SparkSession") -> None:
    assert land(spark, (None, "JFK", "LAX", "2013-03-08T12:00", "2013-03-08T18:10", 25.0)) == []
