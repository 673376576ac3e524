"""On-demand views in the registry: versions that follow what they read, and requests that find them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from features import DType, Entity, Feature, FeatureService, GoldenRow, RequestSource, on_demand
from features.core.applied_on_demand import check_on_demand_code
from features.core.request import compile_request
from features.errors import DefinitionError, NotFoundError, UsageError

PAYMENT = RequestSource(name="payment", schema={"price": DType.FLOAT64})
GOLDEN = GoldenRow({"amount": 2.0, "price": 3.0}, {"ratio": 1.5})


def ratio(batch):
    """How a price compares."""
    return batch.assign(ratio=batch["price"] / batch["amount"])


def other_ratio(batch):
    return batch.assign(ratio=batch["price"] / (batch["amount"] * 1.0))


def make(function=ratio, **changes):
    given = {
        "inputs": ["last_payment:amount", PAYMENT],
        "returns": [Feature("ratio", DType.FLOAT64)],
        "golden": [GOLDEN],
        "name": "checks",
        **changes,
    }
    return on_demand(**given)(function)


@pytest.fixture
def both(define, make_view):
    """A view of those fields, an on-demand view, and services."""

    def definitions(*services, code=None, **changes):
        derived = make() if code is None else code
        return replace(define(make_view(**changes), *services), on_demand={derived.name: derived})

    return definitions


def kinds(plan):
    return [(change.kind, change.object, change.name, change.version) for change in plan.changes]


def test_the_first_apply_registers_it_after_what_it_reads_and_the_second_does_nothing(registry, both):
    definitions = both(FeatureService(name="fraud", features=["checks", "last_payment"]))

    planned, applied, again = registry.plan(definitions), registry.apply(definitions), registry.apply(definitions)

    assert kinds(planned) == [
        ("create", "feature view", "last_payment", 1),
        ("create", "on-demand feature view", "checks", 1),
        ("create", "feature service", "fraud", 1),
    ]
    assert planned.changes[1].details == (
        "inputs: last_payment:amount float64 of version 1, price float64 of the request",
        "features: ratio float64",
    )
    assert (applied, again.is_empty) == (planned, True)
    assert [view.reference for view in registry.on_demand_views()] == ["checks@1"]
    view = registry.on_demand_view("checks")
    assert (view.description, view.mode, dict(view.request_columns)) == (
        "How a price compares.",
        "pandas",
        PAYMENT.schema,
    )
    check_on_demand_code(make(), reference="", wanted_hash=view.definition_hash, pinned_inputs=view.pinned_inputs)


def test_other_code_is_a_new_version_and_old_code_restores_the_old(registry, both):
    registry.apply(both())

    plan = registry.apply(both(code=make(other_ratio)))
    back = registry.apply(both())

    assert kinds(plan) == [("new version", "on-demand feature view", "checks", 2)]
    assert plan.changes[0].details == ("function: its code changed",)
    assert "once they have this code" in plan.changes[0].next_steps[0]
    assert kinds(back) == [("restore", "on-demand feature view", "checks", 1)]


def test_a_new_version_of_what_it_reads_is_one_of_it_and_the_old_keeps_reading_the_old(registry, both):
    registry.apply(both())

    plan = registry.apply(both(delay=timedelta(0)))

    assert kinds(plan) == [
        ("new version", "feature view", "last_payment", 2),
        ("new version", "on-demand feature view", "checks", 2),
    ]
    assert plan.changes[1].details == ("input last_payment:amount: float64 of version 1 -> float64 of version 2",)
    assert plan.changes[1].next_steps == ()
    assert registry.on_demand_view("checks").pinned_inputs == ("last_payment@2:amount float64",)
    old = registry.on_demand_view("checks@1")
    assert old.pinned_inputs == ("last_payment@1:amount float64",)
    # The code is still that of both versions.
    check_on_demand_code(make(), reference="", wanted_hash=old.definition_hash, pinned_inputs=old.pinned_inputs)


def test_an_input_may_pin_a_version(registry, both):
    registry.apply(both())
    pinned = make(inputs=["last_payment@1:amount", PAYMENT])

    plan = registry.apply(both(code=pinned, delay=timedelta(0)))

    # What is read is the same as before, so the version is; that the code names it is kept beside.
    assert kinds(plan) == [
        ("new version", "feature view", "last_payment", 2),
        ("update in place", "on-demand feature view", "checks", 1),
    ]
    assert plan.changes[1].details == ("pins: none -> ['last_payment:amount']",)
    assert registry.on_demand_view("checks").pinned_inputs == ("last_payment@1:amount float64",)


def test_changes_of_inputs_and_features_are_told(registry, both):
    registry.apply(both())
    wider = RequestSource(name="payment", schema={"price": DType.FLOAT32, "fee": DType.FLOAT64})
    features = [Feature("ratio", DType.FLOAT64), Feature("share", DType.BOOL)]
    code = make(
        lambda batch: batch.assign(ratio=batch["amount"], share=None), inputs=[wider, "last_payment:amount"],
        returns=features, golden=[],
    )  # fmt: skip

    plan = registry.plan(both(code=code))

    assert set(plan.changes[0].details) == {
        "input fee: added",
        "input price: float64 of the request -> float32 of the request",
        "feature share: added",
        "function: its code changed",
    }


def test_owner_description_and_units_change_in_place(registry, both):
    registry.apply(both())
    code = make(owner="ann", description="new", returns=[Feature("ratio", DType.FLOAT64, unit="1")], golden=[])

    plan = registry.apply(both(code=code))

    assert kinds(plan) == [("update in place", "on-demand feature view", "checks", 1)]
    assert plan.changes[0].details == (
        "description: 'How a price compares.' -> 'new'",
        "owner: '' -> 'ann'",
        "feature ratio: unit: none -> '1'",
    )
    view = registry.on_demand_view("checks")
    assert (view.owner, view.features[0].unit) == ("ann", "1")


def test_what_left_the_code_is_kept_but_not_listed(registry, both, define, make_view):
    registry.apply(both())

    plan = registry.apply(define(make_view()))

    assert kinds(plan) == [("remove", "on-demand feature view", "checks", 1)]
    assert registry.on_demand_views() == ()
    assert registry.on_demand_view("checks@1").reference == "checks@1"
    with pytest.raises(NotFoundError, match="no longer in code"):
        registry.resolve(["checks"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"golden": [GoldenRow({"amount": 2.0, "price": 3.0}, {"ratio": 2.0})]}, "got 1.5, wanted 2.0"),
        ({"inputs": ["last_payment@2:amount", PAYMENT]}, "has no version 2; known: 1"),
        ({"inputs": ["last_payment@1:amuont", PAYMENT], "golden": []}, "did you mean 'amount'"),
    ],
)
def test_plan_and_apply_refuse_what_cannot_be_and_change_nothing(registry, both, changes, told):
    definitions = both(code=make(**changes))

    for verb in (registry.plan, registry.apply):
        with pytest.raises(DefinitionError, match="checks") as error:
            verb(definitions)
        assert told in str(error.value)
    assert registry.views() == ()


def test_golden_rows_are_judged_again_when_nothing_else_changed(registry, both):
    registry.apply(both())

    with pytest.raises(DefinitionError, match=r"wanted 9\.0"):
        registry.apply(both(code=make(golden=[GoldenRow(GOLDEN.inputs, {"ratio": 9.0})])))


def test_a_request_finds_computed_features_and_what_they_are_computed_of(registry, both):
    registry.apply(both(FeatureService(name="fraud", features=["checks:ratio", "last_payment:amount"])))

    for features in ("fraud", ["checks", "last_payment@1:amount"]):
        compiled = compile_request(registry.resolve(features))
        assert compiled.columns == ("ratio", "amount")
        assert [s.view.reference for s in compiled.selections] == ["last_payment@1"]
        assert compiled.given_columns == {"customer": DType.STRING, "price": DType.FLOAT64}
    assert [item.view.reference for item in registry.resolve("checks")] == ["checks@1"]


@pytest.mark.parametrize(
    ("features", "error", "told"),
    [
        (["checks:ratoi"], NotFoundError, "no feature in checks@1 'ratoi'; did you mean 'ratio'"),
        (["checks@7"], NotFoundError, "no version 7 of on-demand feature view 'checks'; known: checks@1"),
        (["check"], NotFoundError, "did you mean 'checks'"),
        ("check", NotFoundError, "did you mean 'checks'"),
        (["checks", "checks:ratio"], UsageError, "asked twice"),
    ],
)
def test_a_request_for_what_is_not_there_is_told(registry, both, features, error, told):
    registry.apply(both())

    with pytest.raises(error, match=told):
        registry.resolve(features)


def test_a_name_may_become_a_view_after_it_was_an_on_demand_view(registry, both, define, make_view):
    registry.apply(both())

    registry.apply(define(make_view(), make_view(name="checks")))

    assert [item.feature.name for item in registry.resolve(["checks"])] == ["amount"]


def test_views_of_other_entities_may_be_read_together(registry, define, make_view):
    shop = Entity(name="shop", join_keys={"shop": DType.INT64})
    turnover = make_view(name="turnover", entities=[shop], features=[Feature("sales", DType.FLOAT64)])
    code = make(
        lambda b: b.assign(ratio=b["amount"] / b["sales"]), inputs=["last_payment:amount", "turnover:sales"], golden=[]
    )

    registry.apply(replace(define(make_view(), turnover), on_demand={"checks": code}))

    assert compile_request(registry.resolve("checks")).join_keys == {"customer": DType.STRING, "shop": DType.INT64}
