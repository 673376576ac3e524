"""How late a route's flights arrive, and how many are cancelled."""

from datetime import timedelta

from features import FeatureView
from features.views.flights import OWNER, REPORTS, ROUTE, delay_aggregations

ROUTE_DELAY = FeatureView(
    name="route_delay",
    entities=[ROUTE],
    sources=[REPORTS],
    aggregations=delay_aggregations("route"),
    lookback=timedelta(days=7),
    schedule="@daily",
    delay=timedelta(minutes=30),
    description="Arrival delays and cancellations of a route's flights over the last hour, day and week.",
    owner=OWNER,
    tags={"domain": "flights"},
)
