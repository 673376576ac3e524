"""What requests stand for online, and what serving processes report."""

from dataclasses import replace
from datetime import timedelta

import pytest

from features import DType, Entity, Feature, FeatureService, RequestSource, on_demand
from features.core.applied_on_demand import check_on_demand_code
from features.core.request import compile_request
from features.core.rollout import ServingState
from features.core.rollout_counts import ShadowCount, ViewRead
from features.errors import NotFoundError, RefusedError, UsageError
from features.registry.clock import utc_now

TARGET = "cassandra://127.0.0.1:9042/features"
AMOUNT, CURRENCY = Feature("amount", DType.FLOAT64), Feature("currency", DType.STRING)
PAYMENT = RequestSource(name="payment", schema={"price": DType.FLOAT64})


def ratio(batch):
    return batch.assign(ratio=batch["price"] / batch["amount"])


def price(batch):
    return batch.assign(ratio=batch["price"])


def derived(*inputs, function=ratio):
    """An on-demand view of those inputs."""
    returns = [Feature("ratio", DType.FLOAT64)]
    return on_demand(inputs=[*inputs, PAYMENT], returns=returns, name="checks")(function)


@pytest.fixture
def apply(registry, define, make_view):
    """Applies a version of last_payment with these features, beside others, and loads it."""

    def make(*others, features=(AMOUNT,), code=None, **changes):
        definitions = define(make_view(features=list(features), **changes), *others)
        registry.apply(replace(definitions, on_demand={"checks": code} if code else {}))
        view = registry.view("last_payment")
        registry.move_checkpoint(view, target=TARGET, position=1)
        return view

    return make


def asked(found):
    return [f"{item.view.reference}:{item.feature.name}" for item in found.requested]


def test_a_bare_name_is_live_and_a_version_is_what_it_says(registry, apply):
    apply()
    apply(features=[AMOUNT, CURRENCY])

    assert asked(registry.resolve_serving("last_payment")) == ["last_payment@1:amount"]
    both = registry.resolve_serving(["last_payment:amount", "last_payment@2:currency"])
    assert asked(both) == ["last_payment@1:amount", "last_payment@2:currency"]
    # Training and builds go on with what the code defines.
    assert [item.view.version for item in registry.resolve("last_payment")] == [2, 2]
    registry.promote("last_payment@2", target=TARGET)
    assert asked(registry.resolve_serving("last_payment")) == ["last_payment@2:amount", "last_payment@2:currency"]


def test_a_request_is_of_the_state_it_is_given(registry, apply):
    apply()
    apply(delay=timedelta(0))
    before = registry.serving_state()
    registry.promote("last_payment@2", target=TARGET)

    assert asked(registry.resolve_serving("last_payment", before)) == ["last_payment@1:amount"]
    assert registry.resolve_serving("last_payment", before).generation == before.generation
    # A view that is newer than a server's state is answered all the same.
    assert asked(registry.resolve_serving("last_payment", ServingState(generation=1))) == ["last_payment@2:amount"]


def test_a_canary_is_offered_where_it_can_answer_in_lives_place(registry, apply):
    apply(features=[AMOUNT, CURRENCY])
    apply(features=[AMOUNT, Feature("country", DType.STRING)])
    registry.promote("last_payment@2", target=TARGET, share=500)

    offered = registry.resolve_serving("last_payment:amount")
    lacking = registry.resolve_serving("last_payment")

    assert offered.candidates["last_payment"].reference == "last_payment@2"
    assert (offered.rollouts["last_payment"].share, asked(offered)) == (500, ["last_payment@1:amount"])
    assert lacking.candidates == {}
    # Rows of one version must not answer for a pin of the other.
    assert registry.resolve_serving(["last_payment:amount", "last_payment@1:currency"]).candidates == {}
    pinned = registry.resolve_serving("last_payment@1")
    assert (pinned.rollouts, pinned.candidates) == ({}, {})


def test_a_canary_of_other_types_or_keys_is_not_offered(registry, apply):
    apply()
    apply(features=[Feature("amount", DType.STRING)])
    registry.promote("last_payment@2", target=TARGET, share=500, force=True)
    assert registry.resolve_serving("last_payment").candidates == {}
    registry.rollback("last_payment", target=TARGET)

    apply(entities=[Entity(name="account", join_keys={"account": DType.INT64})])
    registry.promote("last_payment@3", target=TARGET, share=500, force=True)
    assert registry.resolve_serving("last_payment").candidates == {}


