from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from typing import Any

import pytest

from features import BatchSource, DType, Entity, Expect, Feature, FeatureService, FeatureView
from features.errors import DefinitionError

DAY = timedelta(days=1)


def entity(**changes: Any) -> Entity:
    return Entity(**{"name": "customer", "join_keys": {"customer": DType.STRING}, **changes})


def source(**changes: Any) -> BatchSource:
    given = {"name": "payments", "path": "data", "format": "parquet", "timestamp_field": "paid_at"}
    return BatchSource(**{**given, **changes})


def feature(**changes: Any) -> Feature:
    return Feature(**{"name": "amount", "dtype": DType.FLOAT64, **changes})


def view(**changes: Any) -> FeatureView:
    given = {
        "name": "spend",
        "entities": [entity()],
        "sources": [source()],
        "features": [feature()],
        "transform": lambda payments: payments,
        "lookback": None,
        "schedule": "@daily",
        "delay": timedelta(minutes=30),
        "owner": "team@example.com",
        "description": "what customers spend",
    }
    return FeatureView(**{**given, **changes})


def service(**changes: Any) -> FeatureService:
    return FeatureService(**{"name": "fraud", "features": ["spend"], **changes})


@pytest.mark.parametrize(
    ("make", "field", "value", "message"),
    [
        (entity, "name", "Customer", "Entity 'Customer': name 'Customer' must be lower case letters, digits and _"),
        (entity, "name", 5, "Entity 5: name must be a string, got int"),
        (entity, "name", "a" * 49, "and have at most 48 characters"),
        (entity, "name", "a__b", "must not hold __ or end with _"),
        (entity, "name", "a_", "must not hold __ or end with _"),
        (entity, "join_keys", {}, "Entity 'customer': join_keys must hold at least one column"),
        (entity, "join_keys", ["customer"], "Entity 'customer': join_keys must be a mapping with string keys"),
        (entity, "join_keys", {1: DType.INT32}, "Entity 'customer': join_keys must be a mapping with string keys"),
        (entity, "join_keys", {"Key": DType.INT32}, "Entity 'customer': join_keys 'Key' must be lower case"),
        (entity, "join_keys", {"event_timestamp": DType.TIMESTAMP}, "join_keys 'event_timestamp' is a column of the"),
        (entity, "join_keys", {"k": DType.FLOAT32}, "join_keys ['k'] must be a DType that is no float and no list"),
        (entity, "join_keys", {"k": DType.ARRAY(DType.INT32)}, "must be a DType that is no float and no list"),
        (entity, "join_keys", {"k": "string"}, "must be a DType that is no float and no list, got string"),
        (entity, "description", None, "Entity 'customer': description must be a string, got NoneType"),
        (entity, "owner", 5, "Entity 'customer': owner must be a string, got int"),
        (source, "name", "1st", "BatchSource '1st': name '1st' must be"),
        (source, "path", " ", "BatchSource 'payments': path must not be empty"),
        (
            source,
            "format",
            "orc",
            "BatchSource 'payments': format must be one of 'parquet', 'delta', 'csv', 'json', got",
        ),
        (source, "timestamp_field", "", "BatchSource 'payments': timestamp_field must not be empty"),
        (source, "created_timestamp_field", "", "BatchSource 'payments': created_timestamp_field must not be empty"),
        (source, "partition_field", 3, "BatchSource 'payments': partition_field must be a string, got int"),
        (source, "timezone", "Mars/Base", "BatchSource 'payments': timezone 'Mars/Base' is not an IANA time zone"),
        (source, "timezone", "Europe", "BatchSource 'payments': timezone 'Europe' is not an IANA time zone"),
        (source, "timezone", "../UTC", "BatchSource 'payments': timezone '../UTC' is not an IANA time zone"),
        (source, "timezone", "", "BatchSource 'payments': timezone must not be empty"),
        (source, "null_timestamp", "keep", "BatchSource 'payments': null_timestamp must be one of 'refuse', 'drop'"),
        (source, "history", -DAY, "BatchSource 'payments': history must be zero or more, got -1 day"),
        (source, "history", 7, "BatchSource 'payments': history must be a timedelta, got int"),
        (feature, "name", "é", "Feature 'é': name 'é' must be lower case letters"),
        (feature, "name", "created_timestamp", "Feature 'created_timestamp': name is a column of the feature store"),
        (feature, "name", "available_timestamp", "name is a column of the feature store itself"),
        (feature, "name", "_op", "Feature '_op': name '_op' must"),
        (feature, "dtype", "float", "Feature 'amount': dtype must be a DType, such as DType.FLOAT64, got 'float'"),
        (feature, "unit", "", "Feature 'amount': unit must not be empty"),
        (feature, "description", None, "Feature 'amount': description must be a string"),
        (feature, "expect", ["not_null"], "Feature 'amount': expect must hold Expectation only, got str 'not_null'"),
        (feature, "expect", "not_null", "Feature 'amount': expect must be a list of Expectation, got str"),
        (feature, "expect", [Expect.matches("a")], "Feature 'amount': expect matches('a') needs a STRING feature"),
        (feature, "tags", {"a": 1}, "Feature 'amount': tags['a'] must be a string, got int"),
        (feature, "tags", ["a"], "Feature 'amount': tags must be a mapping with string keys"),
        (view, "name", "a" * 41, "and have at most 40 characters"),
        (view, "entities", [], "FeatureView 'spend': entities must hold at least one Entity"),
        (view, "entities", entity(), "FeatureView 'spend': entities must be a list of Entity, got Entity"),
        (view, "entities", [entity(), entity()], "FeatureView 'spend': entities holds 'customer' twice"),
        (
            view,
            "entities",
            [entity(), entity(name="client")],
            "FeatureView 'spend': join keys of entities holds 'customer' twice",
        ),
        (view, "sources", [], "FeatureView 'spend': sources must hold at least one BatchSource"),
        (
            view,
            "sources",
            ["payments"],
            "FeatureView 'spend': sources must hold BatchSource or JdbcSource or FunctionSource or ViewSource only",
        ),
        (view, "sources", [source(), source()], "FeatureView 'spend': sources holds 'payments' twice"),
        (view, "features", [], "FeatureView 'spend': features must hold at least one Feature"),
        (view, "features", [feature(), feature()], "FeatureView 'spend': features holds 'amount' twice"),
        (
            view,
            "features",
            [feature(name="customer")],
            "FeatureView 'spend': join keys and features holds 'customer' twice",
        ),
        (view, "transform", "sql", "FeatureView 'spend': transform must be a function, got str"),
        (view, "lookback", timedelta(0), "FeatureView 'spend': lookback must be positive, got 0:00:00"),
        (view, "lookback", 2, "FeatureView 'spend': lookback must be a timedelta, got int"),
        (view, "schedule", "@monthly", "FeatureView 'spend': schedule '@monthly' is neither a 5-field cron"),
        (view, "schedule", "0 0 30 2 *", "FeatureView 'spend': schedule '0 0 30 2 *' never ticks"),
        (view, "delay", -DAY, "FeatureView 'spend': delay must be zero or more"),
        (view, "delay", None, "FeatureView 'spend': delay must be a timedelta, got NoneType"),
        (view, "retention", DAY, "FeatureView 'spend': retention needs a lookback"),
        (view, "reprocess", -1, "FeatureView 'spend': reprocess must be a whole number of intervals, zero or more"),
        (view, "reprocess", True, "FeatureView 'spend': reprocess must be a whole number of intervals"),
        (
            view,
            "quarantine_limit",
            1.01,
            "FeatureView 'spend': quarantine_limit must be a number from 0 to 1, got 1.01",
        ),
        (view, "quarantine_limit", float("nan"), "FeatureView 'spend': quarantine_limit must be a number from 0 to 1"),
        (view, "quarantine_limit", "5%", "FeatureView 'spend': quarantine_limit must be a number from 0 to 1"),
        (view, "quarantine_limit", True, "FeatureView 'spend': quarantine_limit must be a number from 0 to 1"),
        (view, "available", "always", "FeatureView 'spend': available must be one of 'schedule', 'source'"),
        (view, "available", "source", "FeatureView 'spend': available =\"source\" keeps created times, so every"),
        (view, "description", "", "FeatureView 'spend': description must not be empty"),
        (view, "owner", " ", "FeatureView 'spend': owner must not be empty"),
        (view, "tags", {"a": None}, "FeatureView 'spend': tags['a'] must be a string, got NoneType"),
        (service, "name", "spend@2", "FeatureService 'spend@2': name 'spend@2' must be"),
        (service, "features", [], "FeatureService 'fraud': features must hold at least one str"),
        (service, "features", "spend", "FeatureService 'fraud': features must be a list of str, got str"),
        (service, "features", ["spend", "spend"], "FeatureService 'fraud': features holds 'spend' twice"),
        (service, "features", ["spend.amount"], "FeatureService 'fraud': 'spend.amount' is not a reference"),
        (service, "owner", None, "FeatureService 'fraud': owner must be a string"),
        (service, "tags", 1, "FeatureService 'fraud': tags must be a mapping"),
    ],
)
def test_what_is_not_valid_is_refused_by_definition_and_field(
    make: Callable[..., Any], field: str, value: Any, message: str
) -> None:
    with pytest.raises(DefinitionError) as raised:
        make(**{field: value})

    assert message in str(raised.value)


