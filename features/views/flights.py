"""What the views of flights share: entities, sources, and delays over windows that end at a report."""

from datetime import timedelta

from features import Aggregation, BatchSource, DType, Entity, Expect

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

WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))


def delay_aggregations(prefix: str) -> list[Aggregation]:
    """Delays and cancellations over (t - w, t], for each w in WINDOWS, at each time t of a report.

    Of `REPORTS`, one row per flight: arrival_delay double in whole minutes (null: it did not arrive as planned),
    cancelled boolean, never null.

    Args:
        prefix: of the features' names, `<prefix>_mean_delay_1h` and so on.
    """
    return [
        Aggregation(
            function="mean",
            column="arrival_delay",
            dtype=DType.FLOAT64,
            windows=WINDOWS,
            name=f"{prefix}_mean_delay_{{window}}",
            unit="minutes",
            description="mean arrival delay over {window}; null where nothing arrived",
            expect=[Expect.between(-120, 2000)],
        ),
        Aggregation(
            function="max",
            column="arrival_delay",
            dtype=DType.FLOAT64,
            windows=WINDOWS,
            name=f"{prefix}_worst_delay_{{window}}",
            unit="minutes",
            description="greatest arrival delay over {window}; null where nothing arrived",
            expect=[Expect.between(-120, 2000)],
        ),
        Aggregation(
            function="mean",
            column="cancelled",
            dtype=DType.BOOL,
            windows=WINDOWS,
            name=f"{prefix}_cancel_rate_{{window}}",
            description="share of the flights reported over {window} that were cancelled",
            expect=[Expect.not_null(), Expect.between(0, 1)],
        ),
        Aggregation(
            function="count",
            windows=WINDOWS,
            name=f"{prefix}_flights_{{window}}",
            description="flights reported over {window}",
            expect=[Expect.not_null(), Expect.between(1, 100_000)],
        ),
    ]
