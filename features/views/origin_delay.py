"""How late an airport's flights arrive, and how many are cancelled."""

from datetime import timedelta

from features import FeatureView
from features.functions import DataFrame
from features.views.flights import ORIGIN, OWNER, REPORTS, delay_features, summarize_delays


def origin_delay(reports: DataFrame) -> DataFrame:
    """Delays of each airport of departure over (t - w, t], at each time t at which a flight of it was reported.

    Args:
        reports: one row per flight: see `summarize_delays`.

    Returns: one row per airport of departure and time: origin, event_timestamp, and the features.
    """
    return summarize_delays(reports, ["origin"], "origin")


ORIGIN_DELAY = FeatureView(
    name="origin_delay",
    entities=[ORIGIN],
    sources=[REPORTS],
    transform=origin_delay,
    features=delay_features("origin"),
    lookback=timedelta(days=2),
    schedule="@daily",
    delay=timedelta(minutes=30),
    description="Arrival delays and cancellations of the flights out of an airport over the last hour, day and week.",
    owner=OWNER,
    tags={"domain": "flights"},
)
