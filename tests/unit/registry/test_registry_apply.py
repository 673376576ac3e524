import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from features import Aggregation, BatchSource, DType, Entity, Expect, Feature, FeatureService
from features.core.canonical import definition_hash, view_definition, view_metadata
from features.core.schedule import Interval
from features.errors import DefinitionError, NotFoundError
from features.registry import IntervalOutcome


def other_amount(payments):
    return payments.select("customer", "event_timestamp", "amount").distinct()


def kinds(plan):
    return [(change.kind, change.name, change.version) for change in plan.changes]


def test_apply_does_what_plan_said_and_then_nothing_is_left(registry, define, make_view):
    definitions = define(make_view(), FeatureService(name="fraud", features=["last_payment"]))

    planned = registry.plan(definitions)
    applied = registry.apply(definitions)

    assert kinds(planned) == [("create", "last_payment", 1), ("create", "fraud", 1)]
    assert applied == planned
    assert registry.plan(definitions).is_empty
    assert registry.apply(definitions).is_empty


def test_plan_changes_nothing(registry, define, make_view):
    registry.plan(define(make_view()))

    assert registry.views() == ()


def test_every_plan_is_true(registry, define):
    assert bool(registry.apply(define()))


def test_applied_view_is_what_was_defined(registry, define, make_view):
    start = datetime(2024, 1, 1, microsecond=1, tzinfo=UTC)
    view = make_view(
        name="everything",
        entities=[Entity(name="route", join_keys={"origin": DType.STRING, "seats": DType.INT32}, description="a way")],
        sources=[
            BatchSource(
                name="flights", path="p/q", format="csv", timestamp_field="t", created_timestamp_field="c",
                timezone="Europe/Berlin", null_timestamp="drop", history=timedelta(microseconds=1), partition_field="d",
            )
        ],
        features=[
            Feature("z", DType.VECTOR(3), description="an embedding", tags={"pii": "no"}),
            Feature("a", DType.ARRAY(DType.DECIMAL(12, 2)), expect=[Expect.not_null(severity="warn")]),
            Feature("m", DType.DECIMAL(3, 1), expect=[Expect.between(Decimal("0.1"), Decimal("9.9"))]),
            Feature("at", DType.TIMESTAMP, expect=[Expect.between(start, start + timedelta(days=1))]),
            Feature("on", DType.DATE, expect=[Expect.in_set([date(2024, 2, 29)], severity="quarantine")]),
            Feature("s", DType.STRING, expect=[Expect.matches("^ü'\"$"), Expect.unique()]),
        ],
        lookback=None, schedule=None, delay=timedelta(0), available="source", tags={"tier": "1"},
    )  # fmt: skip

    registry.apply(define(view))

    stored = registry.view("everything")
    fields = [name for name in type(view).__dataclass_fields__ if name != "transform"]
    assert {name: getattr(stored, name) for name in fields} == {name: getattr(view, name) for name in fields}
    assert stored.definition_hash == definition_hash(view_definition(view))
    assert registry.plan(define(view)).is_empty


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"delay": timedelta(hours=1, minutes=5)}, "delay: 30 min -> 1 h 5 min"),
        ({"lookback": None}, "lookback: 2 d -> none"),
        ({"schedule": "@hourly"}, "schedule: '@daily' -> '@hourly'"),
        ({"transform": other_amount}, "transform: its code changed"),
        ({"features": [Feature("amount", DType.INT64)]}, "feature amount: float64 -> int64"),
        (
            {"entities": [Entity(name="customer", join_keys={"customer": DType.INT64})]},
            "entity customer: customer string -> customer int64",
        ),
        (
            {"sources": [BatchSource(name="payments", path="new", format="parquet", timestamp_field="paid_at")]},
            "source payments: path: 'payments' -> 'new'",
        ),
    ],
)
def test_change_of_what_values_mean_makes_a_new_version_and_says_why(registry, define, make_view, change, words):
    registry.apply(define(make_view()))

    plan = registry.apply(define(make_view(**change)))

    assert kinds(plan) == [("new version", "last_payment", 2)]
    assert plan.changes[0].details == (words,)
    assert registry.view("last_payment").version == 2
    assert registry.view("last_payment@1").delay == timedelta(minutes=30)


def test_added_and_removed_features_are_named(registry, define, make_view):
    registry.apply(define(make_view()))

    plan = registry.plan(define(make_view(features=[Feature("worst", DType.FLOAT64)])))

    assert plan.changes[0].details == ("feature worst: added", "feature amount: removed")


