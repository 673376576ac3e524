"""What the views of flights share: entities, sources, and delays summed up over windows that end at a report."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from features import BatchSource, DType, Entity, Expect, Feature
from features.functions import DataFrame, F, Window

if TYPE_CHECKING:
    from pyspark.sql import Column, WindowSpec

OWNER = "flights@example.com"

CARRIER = Entity(name="carrier", join_keys={"carrier": DType.STRING}, description="an airline", owner=OWNER)
ORIGIN = Entity(name="origin", join_keys={"origin": DType.STRING}, description="a New York airport", owner=OWNER)
ROUTE = Entity(
    name="route",
    join_keys={"origin": DType.STRING, "dest": DType.STRING},
    description="an airport of departure and one of arrival",
    owner=OWNER,
)
PLANE = Entity(name="plane", join_keys={"tailnum": DType.STRING}, description="a plane, by tail number", owner=OWNER)

# Both read the same files. A report is final when the flight is at the gate, called off, or given up.
REPORTS = BatchSource(
    name="reports",
    path=".state/landing/flights",
    format="parquet",
    timestamp_field="reported_at",
    history=timedelta(days=7),
    partition_field="day",
)
LANDINGS = BatchSource(
    name="landings",
    path=".state/landing/flights",
    format="parquet",
    timestamp_field="landed_at",
    null_timestamp="drop",
    partition_field="day",
)

_HOUR_US = 3_600_000_000
WINDOWS = {"1h": _HOUR_US, "24h": 24 * _HOUR_US, "7d": 7 * 24 * _HOUR_US}


def delay_features(prefix: str) -> list[Feature]:
    """The features that `summarize_delays` computes, named `<prefix>_...`."""
    features: list[Feature] = []
    for label in WINDOWS:
        features += [
            Feature(
                f"{prefix}_mean_delay_{label}",
                DType.FLOAT64,
                unit="minutes",
                description=f"mean arrival delay over {label}; null where nothing arrived",
                expect=[Expect.between(-120, 2000)],
            ),
            Feature(
                f"{prefix}_worst_delay_{label}",
                DType.INT32,
                unit="minutes",
                description=f"greatest arrival delay over {label}; null where nothing arrived",
                expect=[Expect.between(-120, 2000)],
            ),
            Feature(
                f"{prefix}_cancel_rate_{label}",
                DType.FLOAT64,
                description=f"share of the flights reported over {label} that were cancelled",
                expect=[Expect.not_null(), Expect.between(0, 1)],
            ),
            Feature(
                f"{prefix}_flights_{label}",
                DType.INT64,
                description=f"flights reported over {label}",
                expect=[Expect.not_null(), Expect.between(1, 100_000)],
            ),
        ]
    return features


def summarize_delays(reports: DataFrame, keys: Sequence[str], prefix: str) -> DataFrame:
    """Delays and cancellations of each key over (t - w, t], for each w in WINDOWS, at each time t of a report.

    Args:
        reports: one row per flight: the keys, reported_at timestamp, arrival_delay double in whole minutes (null: it
            did not arrive as planned), cancelled boolean, never null.
        keys: columns that tell apart what is summed up.
        prefix: of the features' names.

    Returns: one row per key and time, however many flights were reported at it: keys, event_timestamp, and the
        features of `delay_features`.
    """
    delay = F.col("arrival_delay").cast("bigint")
    instants = reports.groupBy(*keys, F.col("reported_at").alias("event_timestamp")).agg(
        F.count(F.lit(1)).alias("flights"),
        F.count_if("cancelled").alias("cancelled"),
        F.count("arrival_delay").alias("arrivals"),
        # Whole numbers: a sum of doubles would depend on the order in which Spark adds them.
        F.sum(delay).alias("minutes"),
        F.max(delay).alias("worst"),
    )
    features: list[Column] = []
    for label, width_us in WINDOWS.items():
        flights, minutes = _total("flights", keys, width_us), _total("minutes", keys, width_us)
        worst = F.max("worst").over(_in_order(keys).rangeBetween(1 - width_us, 0))
        features += [
            F.try_divide(minutes, _total("arrivals", keys, width_us)).alias(f"{prefix}_mean_delay_{label}"),
            worst.cast("int").alias(f"{prefix}_worst_delay_{label}"),
            (_total("cancelled", keys, width_us) / flights).alias(f"{prefix}_cancel_rate_{label}"),
            flights.alias(f"{prefix}_flights_{label}"),
        ]
    return instants.select(*keys, "event_timestamp", *features)


def _total(column: str, keys: Sequence[str], width_us: int) -> "Column":
    """The sum of a whole-numbered column over (t - width, t]: the running total at t less the one at t - width.

    Spark adds up a running total in one pass, where it would add up each window from its first row.
    """
    until_now = _in_order(keys).rangeBetween(Window.unboundedPreceding, 0)
    before = _in_order(keys).rangeBetween(Window.unboundedPreceding, -width_us)
    return F.sum(column).over(until_now) - F.coalesce(F.sum(column).over(before), F.lit(0))


def _in_order(keys: Sequence[str]) -> "WindowSpec":
    # Microseconds: in whole seconds, a later report of the same second would leak in.
    return Window.partitionBy(*keys).orderBy(F.unix_micros("event_timestamp"))
