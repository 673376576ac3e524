"""On-demand views for tests, and registries that hold them without a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from features import DType, Feature, GoldenRow, OnDemandFeatureView, RequestSource, on_demand
from features.core.applied import AppliedView
from features.core.applied_on_demand import (
    AppliedOnDemandView,
    DerivedFeature,
    Requested,
    applied_on_demand_view,
    on_demand_definition,
    on_demand_metadata,
    pin_inputs,
)
from features.core.references import Reference
from tests.applied_views import SPEND, requested
from tests.serving_registry import Catalogue

EVERY_DTYPE: Mapping[str, DType] = {
    "bool": DType.BOOL,
    "int32": DType.INT32,
    "int64": DType.INT64,
    "float32": DType.FLOAT32,
    "float64": DType.FLOAT64,
    "decimal": DType.DECIMAL(20, 4),
    "string": DType.STRING,
    "bytes": DType.BYTES,
    "date": DType.DATE,
    "timestamp": DType.TIMESTAMP,
    "strings": DType.ARRAY(DType.STRING),
    "timestamps": DType.ARRAY(DType.TIMESTAMP),
    "vector": DType.VECTOR(3),
}
EVERY_SOURCE = RequestSource(name="every", schema={f"{name}_in": dtype for name, dtype in EVERY_DTYPE.items()})
EVERY_FEATURE = [Feature(f"{name}_out", dtype) for name, dtype in EVERY_DTYPE.items()]


@on_demand(inputs=[EVERY_SOURCE], returns=EVERY_FEATURE, mode="arrow")
def passes_on_arrow(batch: Any) -> Any:
    """Every value as it came."""
    return batch.rename_columns([name.replace("_in", "_out") for name in batch.schema.names])


@on_demand(inputs=[EVERY_SOURCE], returns=EVERY_FEATURE)
def passes_on_pandas(batch: Any) -> Any:
    """Every value as it came."""
    return batch.rename(columns=lambda name: name.replace("_in", "_out"))


TRANSACTION = RequestSource(name="transaction", schema={"price": DType.FLOAT64, "paid_at": DType.TIMESTAMP})


@on_demand(
    inputs=["spend:amount", TRANSACTION],
    returns=[Feature("is_night", DType.BOOL), Feature("times_usual", DType.FLOAT64)],
    golden=[
        GoldenRow(
            {"amount": 2.0, "price": 3.0, "paid_at": datetime(2024, 1, 1, 23, tzinfo=UTC)},
            {"is_night": True, "times_usual": 1.5},
        ),
        GoldenRow(
            {"amount": None, "price": 3.0, "paid_at": datetime(2024, 1, 1, 12, tzinfo=UTC)},
            {"is_night": False, "times_usual": None},
        ),
    ],
    owner="fraud@example.com",
)
def checks(batch: Any) -> Any:
    """What is odd about a payment."""
    hour = batch["paid_at"].dt.hour
    batch["is_night"] = (hour >= 22) | (hour < 6)
    batch["times_usual"] = batch["price"] / batch["amount"]
    return batch


def apply_on_demand(code: OnDemandFeatureView, *views: AppliedView, version: int = 1) -> AppliedOnDemandView:
    """The on-demand view as a registry would hold it, reading these views."""
    by_name = {view.name: view for view in views}

    def find(reference: Reference) -> tuple[int, str]:
        view = by_name[reference.name]
        return view.version, str(view.feature(reference.feature or "").dtype)

    definition = pin_inputs(on_demand_definition(code), find)
    return applied_on_demand_view(
        definition, on_demand_metadata(code), version=version, find_view=lambda reference: by_name[reference.name]
    )


def derived(view: AppliedOnDemandView, *names: str) -> tuple[DerivedFeature, ...]:
    """Those features of an on-demand view, in that order, or all of them."""
    return tuple(DerivedFeature(view, view.feature(name)) for name in names or [f.name for f in view.features])


CHECKS = apply_on_demand(checks, SPEND)


@dataclass
class Known(Catalogue):
    """What references to on-demand views stand for, without a database."""

    known: Mapping[str, Sequence[Requested]] = field(
        default_factory=lambda: {
            "checks": derived(CHECKS),
            "checks:is_night": derived(CHECKS, "is_night"),
            "checks:times_usual": derived(CHECKS, "times_usual"),
            "spend:amount": requested(SPEND, "amount"),
            "spend:visits": requested(SPEND, "visits"),
        }
    )

    def resolve(self, features: str | Sequence[str]) -> Sequence[Requested]:
        """The features, in the order asked."""
        return self.resolve_serving(features).requested
