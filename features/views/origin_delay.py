"""How late an airport's flights arrive, and how many are cancelled."""

from datetime import timedelta

from features import FeatureView
from features.views.flights import ORIGIN, OWNER, REPORTS, delay_aggregations

ORIGIN_DELAY = FeatureView(
    name="origin_delay",
    entities=[ORIGIN],
    sources=[REPORTS],
    aggregations=delay_aggregations("origin"),
    lookback=timedelta(days=2),
    schedule="@daily",
    delay=timedelta(minutes=30),
    description="Arrival delays and cancellations of the flights out of an airport over the last hour, day and week.",
    owner=OWNER,
    tags={"domain": "flights"},
)
