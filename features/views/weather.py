"""The weather at the airports of departure, by the hour."""

from datetime import timedelta

from features import BatchSource, DType, Expect, Feature, FeatureView
from features.functions import DataFrame, F
from features.views.flights import ORIGIN, OWNER

OBSERVATIONS = BatchSource(
    name="observations",
    path=".state/landing/weather",
    format="parquet",
    timestamp_field="observed_at",
    partition_field="day",
)


def weather(observations: DataFrame) -> DataFrame:
    """The weather of each hour, true when the hour is over.

    `observed_at` is the beginning of the hour in which the observation was made, at a minute that is not recorded: no
    earlier time than the hour's end is safe. The available time stays that of the source, so an hour belongs to the
    interval that holds it, the last one of a day as well: its event is the interval's end.

    Args:
        observations: one row per origin and hour: origin, observed_at timestamp, and the readings, null where missing.

    Returns: one row per origin and hour: origin, event_timestamp, available_timestamp, and the readings unchanged.
    """
    return observations.select(
        "origin",
        (F.col("observed_at") + F.expr("INTERVAL 1 HOUR")).alias("event_timestamp"),
        "available_timestamp",
        *("temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
    )


WEATHER = FeatureView(
    name="weather",
    entities=[ORIGIN],
    sources=[OBSERVATIONS],
    transform=weather,
    features=[
        Feature("temp", DType.FLOAT64, unit="°F", expect=[Expect.between(-60, 140)]),
        Feature("humid", DType.FLOAT64, unit="%", expect=[Expect.between(0, 100, severity="warn")]),
        # A sensor fault: the record of any wind on the ground is 254 mph.
        Feature("wind_speed", DType.FLOAT64, unit="mph", expect=[Expect.between(0, 254, severity="quarantine")]),
        Feature("wind_gust", DType.FLOAT64, unit="mph", description="null where the wind was steady"),
        Feature("precip", DType.FLOAT64, unit="inches", expect=[Expect.between(0, 20)]),
        Feature("pressure", DType.FLOAT64, unit="millibars", expect=[Expect.between(850, 1100)]),
        Feature("visib", DType.FLOAT64, unit="miles", description="visibility", expect=[Expect.between(0, 10)]),
    ],
    lookback=timedelta(days=2),
    schedule="@daily",
    delay=timedelta(minutes=30),
    description="The hourly weather at an airport of departure.",
    owner=OWNER,
    tags={"domain": "weather"},
)
