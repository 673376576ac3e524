"""Where a plane landed last, how late, and what plane it is."""

from datetime import timedelta

from features import BatchSource, DType, Expect, Feature, FeatureView
from features.functions import DataFrame, F
from features.views.flights import LANDINGS, OWNER, PLANE

PLANES = BatchSource(
    name="planes",
    path=".state/landing/planes",
    format="parquet",
    timestamp_field="recorded_at",
    # The register is written once a year.
    history=timedelta(days=366),
)


def plane(landings: DataFrame, planes: DataFrame) -> DataFrame:
    """Each landing of each plane, with what the register knew of the plane.

    Where a plane is said to land twice at one instant, the flight that was scheduled last counts.

    Args:
        landings: one row per flight that landed: tailnum (rows without one are dropped), origin, dest, carrier,
            flight, scheduled_at and landed_at timestamps, arrival_delay double in whole minutes, null when diverted.
        planes: one row per plane: tailnum, recorded_at timestamp, year built and seats, null where unknown.

    Returns: one row per plane and landing: tailnum, event_timestamp, and the features; age and seats are null for a
        plane that was not in the register when it landed.
    """
    flight = F.struct("scheduled_at", "carrier", "flight", "origin", "dest", "arrival_delay")
    last = (
        landings.where(F.col("tailnum").isNotNull())
        .groupBy("tailnum", F.col("landed_at").alias("event_timestamp"))
        .agg(F.max(flight).alias("last"))
    )
    known = planes.select("tailnum", "recorded_at", "seats", F.col("year").alias("built"))
    is_known = (last["tailnum"] == known["tailnum"]) & (known["recorded_at"] <= last["event_timestamp"])
    return last.join(known, is_known, "left").select(
        last["tailnum"],
        "event_timestamp",
        F.col("last.origin").alias("last_origin"),
        F.col("last.dest").alias("last_dest"),
        F.col("event_timestamp").alias("last_landed_at"),
        F.col("last.arrival_delay").cast("int").alias("last_arrival_delay"),
        F.col("seats").cast("int").alias("seats"),
        (F.year("event_timestamp") - F.col("built").cast("int")).alias("age"),
    )


PLANE_STATE = FeatureView(
    name="plane",
    entities=[PLANE],
    sources=[LANDINGS, PLANES],
    transform=plane,
    features=[
        Feature("last_origin", DType.STRING, expect=[Expect.not_null(), Expect.in_set(["EWR", "JFK", "LGA"])]),
        Feature("last_dest", DType.STRING, expect=[Expect.not_null(), Expect.matches("^[A-Z]{3}$")]),
        Feature("last_landed_at", DType.TIMESTAMP, expect=[Expect.not_null()]),
        Feature(
            "last_arrival_delay",
            DType.INT32,
            unit="minutes",
            description="null when it was diverted",
            expect=[Expect.between(-120, 2000)],
        ),
        Feature("seats", DType.INT32, expect=[Expect.between(1, 900, severity="warn")]),
        Feature("age", DType.INT32, unit="years", expect=[Expect.between(0, 80, severity="warn")]),
    ],
    lookback=timedelta(days=7),
    schedule="@daily",
    delay=timedelta(minutes=30),
    description="A plane's last arrival out of New York, and the plane itself.",
    owner=OWNER,
    tags={"domain": "flights"},
)
