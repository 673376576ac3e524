"""Weather: an hour is known when it is over, and stays in the interval that holds it."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from features import Expect
from features.views.weather import WEATHER, weather
from tests.builders import at
from tests.views.frames import rows_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

READINGS = ("temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def observations(spark: "SparkSession", *hours: tuple[str, str, tuple[float | None, ...]]) -> "DataFrame":
    """Hours as (origin, observed_at, readings in the order of READINGS)."""
    rows = [(origin, at(when), *readings, at(when)) for origin, when, readings in hours]
    kinds = ", ".join(f"{name} double" for name in READINGS)
    return spark.createDataFrame(rows, f"origin string, observed_at timestamp, {kinds}, available_timestamp timestamp")


def test_an_hour_is_true_when_it_is_over(spark: "SparkSession") -> None:
    calm = (39.0, 60.5, 5.8, None, 0.0, 1019.0, 10.0)
    (row,) = rows_of(weather(observations=observations(spark, ("JFK", "2013-03-08T12:00", calm))))
    assert row["event_timestamp"] == at("2013-03-08T13:00")
    assert tuple(row[name] for name in READINGS) == calm


def test_the_last_hour_of_a_day_ends_with_it_and_belongs_to_it(spark: "SparkSession") -> None:
    readings = (30.0, 90.0, 20.0, 30.0, 0.1, None, 0.5)
    (row,) = rows_of(weather(observations=observations(spark, ("JFK", "2013-03-08T23:00", readings))))
    assert row["event_timestamp"] == at("2013-03-09T00:00")
    assert row["available_timestamp"] == at("2013-03-08T23:00")


def test_an_hour_is_sixty_minutes_when_clocks_change(spark: "SparkSession") -> None:
    readings = (30.0, 90.0, 20.0, None, 0.0, 1000.0, 10.0)
    hours = [("JFK", f"2013-03-10T0{hour}:00", readings) for hour in (5, 6, 7)]
    found = [row["event_timestamp"] for row in rows_of(weather(observations=observations(spark, *hours)))]
    assert sorted(found) == [at("2013-03-10T06:00"), at("2013-03-10T07:00"), at("2013-03-10T08:00")]


def test_missing_readings_stay_null(spark: "SparkSession") -> None:
    (row,) = rows_of(weather(observations=observations(spark, ("EWR", "2013-03-08T12:00", (None,) * 7))))
    assert [row[name] for name in READINGS] == [None] * 7


def test_the_outlier_of_february_would_be_quarantined() -> None:
    # EWR reported 1048.36058 mph at 2013-02-12T08Z.
    assert WEATHER.feature("wind_speed").expectations == (Expect.between(0, 254, severity="quarantine"),)


def test_a_value_outlives_the_day_until_the_next_is_online() -> None:
    assert WEATHER.lookback is not None
    assert WEATHER.lookback >= timedelta(days=1) + WEATHER.delay


def test_the_transform_returns_what_the_view_declares(spark: "SparkSession") -> None:
    returned = weather(observations=observations(spark, ("EWR", "2013-03-08T12:00", (1.0,) * 7)))
    assert dict(returned.dtypes) == {
        "origin": "string",
        "event_timestamp": "timestamp",
        "available_timestamp": "timestamp",
        **{feature.name: feature.dtype.spark for feature in WEATHER.features},
    }