@pytest.mark.parametrize("make", [entity, source, feature, view, service])
def test_definitions_are_frozen(make: Callable[..., Any]) -> None:
    made = make()

    for field in fields(made):
        with pytest.raises((FrozenInstanceError, TypeError)):
            setattr(made, field.name, getattr(made, field.name))


def test_lists_and_dicts_are_copied_and_frozen() -> None:
    keys, tags, features = {"customer": DType.STRING}, {"tier": "gold"}, ["spend"]
    made = entity(join_keys=keys), view(tags=tags), service(features=features), feature(expect=[Expect.not_null()])
    keys["other"], tags["tier"] = DType.INT32, "tin"
    features.append("visits")

    assert made[0].join_keys == {"customer": DType.STRING}
    assert made[1].tags == {"tier": "gold"}
    assert made[2].features == ("spend",)
    assert made[3].expect == (Expect.not_null(),)
    assert [type(getattr(made[1], name)) for name in ("entities", "sources", "features")] == [tuple] * 3
    for mapping in (made[0].join_keys, made[1].tags, made[3].tags):
        with pytest.raises(TypeError):
            mapping["new"] = "x"


def test_one_rule_needs_no_list() -> None:
    assert feature(expect=Expect.not_null()).expectations == (Expect.not_null(),)


