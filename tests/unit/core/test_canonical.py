import json
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from features import BatchSource, DType, Entity, Expect, Feature, FeatureService, FeatureView
from features.core.applied import AppliedView
from features.core.canonical import (
    applied_view,
    canonical,
    definition_hash,
    service_definition,
    service_metadata,
    view_definition,
    view_metadata,
)
from features.core.definitions import ViewSpec


def stored(view: FeatureView, version: int = 1) -> AppliedView:
    """The view after a registry wrote and read it."""
    definition, metadata = (json.loads(canonical(part)) for part in (view_definition(view), view_metadata(view)))
    return applied_view(definition, metadata, version=version)


def passes_on(flights: Any, weather: Any) -> Any:
    return flights.join(weather, "origin")


# No field has its default, so that one that is not stored shows.
FULL = FeatureView(
    name="delays",
    entities=[
        Entity(name="route", join_keys={"origin": DType.STRING, "dest": DType.INT32}, description="ä", owner="r@x"),
        Entity(name="plane", join_keys={"tail": DType.DECIMAL(9, 0)}),
    ],
    sources=[
        BatchSource(
            name="flights",
            path="data/flights",
            format="csv",
            timestamp_field="at",
            created_timestamp_field="loaded",
            timezone="Europe/Berlin",
            null_timestamp="drop",
            history=timedelta(days=7, microseconds=1),
            partition_field="day",
        ),
        BatchSource(name="weather", path="w", format="delta", timestamp_field="t", created_timestamp_field="c"),
    ],
    transform=passes_on,
    features=[
        Feature(
            "mean", DType.FLOAT64, unit="min", description="d", expect=Expect.not_null(), tags={"b": "1", "a": "2"}
        ),
        Feature("vector", DType.VECTOR(3)),
        Feature("list", DType.ARRAY(DType.TIMESTAMP)),
    ],
    lookback=timedelta(days=2),
    schedule="0 6 * * 1-5",
    delay=timedelta(minutes=30, microseconds=5),
    description="delays",
    owner="team@example.com",
    retention=timedelta(days=30),
    reprocess=3,
    quarantine_limit=0.25,
    available="source",
    tags={"tier": "gold"},
)


@pytest.mark.parametrize("field", [f.name for f in fields(ViewSpec)])
def test_what_is_stored_is_the_view_field_by_field(field: str) -> None:
    assert getattr(stored(FULL), field) == getattr(FULL, field)


def test_keys_and_features_are_stored_in_order() -> None:
    applied = stored(FULL)

    assert list(applied.join_keys) == ["origin", "dest", "tail"]
    assert [f.name for f in applied.features] == ["mean", "vector", "list"]


def test_a_version_knows_its_number_and_hash() -> None:
    applied = stored(FULL, version=7)

    assert (applied.version, applied.reference, applied.log_path, applied.online_table) == (
        7, "delays@7", "delays/v7", "delays__v7"
    )  # fmt: skip
    assert applied.definition_hash == definition_hash(view_definition(FULL))


@pytest.mark.parametrize(
    ("dtype", "rule"),
    [
        (DType.INT64, Expect.between(-(2**63), 2**63 - 1, severity="quarantine")),
        (DType.FLOAT64, Expect.between(0.1, float("inf"), severity="warn")),
        (DType.FLOAT64, Expect.between(1, 1.0)),
        (DType.DECIMAL(38, 10), Expect.between(Decimal("-0.10"), Decimal("1E+5"))),
        (DType.DATE, Expect.between(date(1, 1, 1), date(9999, 12, 31))),
        (
            DType.TIMESTAMP,
            Expect.between(datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
        ),
        (DType.BOOL, Expect.in_set([True])),
        (DType.INT32, Expect.in_set([1, 0])),
        (DType.STRING, Expect.in_set(["b", "ä", ""])),
        (DType.BYTES, Expect.in_set([b"", b"\x00\xff"])),
        (DType.STRING, Expect.matches(r"^\d+\"é$")),
        (DType.STRING, Expect.not_null()),
        (DType.STRING, Expect.unique()),
    ],
    ids=str,
)
def test_expectations_are_stored_with_the_types_of_their_arguments(dtype: DType, rule: Any) -> None:
    view = FeatureView(
        name="v",
        entities=[Entity(name="e", join_keys={"k": DType.STRING})],
        sources=[BatchSource(name="flights", path="p", format="csv", timestamp_field="t")],
        transform=passes_on,
        features=[Feature("f", dtype, expect=rule)],
        lookback=None,
        schedule=None,
        delay=timedelta(0),
        description="d",
        owner="o",
    )

    (feature,) = stored(view).features
    (back,) = feature.expectations

    assert back == rule
    assert [(type(a), repr(a)) for a in back.arguments] == [(type(a), repr(a)) for a in rule.arguments] or isinstance(
        rule.arguments[0], datetime
    )


def test_equal_content_has_equal_text() -> None:
    assert canonical({"b": [1, "ä"], "a": None}) == '{"a":null,"b":[1,"ä"]}'
    assert canonical({"a": None, "b": [1, "ä"]}) == '{"a":null,"b":[1,"ä"]}'


def test_the_order_of_a_services_features_is_the_order_of_its_columns() -> None:
    one = FeatureService(name="s", features=["a", "b"], description="d", owner="o", tags={"t": "1"})
    other = FeatureService(name="s", features=["b", "a"])

    assert definition_hash(service_definition(one)) != definition_hash(service_definition(other))
    assert definition_hash(service_definition(one)) == definition_hash(
        service_definition(FeatureService(name="s", features=["a", "b"]))
    )
    assert service_metadata(one) == {"description": "d", "owner": "o", "tags": {"t": "1"}}
