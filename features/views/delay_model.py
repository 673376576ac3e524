"""What the model reads that predicts whether a flight will be late."""

from features import FeatureService
from features.views.flights import OWNER

DELAY_MODEL = FeatureService(
    name="delay_model",
    features=[
        "carrier_delay:carrier_mean_delay_1h",
        "carrier_delay:carrier_mean_delay_24h",
        "carrier_delay:carrier_mean_delay_7d",
        "carrier_delay:carrier_cancel_rate_24h",
        "origin_delay:origin_mean_delay_1h",
        "origin_delay:origin_mean_delay_24h",
        "origin_delay:origin_mean_delay_7d",
        "origin_delay:origin_worst_delay_1h",
        "origin_delay:origin_cancel_rate_24h",
        "route_delay:route_mean_delay_24h",
        "route_delay:route_mean_delay_7d",
        "route_delay:route_flights_7d",
        "weather:temp",
        "weather:humid",
        "weather:wind_speed",
        "weather:precip",
        "weather:pressure",
        "weather:visib",
        "plane:last_arrival_delay",
        "plane:seats",
        "plane:age",
    ],
    description="Predicts, at a flight's scheduled departure, whether it will arrive more than 15 minutes late.",
    owner=OWNER,
)
