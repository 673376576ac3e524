"""Applied views for tests of stores and serving, which care for keys, types and lookback alone."""

from collections.abc import Mapping
from datetime import timedelta

from features import DType, Entity, Feature
from features.core.applied import AppliedView, RequestedFeature
from tests.builders import apply_view, make_view


def applied_view(
    name: str = "spend",
    *,
    keys: Mapping[str, DType] | None = None,
    features: Mapping[str, DType] | None = None,
    lookback: timedelta | None = timedelta(days=2),
    version: int = 1,
    description: str = "what customers spend",
) -> AppliedView:
    """A view of one entity."""
    view = make_view(
        name=name,
        entities=[Entity(name="customer", join_keys=keys or {"customer": DType.STRING})],
        features=[Feature(feature, dtype) for feature, dtype in (features or {"amount": DType.FLOAT64}).items()],
        lookback=lookback,
        description=description,
    )
    return apply_view(view, version)


def requested(view: AppliedView, *names: str) -> tuple[RequestedFeature, ...]:
    """Those features of a view, in that order, or all of them."""
    return tuple(RequestedFeature(view, view.feature(name)) for name in names or [f.name for f in view.features])


SPEND = applied_view("spend", features={"amount": DType.FLOAT64, "visits": DType.INT64}, lookback=timedelta(hours=24))
ROUTE = applied_view(
    "route", keys={"origin": DType.STRING, "stop": DType.INT32}, features={"minutes": DType.FLOAT32}, lookback=None
)
