"""How late a carrier's flights arrive, and how many are cancelled."""

from datetime import timedelta

from features import FeatureView
from features.views.flights import CARRIER, OWNER, REPORTS, delay_aggregations

CARRIER_DELAY = FeatureView(
    name="carrier_delay",
    entities=[CARRIER],
    sources=[REPORTS],
    aggregations=delay_aggregations("carrier"),
    lookback=timedelta(days=2),
    schedule="@daily",
    delay=timedelta(minutes=30),
    description="Arrival delays and cancellations of a carrier's flights over the last hour, day and week.",
    owner=OWNER,
    tags={"domain": "flights"},
)
