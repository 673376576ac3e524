"""Tiny frames in the form that transforms get them, and their rows read back as instants."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.builders import at

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def reports(spark: "SparkSession", *flights: tuple[str, str, str, str, float | None, bool]) -> "DataFrame":
    """Flights as (carrier, origin, dest, reported_at, arrival_delay, cancelled)."""
    rows = [
        (carrier, origin, dest, at(when), delay, cancelled, at(when))
        for carrier, origin, dest, when, delay, cancelled in flights
    ]
    return spark.createDataFrame(
        rows,
        "carrier string, origin string, dest string, reported_at timestamp, arrival_delay double, cancelled boolean, "
        "available_timestamp timestamp",
    )


def rows_of(frame: "DataFrame") -> list[dict[str, Any]]:
    """The rows, with times in UTC."""
    return [{name: _aware(value) for name, value in row.asDict().items()} for row in frame.collect()]


def _aware(value: Any) -> Any:
    # PySpark hands times over naive, in the zone of this process.
    return value.astimezone(UTC) if isinstance(value, datetime) else value