def test_a_shadow_is_read_beside_even_where_it_lacks_features(registry, apply):
    apply(features=[AMOUNT, CURRENCY])
    apply()
    registry.set_shadow("last_payment@2", target=TARGET)

    found = registry.resolve_serving("last_payment")

    assert found.shadows["last_payment"].reference == "last_payment@2"
    assert asked(found) == ["last_payment@1:amount", "last_payment@1:currency"]


def test_a_service_waits_for_the_promotion_of_what_it_asks(registry, apply):
    apply(FeatureService(name="fraud", features=["last_payment:amount"]))
    wider = FeatureService(name="fraud", features=["last_payment:amount", "last_payment:currency"])
    apply(wider, features=[AMOUNT, CURRENCY])

    assert asked(registry.resolve_serving("fraud")) == ["last_payment@1:amount"]
    with pytest.raises(NotFoundError, match="no feature in last_payment@1 'currency'"):
        registry.resolve_serving("fraud@2")
    registry.promote("last_payment@2", target=TARGET)
    assert asked(registry.resolve_serving("fraud")) == ["last_payment@2:amount", "last_payment@2:currency"]


def test_a_service_does_not_fall_back_where_nothing_is_to_come(registry, apply):
    apply(FeatureService(name="fraud", features=["last_payment:amount"]), features=[AMOUNT, CURRENCY])
    apply(FeatureService(name="fraud", features=["last_payment:currency"]), features=[AMOUNT, CURRENCY])
    apply(FeatureService(name="fraud", features=["last_payment@1:currency", "last_payment"]), features=[AMOUNT])
    registry.promote("last_payment@2", target=TARGET, force=True)
    assert asked(registry.resolve_serving("fraud")) == ["last_payment@1:currency", "last_payment@2:amount"]

    with pytest.raises(NotFoundError, match="no feature in last_payment@2 'currency'"):
        registry.resolve_serving("fraud@2")


def test_on_demand_features_are_computed_of_live_versions(registry, apply):
    code = derived("last_payment:amount")
    apply(code=code)
    apply(code=code, delay=timedelta(0))
    registry.promote("last_payment@2", target=TARGET, share=500)

    found = registry.resolve_serving(["checks", "last_payment"])

    (view, _) = (item.view for item in found.requested)
    assert (view.reference, view.pinned_inputs) == ("checks@2", ("last_payment@1:amount float64",))
    assert registry.resolve("checks")[0].view.pinned_inputs == ("last_payment@2:amount float64",)
    # The code that serving runs is told from another as ever.
    check_on_demand_code(
        code, reference=view.reference, wanted_hash=view.definition_hash, pinned_inputs=view.pinned_inputs
    )
    assert found.candidates["last_payment"].version == 2
    assert [selection.view.version for selection in compile_request(found.requested).selections] == [1]


def test_on_demand_inputs_that_the_code_pins_stay(registry, apply):
    code = derived("last_payment@1:amount")
    apply(code=derived("last_payment:amount"))
    apply(code=code, delay=timedelta(0))
    registry.promote("last_payment@2", target=TARGET)

    assert registry.resolve_serving("checks").requested[0].view.pinned_inputs == ("last_payment@1:amount float64",)
    registry.promote("last_payment@1", target=TARGET)
    registry.promote("last_payment@2", target=TARGET, share=500)
    assert registry.resolve_serving(["checks", "last_payment"]).candidates == {}
    assert registry.resolve_serving("checks@1").rollouts == {}


def test_an_on_demand_view_that_needs_what_live_lacks_says_what_to_promote(registry, apply):
    apply(code=derived("last_payment:amount"))
    apply(code=derived("last_payment:currency", function=price), features=[AMOUNT, CURRENCY])

    with pytest.raises(NotFoundError, match=r"checks@2 reads last_payment@2:currency.*promote last_payment@2`"):
        registry.resolve_serving("checks")
    registry.promote("last_payment@2", target=TARGET)
    assert asked(registry.resolve_serving("checks")) == ["checks@2:ratio"]


@pytest.mark.parametrize("features", ["nothing", ["last_payment:nothing"], "last_payment@9", ["nothing:amount"]])
def test_what_is_unknown_is_told_as_for_training(registry, apply, features):
    apply()
    told = []
    for resolve in (registry.resolve, registry.resolve_serving):
        with pytest.raises(NotFoundError) as error:
            resolve(features)
        told.append(str(error.value))
    assert told[0] == told[1]


def test_a_view_that_left_the_code_is_not_served_by_its_bare_name(registry, apply, define, make_view):
    apply()
    registry.apply(define(make_view(name="other")))

    with pytest.raises(NotFoundError, match="no longer in code"):
        registry.resolve_serving("last_payment")
    assert asked(registry.resolve_serving("last_payment@1")) == ["last_payment@1:amount"]