def test_listing_features_in_another_order_changes_nothing(registry, define, make_view):
    a, b = Feature("a", DType.INT64), Feature("b", DType.INT64)
    registry.apply(define(make_view(features=[a, b])))

    assert registry.plan(define(make_view(features=[b, a]))).is_empty


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"description": "the latest"}, "description: 'the last payment' -> 'the latest'"),
        ({"owner": "b@example.com"}, "owner: 'team@example.com' -> 'b@example.com'"),
        ({"tags": {"tier": "1"}}, "tags: none -> tier=1"),
        ({"retention": timedelta(days=9)}, "retention: none -> 9 d"),
        ({"reprocess": 3}, "reprocess: 0 -> 3"),
        ({"quarantine_limit": 0.1}, "quarantine_limit: 1.0 -> 0.1"),
        (
            {"features": [Feature("amount", DType.FLOAT64, unit="EUR", expect=[Expect.not_null(severity="warn")])]},
            "feature amount: expect: between(0, 1000) refuse -> not_null() warn",
        ),
        (
            {"entities": [Entity(name="customer", join_keys={"customer": DType.STRING}, description="who pays")]},
            "entity customer: description: '' -> 'who pays'",
        ),
    ],
)
def test_change_of_metadata_is_made_in_place(registry, define, make_view, change, words):
    registry.apply(define(make_view()))

    plan = registry.apply(define(make_view(**change)))

    assert kinds(plan) == [("update in place", "last_payment", 1)]
    assert plan.changes[0].details == (words,)
    ((field, value),) = change.items()
    stored = getattr(registry.view("last_payment"), field)
    assert stored == (tuple(value) if isinstance(value, list) else value)


def test_a_limit_that_is_lifted_is_told_and_one_that_never_was_is_not_stored(registry, define, make_view):
    registry.apply(define(make_view(quarantine_limit=0.1)))

    plan = registry.apply(define(make_view()))

    assert plan.changes[0].details == ("quarantine_limit: 0.1 -> 1.0",)
    # As registries of earlier releases hold it: an upgrade plans nothing.
    assert "quarantine_limit" not in view_metadata(make_view())


def test_metadata_of_an_older_version_stays(registry, define, make_view):
    registry.apply(define(make_view(description="one")))
    registry.apply(define(make_view(description="two", delay=timedelta(0))))

    assert registry.view("last_payment@1").description == "one"


def test_code_of_an_older_version_makes_it_current_again(registry, define, make_view):
    for delay in (1, 2, 1):
        plan = registry.apply(define(make_view(delay=timedelta(hours=delay))))

    assert kinds(plan) == [("restore", "last_payment", 1)]
    assert registry.view("last_payment").version == 1
    assert kinds(registry.apply(define(make_view(delay=timedelta(hours=3))))) == [("new version", "last_payment", 3)]


def test_view_that_left_the_code_is_kept_but_not_listed(registry, define, make_view):
    registry.apply(define(make_view(), make_view(name="other")))

    plan = registry.apply(define(make_view()))

    assert kinds(plan) == [("remove", "other", 1)]
    assert [view.name for view in registry.views()] == ["last_payment"]
    assert registry.view("other@1").name == "other"
    with pytest.raises(NotFoundError, match="no longer in code; its versions are kept: other@1"):
        registry.view("other")
    assert registry.plan(define(make_view())).is_empty


def test_view_that_comes_back_keeps_its_version(registry, define, make_view):
    registry.apply(define(make_view()))
    registry.apply(define())

    plan = registry.apply(define(make_view()))

    assert kinds(plan) == [("restore", "last_payment", 1)]
    assert registry.view("last_payment").version == 1


def test_new_version_offers_the_backfill_of_what_the_old_one_held(registry, define, make_view):
    registry.apply(define(make_view()))
    days = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    outcomes = [IntervalOutcome(interval=Interval(a, b), status="built") for a, b in pairwise(days)]
    registry.record_intervals(registry.view("last_payment"), "run", outcomes)

    plan = registry.plan(define(make_view(delay=timedelta(hours=1))))

    command = "features backfill last_payment --start 2024-01-01T00:00:00+00:00 --end 2024-01-03T00:00:00+00:00"
    assert plan.changes[0].next_steps[-1].endswith(command)
    assert "last_payment/v2 offline, last_payment__v2 online" in str(plan)


def test_restored_version_that_covers_the_range_needs_no_backfill(registry, define, make_view):
    one, two = (define(make_view(delay=timedelta(hours=hours))) for hours in (1, 2))
    day = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))
    for definitions in (one, two):
        registry.apply(definitions)
        outcome = IntervalOutcome(interval=day, status="built")
        registry.record_intervals(registry.view("last_payment"), "run", [outcome])

    assert "backfill" not in str(registry.plan(one))


def test_plan_reads_as_a_list_of_changes(registry, define, make_view):
    registry.apply(define(make_view(), make_view(name="gone")))

    plan = registry.plan(
        define(make_view(delay=timedelta(hours=1), owner="b@example.com"), make_view(name="added", schedule=None))
    )

    assert str(plan).splitlines() == [
        "+ feature view added: create, version 1",
        "    entities: customer (customer string)",
        "    features: amount float64",
        "    schedule: none, delay 30 min",
        "- feature view gone: remove, version 1",
        "    no longer in code",
        "    ! DAG gone goes: no interval of it is built any more",
        "    -> its versions and tables are kept; it is no longer listed or scheduled",
        "~ feature view last_payment: new version 2, because",
        "    delay: 30 min -> 1 h",
        "    in place: owner: 'team@example.com' -> 'b@example.com'",
        "    ! DAG last_payment builds version 2 from now on, and version 1 no more",
        "    -> new tables are made: last_payment/v2 offline, last_payment__v2 online; version 1's stay",
        "Plan: 1 create, 1 new version, 1 remove.",
    ]
    assert json.loads(json.dumps(plan.to_dict()))["changes"][2]["details"] == ["delay: 30 min -> 1 h"]


