"""Small definitions and frames for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features import BatchSource, DType, Entity, Feature, FeatureView
from features.core.applied import AppliedView
from features.core.canonical import applied_view, view_definition, view_metadata
from features.core.discovery import Definitions
from features.materialization.build import Builder
from features.materialization.load import Loader
from features.materialization.results import BuildResult, LoadResult
from features.registry import Registry
from features.stores.base import Read
from features.stores.delta import FeatureLog
from features.stores.memory import MemoryStore

UTC_MICROS = pa.timestamp("us", tz="UTC")
CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING})


def at(text: str) -> datetime:
    """The instant of an ISO text, UTC where it names no zone."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def passes_on(payments: Any) -> Any:
    """A transform: every payment is a row."""
    return payments.withColumnRenamed("paid_at", "event_timestamp")


def payments_source(path: Path | str = "payments", **changes: Any) -> BatchSource:
    """A source of payments."""
    given = {"name": "payments", "path": str(path), "format": "parquet", "timestamp_field": "paid_at", **changes}
    return BatchSource(**given)


def make_view(**changes: Any) -> FeatureView:
    """A valid view; `changes` replace or add fields."""
    given = {
        "name": "last_payment",
        "entities": [CUSTOMER],
        "sources": [payments_source()],
        "features": [Feature("amount", DType.FLOAT64)],
        "transform": passes_on,
        "lookback": None,
        "schedule": "@daily",
        "delay": timedelta(minutes=30),
        "owner": "team@example.com",
        "description": "the last payment",
        **changes,
    }
    return FeatureView(**given)


def apply_view(view: FeatureView, version: int = 1) -> AppliedView:
    """The view as a registry would hold it."""
    return applied_view(view_definition(view), view_metadata(view), version=version)


def write_payments(path: Path, rows: Sequence[tuple[str | None, str | datetime | None, float | None]]) -> None:
    """Replace the source at `path` with rows of customer, paid_at, amount."""
    path.mkdir(parents=True, exist_ok=True)
    times = [at(when) if isinstance(when, str) else when for _, when, _ in rows]
    table = pa.table(
        {
            "customer": pa.array([row[0] for row in rows], pa.string()),
            "paid_at": pa.array(times, UTC_MICROS),
            "amount": pa.array([row[2] for row in rows], pa.float64()),
        }
    )
    pq.write_table(table, path / "payments.parquet")


class Workshop:
    """A feature store of a test's own, without conf: a registry in SQLite, a warehouse, and memory online."""

    def __init__(self, spark: Any, folder: Path) -> None:
        self.spark = spark
        self.warehouse = str(folder / "warehouse")
        self.registry_url = f"sqlite:///{folder / 'registry.db'}"
        self.registry = Registry.open(self.registry_url)
        self.online = MemoryStore()
        self.views: dict[str, FeatureView] = {}

    def apply(self, view: FeatureView) -> AppliedView:
        """Register a view, as `features apply` would."""
        self.views[view.name] = view
        self.registry.apply(Definitions(views=self.views, services={}))
        return self.registry.view(view.name)

    @property
    def builder(self) -> Builder:
        """What builds here."""
        return Builder(spark=self.spark, registry=self.registry, warehouse=self.warehouse)

    @property
    def loader(self) -> Loader:
        """What loads here."""
        return Loader(spark=self.spark, registry=self.registry, warehouse=self.warehouse, online=self.online)

    def build(self, view: FeatureView, start: str, end: str, **times: Any) -> BuildResult:
        """Build a range of days or instants."""
        return self.builder.build(view, self.registry.view(view.name), at(start), at(end), **times)

    def load(self, view: FeatureView, *, full: bool = False) -> LoadResult:
        """Load what was built."""
        return self.loader.load(self.registry.view(view.name), full=full)

    def log(self, view: FeatureView) -> FeatureLog:
        """The offline log of the current version."""
        return FeatureLog(self.spark, self.warehouse, self.registry.view(view.name))

    def rows(self, view: FeatureView) -> list[tuple[Any, ...]]:
        """All rows of the log, in the order of its columns, times as ISO text, sorted."""
        log = self.log(view)
        snapshot = log.snapshot()
        if snapshot is None:
            return []
        table = log.read(snapshot).select(*log.columns).toArrow()
        return sorted((tuple(_shown(value) for value in row.values()) for row in table.to_pylist()), key=repr)

    def served(self, view: FeatureView, *keys: tuple[Any, ...]) -> list[tuple[Any, ...] | None]:
        """The values online, by key."""
        applied = self.registry.view(view.name)
        names = tuple(f.name for f in applied.features)
        (found,) = self.online.read([Read(view=applied, features=names, keys=keys)])
        return [None if row is None else row.values for row in found]


def _shown(value: Any) -> Any:
    return value.astimezone(UTC).isoformat().removesuffix("+00:00") if isinstance(value, datetime) else value
