"""The view that is loaded, and a feature store that holds it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.load.shape import Shape, keyspace, read_node
from benchmarks.spark import our_settings
from features import BatchSource, DType, Entity, Feature, FeatureView
from features.config import LoadSettings, OnlineSettings, Settings
from features.store import FeatureStore

KEY = "customer"
VIEW = "scores"
_MIXED = (
    DType.FLOAT64, DType.STRING, DType.INT64, DType.FLOAT32, DType.BOOL, DType.TIMESTAMP, DType.DECIMAL(12, 2),
    DType.INT32, DType.DATE, DType.ARRAY(DType.FLOAT32),
)  # fmt: skip


def types(shape: Shape) -> dict[str, DType]:
    """The features by name."""
    kinds = {"floats": (DType.FLOAT32,), "doubles": (DType.FLOAT64,), "mixed": _MIXED}[shape.types]
    return {f"f{place:03d}": kinds[place % len(kinds)] for place in range(shape.features)}


def define(shape: Shape) -> FeatureView:
    """One view of one entity."""
    return FeatureView(
        name=VIEW,
        entities=[Entity(name=KEY, join_keys={KEY: DType.INT64})],
        sources=[BatchSource(name="events", path="events", format="parquet", timestamp_field="event_timestamp")],
        transform=_passes_on,
        features=[Feature(name, dtype) for name, dtype in types(shape).items()],
        lookback=None,
        schedule="@daily",
        delay=timedelta(minutes=30),
        owner="team@example.com",
        description="values to load",
    )


def warehouse(folder: str | Path, variant: str) -> str:
    """Where a variant of the log is."""
    return str(Path(folder).absolute() / variant)


def open_store(folder: str | Path, variant: str, *, contender: str, path: str) -> FeatureStore:
    """The feature store over a variant of the log, online in the contender's keyspace, written by a path."""
    port, jmx_port = read_node()
    online = OnlineSettings(
        port=port,
        keyspace=keyspace(contender, folder),
        consistency="LOCAL_ONE",
        timeout_seconds=30,
        load=LoadSettings(path=path, jmx_port=jmx_port),
    )
    registry = f"sqlite:///{Path(folder).absolute() / f'registry-{contender}.db'}"
    return FeatureStore(
        Settings(
            env="bench",
            warehouse=warehouse(folder, variant),
            registry=registry,
            spark=our_settings(),
            online=online,
        )
    )


def _passes_on(events: Any) -> Any:
    return events
