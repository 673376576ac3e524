"""How late a carrier's flights arrive, and how many are cancelled."""

from datetime import timedelta

from features import FeatureView
from features.functions import DataFrame
from features.views.flights import CARRIER, OWNER, REPORTS, delay_features, summarize_delays


def carrier_delay(reports: DataFrame) -> DataFrame:
    """Delays of each carrier over (t - w, t], at each time t at which a flight of it was reported.

    Args:
        reports: one row per flight: see `summarize_delays`.

    Returns: one row per carrier and time: carrier, event_timestamp, and the features.
    """
    return summarize_delays(reports, ["carrier"], "carrier")


CARRIER_DELAY = FeatureView(
    name="carrier_delay",
    entities=[CARRIER],
    sources=[REPORTS],
    transform=carrier_delay,
    features=delay_features("carrier"),
    lookback=timedelta(days=2),
    schedule="@daily",
    delay=timedelta(minutes=30),
    description="Arrival delays and cancellations of a carrier's flights over the last hour, day and week.",
    owner=OWNER,
    tags={"domain": "flights"},
)
