"""The views that a point-in-time benchmark joins, and the feature store that holds them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.pit.shape import LOOKBACK_DAYS, Shape
from benchmarks.spark import our_settings
from features import BatchSource, DType, Entity, Feature, FeatureView
from features.config import OnlineSettings, Settings
from features.store import FeatureStore

DELAY = timedelta(minutes=30)
KEY_TYPES = {
    "int": {"customer": DType.INT64},
    "string": {"customer": DType.STRING},
    "composite": {"region": DType.INT32, "customer": DType.STRING},
}


def define(shape: Shape) -> list[FeatureView]:
    """As many views as the shape has, each with its share of the features."""
    entity = Entity(name="customer", join_keys=KEY_TYPES[shape.key])
    source = BatchSource(name="events", path="events", format="parquet", timestamp_field="event_timestamp")
    each = shape.features // shape.views
    return [
        FeatureView(
            name=f"view_{number}",
            entities=[entity],
            sources=[source],
            transform=_passes_on,
            features=[Feature(f"f{place:03d}", DType.FLOAT32) for place in range(number * each, (number + 1) * each)],
            lookback=timedelta(days=LOOKBACK_DAYS),
            schedule="@daily",
            delay=DELAY,
            owner="team@example.com",
            description="values to join",
        )
        for number in range(shape.views)
    ]


def places(folder: Path) -> tuple[str, str]:
    """Where a folder of data keeps its warehouse and its registry."""
    return str(folder.absolute() / "warehouse"), f"sqlite:///{folder.absolute() / 'registry.db'}"


def open_store(warehouse: str, registry: str) -> FeatureStore:
    """The feature store over a folder of data, set up as conf/local.yaml does it."""
    online = OnlineSettings(type="memory")
    return FeatureStore(
        Settings(env="bench", warehouse=warehouse, registry=registry, spark=our_settings(), online=online)
    )


def _passes_on(events: Any) -> Any:
    """The rows of a log are written as they are."""
    return events
