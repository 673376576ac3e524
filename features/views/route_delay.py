"""How late a route's flights arrive, and how many are cancelled."""

from datetime import timedelta

from features import FeatureView
from features.functions import DataFrame
from features.views.flights import OWNER, REPORTS, ROUTE, delay_features, summarize_delays


def route_delay(reports: DataFrame) -> DataFrame:
    """Delays of each route over (t - w, t], at each time t at which a flight of it was reported.

    Args:
        reports: one row per flight: see `summarize_delays`.

    Returns: one row per route and time: origin, dest, event_timestamp, and the features.
    """
    return summarize_delays(reports, ["origin", "dest"], "route")


ROUTE_DELAY = FeatureView(
    name="route_delay",
    entities=[ROUTE],
    sources=[REPORTS],
    transform=route_delay,
    features=delay_features("route"),
    lookback=timedelta(days=7),
    schedule="@daily",
    delay=timedelta(minutes=30),
    description="Arrival delays and cancellations of a route's flights over the last hour, day and week.",
    owner=OWNER,
    tags={"domain": "flights"},
)
