"""Tiny frames in the form that transforms get them, and their rows read back as instants."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.engine.transform import run_transform
from features.engine.windows.plan import plan_windows
from features.engine.windows.spark import compute_windows
from tests.builders import at

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from features import FeatureView


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


def windows_of(view: "FeatureView", **sources: "DataFrame") -> "DataFrame":
    """The features of a view with aggregations at every event, as a build would compute them of these rows alone.

    Args:
        sources: one frame per source, by name, with available_timestamp.
    """
    own = {f.name: f.dtype for f in view.own_features}
    plan = plan_windows(
        keys=view.join_keys, aggregations=view.aggregations, own=own, features=[f.name for f in view.features]
    )
    return compute_windows(run_transform(view, sources), plan)


def rows_of(frame: "DataFrame") -> list[dict[str, Any]]:
    """The rows, with times in UTC."""
    return [{name: _aware(value) for name, value in row.asDict().items()} for row in frame.collect()]


def _aware(value: Any) -> Any:
    # PySpark hands times over naive, in the zone of this process.
    return value.astimezone(UTC) if isinstance(value, datetime) else value
