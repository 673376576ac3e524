"""What the model reads that predicts whether a flight will be late."""

from features import FeatureService
from features.views.flights import OWNER

DELAY_MODEL = FeatureService(
    name="delay_model",
    features=[
        *(f"carrier_delay:carrier_{name}" for name in ("mean_delay_1h", "mean_delay_24h", "mean_delay_7d")),
        *(f"carrier_delay:carrier_cancel_rate_{window}" for window in ("1h", "24h")),
        *(f"origin_delay:origin_{name}" for name in ("mean_delay_1h", "mean_delay_24h", "mean_delay_7d")),
        *(f"origin_delay:origin_{name}" for name in ("worst_delay_1h", "cancel_rate_1h", "cancel_rate_24h")),
        *(f"route_delay:route_{name}" for name in ("mean_delay_24h", "mean_delay_7d", "flights_7d")),
        *(f"weather:{name}" for name in ("temp", "humid", "wind_speed", "precip", "pressure", "visib")),
        *(f"plane:{name}" for name in ("last_arrival_delay", "seats", "age")),
    ],
    description="Predicts whether a flight arrives more than 15 minutes late, when it is scheduled to leave.",
    owner=OWNER,
)
