"""The view whose log has one layout or another, and the join that reads it."""

from pathlib import Path
from typing import Any

from benchmarks.layout.shape import DAY, Shape, of_store
from benchmarks.sink import WRITTEN, parquet_sink
from benchmarks.spark import our_settings
from features import BatchSource, DType, Entity, Feature, FeatureView
from features.config import OnlineSettings, Settings
from features.core.discovery import Definitions
from features.engine.as_of import AsOf, plan_join
from features.store import FeatureStore

NAME = "measured"
_LOOKBACK_DAYS = 7


def define(shape: Shape) -> FeatureView:
    """A view that passes its source on."""
    events = BatchSource(
        name="events",
        path=str(shape.source.absolute()),
        format="parquet",
        timestamp_field="event_timestamp",
        partition_field="day",
    )
    return FeatureView(
        name=NAME,
        entities=[Entity(name="customer", join_keys={"customer": DType.INT64})],
        sources=[events],
        transform=_passes_on,
        features=[Feature(name, DType.FLOAT32) for name in shape.names],
        lookback=_LOOKBACK_DAYS * DAY,
        schedule="@daily",
        delay=DAY / 48,
        owner="team@example.com",
        description="values of each day",
    )


def open_store(folder: Path, shape: Shape) -> FeatureStore:
    """The feature store of a folder; the view is applied."""
    store = FeatureStore(
        Settings(
            env="bench",
            warehouse=str(folder.absolute() / "warehouse"),
            registry=f"sqlite:///{folder.absolute() / 'registry.db'}",
            spark=our_settings(),
            online=OnlineSettings(type="memory"),
        )
    )
    store.registry.apply(Definitions(views={NAME: define(shape)}, services={}))
    return store


def join(folder: str, out: str) -> dict[str, Any]:
    """The spine with all features, as Parquet."""
    shape, _ = of_store(folder)
    with open_store(Path(folder), shape) as store:
        asked = store.get_historical_features(entity_df=str(shape.spine_path.absolute()), features=[NAME])
        plan = plan_join(asked.spine, [AsOf(pin=pin) for pin in asked.pins])
        Path(out).mkdir(parents=True)
        written = plan.to_tasks(parquet_sink(out), WRITTEN).collect()
        return {"rows": sum(row.rows for row in written)}


def _passes_on(events: Any) -> Any:
    """The rows of the source are those of the view."""
    return events
