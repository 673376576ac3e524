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