@pytest.mark.parametrize("kind", [Entity, BatchSource, FeatureView, FeatureService])
def test_fields_are_given_by_name(kind: type) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        kind("spend")


def test_a_feature_takes_its_name_and_type_by_position_and_no_more() -> None:
    assert Feature("amount", DType.FLOAT64) == feature()
    with pytest.raises(TypeError, match="positional argument"):
        Feature("amount", DType.FLOAT64, "EUR")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        *((entity, name) for name in ("name", "join_keys")),
        *((source, name) for name in ("name", "path", "format", "timestamp_field")),
        *((feature, name) for name in ("name", "dtype")),
        *(
            (view, name)
            for name in (
                "name", "entities", "sources", "lookback", "schedule", "delay", "owner", "description",
            )
        ),
        *((service, name) for name in ("name", "features")),
    ],
)  # fmt: skip
def test_required_fields_have_no_default(make: Callable[..., Any], field: str) -> None:
    made = make()
    given = {f.name: getattr(made, f.name) for f in fields(made) if f.name not in (field, "_")}

    with pytest.raises(TypeError, match=f"missing .*'{field}'"):
        type(made)(**given)


@pytest.mark.parametrize(
    ("retention", "is_enough"), [(timedelta(days=9), True), (timedelta(days=9) - timedelta(microseconds=1), False)]
)
def test_retention_covers_lookback_and_the_longest_history(retention: timedelta, is_enough: bool) -> None:
    sources = [source(history=2 * DAY), source(name="refunds", history=7 * DAY)]
    if is_enough:
        assert view(sources=sources, lookback=2 * DAY, retention=retention).history == 7 * DAY
    else:
        with pytest.raises(DefinitionError, match=r"retention must be at least lookback \+ history = 9 days"):
            view(sources=sources, lookback=2 * DAY, retention=retention)


def test_reprocess_needs_a_schedule() -> None:
    with pytest.raises(DefinitionError, match="FeatureView 'spend': reprocess needs a schedule"):
        view(schedule=None, reprocess=1)


def test_an_imported_log_needs_created_times_from_every_source() -> None:
    timed = source(created_timestamp_field="loaded_at")
    imported = view(sources=[timed], available="source")

    assert (imported.is_imported, imported.has_created_source) == (True, True)
    with pytest.raises(DefinitionError, match="every source needs a created_timestamp_field"):
        view(sources=[timed, source(name="refunds")], available="source")


def test_join_keys_keep_the_order_of_entities_and_of_their_columns() -> None:
    route = entity(name="route", join_keys={"origin": DType.STRING, "dest": DType.STRING})

    assert list(view(entities=[route, entity()]).join_keys) == ["origin", "dest", "customer"]