def test_service_versions_follow_its_features_not_its_description(registry, define, make_view):
    def model(features, description=""):
        return define(make_view(), FeatureService(name="fraud", features=features, description=description))

    registry.apply(model(["last_payment"]))
    described = registry.apply(model(["last_payment"], "who cheats"))
    narrowed = registry.apply(model(["last_payment:amount"], "who cheats"))

    assert kinds(described) == [("update in place", "fraud", 1)]
    assert kinds(narrowed) == [("new version", "fraud", 2)]
    assert narrowed.changes[0].details == ("features: last_payment:amount added", "features: last_payment removed")
    assert registry.service("fraud@1").features == ("last_payment",)
    assert registry.services() == (registry.service("fraud"),)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("last_payment@2", "'last_payment@2': feature view 'last_payment' has no version 2; known: 1"),
        ("last_paymnt@1", "did you mean 'last_payment'"),
        ("last_payment@1:amuont", "did you mean 'amount'"),
        ("last_paymnt", "did you mean 'last_payment'"),
    ],
)
def test_service_of_what_there_will_not_be_is_refused_whole(registry, define, make_view, reference, told):
    definitions = define(make_view(), FeatureService(name="fraud", features=[reference]))

    for verb in (registry.plan, registry.apply):
        with pytest.raises(DefinitionError, match="FeatureService 'fraud'") as error:
            verb(definitions)
        assert told in str(error.value)
    assert registry.views() == ()


def test_service_may_pin_a_version_that_the_same_apply_makes(registry, define, make_view):
    registry.apply(define(make_view()))
    pinned = FeatureService(name="fraud", features=["last_payment@2"])

    registry.apply(define(make_view(delay=timedelta(0)), pinned))

    assert registry.resolve("fraud")[0].view.reference == "last_payment@2"


def test_service_may_pin_a_view_that_left_the_code(registry, define, make_view):
    registry.apply(define(make_view()))
    pinned = FeatureService(name="fraud", features=["last_payment@1"])

    registry.apply(define(pinned))

    assert registry.resolve("fraud")[0].view.reference == "last_payment@1"


def test_every_apply_that_changes_something_is_in_the_audit_log(registry, define, make_view):
    registry.apply(define(make_view()), actor="ann")
    registry.apply(define(make_view()), actor="bob")
    registry.apply(define(), actor="bob")

    entries = registry.audit()

    assert [(entry.actor, entry.action) for entry in entries] == [("bob", "apply"), ("ann", "apply")]
    assert entries[0].detail["changes"][0]["kind"] == "remove"


def test_order_of_join_keys_is_part_of_a_version(registry, define, make_view):
    a, b = (Entity(name=name, join_keys={name: DType.STRING}) for name in ("origin", "dest"))
    registry.apply(define(make_view(entities=[a, b])))

    plan = registry.plan(define(make_view(entities=[b, a])))

    assert plan.changes[0].details == ("entities: order origin, dest -> dest, origin",)


def test_order_of_a_services_features_is_part_of_its_version(registry, define, make_view):
    views = make_view(), make_view(name="orders")
    registry.apply(define(*views, FeatureService(name="fraud", features=["orders", "last_payment"])))

    plan = registry.plan(define(*views, FeatureService(name="fraud", features=["last_payment", "orders"])))

    assert plan.changes[0].details == ("features: order orders, last_payment -> last_payment, orders",)


def test_service_that_left_the_code_is_kept_but_not_listed(registry, define, make_view):
    registry.apply(define(make_view(), FeatureService(name="fraud", features=["last_payment"])))

    plan = registry.apply(define(make_view()))

    assert kinds(plan) == [("remove", "fraud", 1)]
    assert registry.services() == ()
    assert registry.service("fraud@1").features == ("last_payment",)
    with pytest.raises(NotFoundError, match="no longer in code"):
        registry.resolve("fraud")


def test_empty_plan_says_so(registry, define):
    assert str(registry.plan(define())) == "Nothing to do: the registry holds what the code defines."


def test_what_changed_in_windows_is_told_of_each_feature(registry, define, make_view):
    def windows(days, **changes):
        mean = Aggregation(
            function="mean",
            column="amount",
            dtype=DType.FLOAT64,
            windows=[timedelta(days=days)],
            name="usual",
            **changes,
        )
        return define(make_view(features=[Feature("amount", DType.FLOAT64)], aggregations=[mean], lookback=None))

    registry.apply(windows(7))

    wider = registry.plan(windows(30, where="amount > 0"))
    computed = registry.plan(define(make_view(
        features=[Feature("amount", DType.FLOAT64), Feature("usual", DType.FLOAT64)], lookback=None
    )))  # fmt: skip

    assert wider.changes[0].details == (
        "feature usual: window: 7 d -> 30 d",
        "feature usual: where: none -> 'amount > 0'",
    )
    assert "feature usual: of the transform now" in computed.changes[0].details