def test_a_service_in_a_list_is_wrong_usage(registry, apply):
    apply(FeatureService(name="fraud", features=["last_payment"]))
    with pytest.raises(UsageError, match="is a feature service; give it alone"):
        registry.resolve_serving(["fraud"])


def read(hours_ago, *, consumer="checkout", version=1):
    at = utc_now() - timedelta(hours=hours_ago)
    return ViewRead(view="last_payment", version=version, consumer=consumer, last_read_at=at)


def test_consumers_are_known_by_their_last_read(registry):
    old, new, other = read(5), read(1), read(3, version=2)
    registry.record_reads([new, other])
    registry.record_reads([old])
    registry.record_reads([])

    assert registry.consumers("last_payment") == (new, other)
    assert registry.consumers("other") == ()


def test_shadow_counts_of_processes_add_up_and_a_new_shadow_starts_from_zero(registry, apply):
    apply()
    apply(delay=timedelta(0))
    registry.set_shadow("last_payment@2", target=TARGET)
    count = ShadowCount(view="last_payment", live=1, shadow=2, feature="amount", compared=10, different=3, missing=1)
    for _ in range(2):
        registry.record_shadow([count])

    (total,) = registry.shadow_counts("last_payment")
    assert (total.key, total.compared, total.different, total.missing) == (count.key, 20, 6, 2)
    assert total.first_at < total.last_at
    registry.set_shadow("last_payment", target=TARGET, off=True)
    assert len(registry.shadow_counts("last_payment")) == 1
    registry.set_shadow("last_payment@2", target=TARGET)
    assert registry.shadow_counts("last_payment") == ()


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda r: None, "it is live"),
        (lambda r: r.promote("last_payment@2", target=TARGET), "it was read by checkout at"),
        (lambda r: (r.promote("last_payment@2", target=TARGET), r.promote("last_payment@1", target=TARGET, share=50)),
         "it is in canary for 0.5% of the keys: `features rollback last_payment` ends that"),
        (lambda r: (r.promote("last_payment@2", target=TARGET), r.set_shadow("last_payment@1", target=TARGET)),
         "it is the shadow: `features shadow last_payment --off` ends that"),
    ],
)  # fmt: skip
def test_a_version_in_use_is_not_released(registry, apply, prepare, told):
    view = apply()
    apply(delay=timedelta(0))
    registry.record_reads([read(1)])
    prepare(registry)

    for check in (
        lambda: registry.check_drop(view, unread_for=timedelta(days=7)),
        lambda: registry.release_online(view, target=TARGET, unread_for=timedelta(days=7)),
    ):
        with pytest.raises(RefusedError, match=rf"last_payment__v1 is not dropped: .*{told}"):
            check()
    assert registry.checkpoint(view, target=TARGET) == 1


def test_a_version_that_services_or_functions_pin_is_not_released(registry, apply):
    apply()
    service = FeatureService(name="fraud", features=["last_payment@1:amount"])
    apply(service, code=derived("last_payment@1:amount"), delay=timedelta(0))
    registry.promote("last_payment@2", target=TARGET)

    with pytest.raises(RefusedError, match="service fraud@1 pins it; on-demand view checks@1 pins it"):
        registry.check_drop(registry.view("last_payment@1"), unread_for=timedelta(days=7))


def test_a_version_that_nobody_reads_is_released_and_cannot_be_promoted_without_a_load(registry, apply):
    view = apply()
    apply(delay=timedelta(0))
    registry.promote("last_payment@2", target=TARGET)
    registry.record_reads([read(7 * 24 + 1), read(1, version=2)])

    registry.release_online(view, target=TARGET, unread_for=timedelta(days=7), actor="ann")
    registry.release_online(view, target=TARGET, unread_for=timedelta(days=7), actor="ann")

    assert registry.checkpoint(view, target=TARGET) == 0
    entry = registry.audit()[0]
    assert (entry.actor, entry.action, entry.detail["view"]) == ("ann", "drop online", "last_payment@1")
    with pytest.raises(RefusedError, match="never loaded"):
        registry.promote("last_payment@1", target=TARGET)


def test_only_the_latest_readers_are_named(registry, apply):
    view = apply()
    apply(delay=timedelta(0))
    registry.promote("last_payment@2", target=TARGET)
    registry.record_reads([read(hour, consumer=f"app{hour}") for hour in range(1, 8)])

    with pytest.raises(RefusedError, match=r"read by app1 at \S+, app2 at .*app5 at \S+ and 2 more$"):
        registry.check_drop(view, unread_for=timedelta(days=7))
