"""Which version is live, and how that is switched."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from features import DType, Entity, Feature, FeatureService
from features.core.rollout import ViewRollout
from features.errors import NotFoundError, RefusedError, UsageError
from features.registry import Registry
from features.registry.migration import migrations
from features.registry.schema import TABLES

TARGET = "cassandra://127.0.0.1:9042/features"
BEFORE_ROLLOUTS = ("schema_version", "definitions", "definition_versions", "runs", "ledger", "commits", "checkpoints",
                   "validation_results", "manifests", "audit_log")  # fmt: skip
AMOUNT, CURRENCY = Feature("amount", DType.FLOAT64), Feature("currency", DType.STRING)


@pytest.fixture
def load(registry):
    """Brings a version online, up to a log position."""

    def move(reference, position=1):
        registry.move_checkpoint(registry.view(reference), target=TARGET, position=position)

    return move


@pytest.fixture
def versions(registry, define, make_view, load):
    """last_payment at versions 1, 2 and 3, each loaded; 1 is live."""
    for hours in range(3):
        registry.apply(define(make_view(delay=timedelta(hours=hours))))
        load(f"last_payment@{hours + 1}")
    return registry


def commit(registry, reference, position):
    view = registry.view(reference)
    run = registry.start_run(kind="build", view=view, start=None, end=None, now=registry.audit()[0].at)
    registry.record_commit(
        view, position=position, delta_version=position, committed_at=registry.audit()[0].at, run_id=run
    )


def test_the_first_version_is_live_and_a_later_one_is_not_by_apply_alone(versions):
    assert versions.view("last_payment").version == 3
    assert versions.rollout("last_payment") == ViewRollout(view="last_payment", live=1)


def test_plan_and_apply_say_how_a_new_version_goes_live(versions, define, make_view):
    definitions = define(make_view(delay=timedelta(hours=9)))

    planned, applied = versions.plan(definitions), versions.apply(definitions)

    for plan in (planned, applied):
        assert plan.changes[0].next_steps[-1] == (
            "serving stays on version 1; once version 4 is loaded: features promote last_payment@4"
        )


def test_code_that_goes_back_to_the_live_version_needs_no_promotion(versions, define, make_view):
    plan = versions.apply(define(make_view(delay=timedelta(0))))

    assert [(change.kind, change.version) for change in plan.changes] == [("restore", 1)]
    assert not any("promote" in step for step in plan.changes[0].next_steps)


def test_a_live_version_that_was_never_loaded_gives_way(registry, define, make_view):
    """No reader can have had a value of it: so it goes before anything is served."""
    registry.apply(define(make_view()))
    before = registry.serving_generation()

    plan = registry.apply(define(make_view(delay=timedelta(hours=1))))

    assert registry.rollout("last_payment") == ViewRollout(view="last_payment", live=2)
    assert registry.serving_generation() > before
    assert not any("promote" in step for step in plan.changes[0].next_steps)
    assert [entry.action for entry in registry.rollout_history("last_payment")] == ["apply", "first"]


def test_a_registry_from_before_rollouts_serves_what_it_served(versions, registry_url):
    versions.close()
    engine = create_engine(registry_url)
    with engine.begin() as connection:
        for table in TABLES:
            if table.name not in BEFORE_ROLLOUTS:
                connection.execute(text(f"DROP TABLE {table.name}"))
        connection.execute(text("ALTER TABLE runs DROP COLUMN upstreams"))
        connection.execute(text("ALTER TABLE runs DROP COLUMN process"))
        connection.execute(text("ALTER TABLE ledger DROP COLUMN profile"))
        connection.execute(text("DELETE FROM schema_version WHERE version >= 3"))
    engine.dispose()
    assert max(migrations()) >= 3

    with Registry.open(registry_url) as migrated:
        assert migrated.rollout("last_payment") == ViewRollout(view="last_payment", live=3)
        assert migrated.serving_state().views == {"last_payment": ViewRollout(view="last_payment", live=3)}


def test_promotion_switches_for_all_keys_and_rollback_goes_back(versions):
    switch = versions.promote("last_payment@2", target=TARGET)

    assert (switch.changed, switch.before.live, switch.after.live) == (True, 1, 2)
    assert versions.rollout("last_payment").live == 2
    assert versions.rollback("last_payment", target=TARGET).after == ViewRollout(view="last_payment", live=1)


def test_canary_grows_and_ends_in_promotion_or_rollback(versions):
    versions.promote("last_payment@2", target=TARGET, share=500)
    versions.promote("last_payment@2", target=TARGET, share=2000)
    assert versions.rollout("last_payment") == ViewRollout(
        view="last_payment", live=1, candidate=2, share=2000, salt="2"
    )

    assert versions.rollback("last_payment", target=TARGET).after == ViewRollout(view="last_payment", live=1)
    versions.promote("last_payment@3", target=TARGET, share=100)
    assert versions.promote("last_payment@3", target=TARGET).after == ViewRollout(
        view="last_payment", live=3, earlier=(1,)
    )


def test_every_switch_and_apply_makes_a_generation_and_doing_it_again_none(versions, define, make_view):
    seen = [versions.serving_generation()]
    for act in (
        lambda: versions.promote("last_payment@2", target=TARGET, share=500),
        lambda: versions.promote("last_payment@2", target=TARGET),
        lambda: versions.set_shadow("last_payment@3", target=TARGET),
        lambda: versions.rollback("last_payment", target=TARGET),
        lambda: versions.apply(define(make_view(delay=timedelta(hours=2)), make_view(name="other"))),
    ):
        act()
        seen.append(versions.serving_generation())
    assert seen == sorted(set(seen))
    assert versions.serving_state().generation == seen[-1]

    versions.promote("last_payment@1", target=TARGET)
    versions.set_shadow("last_payment@3", target=TARGET)
    versions.apply(define(make_view(delay=timedelta(hours=2)), make_view(name="other")))
    assert versions.serving_generation() == seen[-1]


def test_switches_are_audited_and_kept(versions):
    versions.promote("last_payment@2", target=TARGET, share=500, actor="ann")
    versions.promote("last_payment@2", target=TARGET, actor="bob")

    entry = versions.audit()[0]
    assert (entry.actor, entry.action, entry.detail["view"]) == ("bob", "promote", "last_payment")
    assert entry.detail["before"] == {"live": 1, "candidate": 2, "share": 500, "shadow": None}
    assert entry.detail["after"] == {"live": 2, "candidate": None, "share": 0, "shadow": None}
    history = versions.rollout_history("last_payment")
    assert [(e.actor, e.action, e.live, e.candidate, e.share) for e in history[:2]] == [
        ("bob", "promote", 2, None, 0),
        ("ann", "canary", 1, 2, 500),
    ]
    assert versions.rollout_history("last_payment", limit=1) == history[:1]


def test_a_version_that_is_not_online_is_not_promoted(versions, define, make_view, load):
    versions.apply(define(make_view(delay=timedelta(hours=9))))
    commit(versions, "last_payment@4", 2)

    with pytest.raises(RefusedError, match=rf"never loaded into {TARGET}: run `features load last_payment@4`.*--force"):
        versions.promote("last_payment@4", target=TARGET)
    load("last_payment@4", 1)
    with pytest.raises(RefusedError, match="loaded up to log position 1 of 2: run `features load last_payment@4`"):
        versions.promote("last_payment@4", target=TARGET, share=500)
    assert versions.rollout("last_payment").live == 1
    load("last_payment@4", 2)
    assert versions.promote("last_payment@4", target=TARGET).overridden == ()


def test_a_version_of_other_keys_or_without_what_services_ask_is_not_promoted(registry, define, make_view, load):
    services = [
        FeatureService(name="fraud", features=["last_payment:amount"]),
        FeatureService(name="whole", features=["last_payment"]),
        FeatureService(name="pinned", features=["last_payment@1:amount"]),
    ]
    registry.apply(define(make_view(features=[AMOUNT, CURRENCY]), *services))
    load("last_payment@1")
    account = Entity(name="account", join_keys={"account": DType.INT64})
    text_amount = Feature("amount", DType.STRING)
    registry.apply(define(make_view(features=[text_amount], entities=[account]), *services))
    load("last_payment@2")

    with pytest.raises(RefusedError) as error:
        registry.promote("last_payment@2", target=TARGET)

    told = str(error.value)
    assert "its join keys are account int64, those of last_payment@1, which is live, customer string" in told
    assert "its amount is string, not float64; it is asked for by service fraud, service whole" in told
    assert "it lacks currency, which is asked for by service whole" in told
    switch = registry.promote("last_payment@2", target=TARGET, force=True)
    assert switch.after.live == 2
    assert len(switch.overridden) == 3
    assert registry.rollout_history("last_payment")[0].overridden == switch.overridden
    assert registry.audit()[0].detail["overridden"] == list(switch.overridden)


def test_rollback_to_a_version_that_is_no_longer_online_is_refused(versions):
    versions.promote("last_payment@2", target=TARGET)
    versions.reset_checkpoint(versions.view("last_payment@1"), target=TARGET)

    with pytest.raises(RefusedError, match=rf"last_payment@1 is not loaded into {TARGET}; run `features load"):
        versions.rollback("last_payment", target=TARGET)
    assert versions.rollout("last_payment").live == 2


def test_a_shadow_has_to_be_online_and_of_the_same_keys(versions, define, make_view, load):
    account = Entity(name="account", join_keys={"account": DType.INT64})
    versions.apply(define(make_view(entities=[account])))

    with pytest.raises(RefusedError, match=r"cannot be a shadow: its join keys are account int64.*never loaded"):
        versions.set_shadow("last_payment@4", target=TARGET)
    with pytest.raises(RefusedError, match="last_payment@1 is live"):
        versions.set_shadow("last_payment@1", target=TARGET)


def test_a_shadow_is_switched_on_and_off(versions):
    assert versions.set_shadow("last_payment@2", target=TARGET).after.shadow == 2
    with pytest.raises(UsageError, match="last_payment@3 is no shadow; last_payment@2 is"):
        versions.set_shadow("last_payment@3", target=TARGET, off=True)
    assert versions.set_shadow("last_payment", target=TARGET, off=True).after.shadow is None
    assert not versions.set_shadow("last_payment@2", target=TARGET, off=True).changed


@pytest.mark.parametrize(
    ("act", "error", "told"),
    [
        (lambda r: r.promote("last_payment", target=TARGET), UsageError, "names no version; write it"),
        (lambda r: r.promote("last_payment@9", target=TARGET), NotFoundError, "no version 9 of feature view"),
        (lambda r: r.promote("last_paymnt@1", target=TARGET), NotFoundError, "did you mean 'last_payment'"),
        (lambda r: r.promote("last_payment:amount", target=TARGET), UsageError, "names a feature"),
        (lambda r: r.promote("last_payment@2", target=TARGET, share=0), UsageError, "more than 0%"),
        (lambda r: r.rollback("last_payment@2", target=TARGET), UsageError, "names a version; give the view"),
        (lambda r: r.rollback("last_payment", target=TARGET), RefusedError, "live from the start"),
        (lambda r: r.rollout("nothing"), NotFoundError, "no feature view 'nothing'"),
        (lambda r: r.set_shadow("last_payment", target=TARGET), UsageError, "names no version"),
    ],
)
def test_what_makes_no_sense_is_told(versions, act, error, told):
    before = versions.serving_state()
    with pytest.raises(error, match=told):
        act(versions)
    assert versions.serving_state() == before


def test_a_view_that_left_the_code_comes_back_with_the_version_that_was_live(versions, define, make_view):
    versions.promote("last_payment@2", target=TARGET)
    versions.apply(define(make_view(name="other")))
    versions.apply(define(make_view(delay=timedelta(hours=7))))

    assert versions.rollout("last_payment") == ViewRollout(view="last_payment", live=2, earlier=(1,))


def test_promotions_at_once_apply_one_after_the_other(versions, registry_url):
    def promote(number):
        with Registry.open(registry_url) as own:
            return own.promote(f"last_payment@{number}", target=TARGET)

    before = versions.serving_generation()
    with ThreadPoolExecutor(6) as pool:
        switches = list(pool.map(promote, [2, 3, 2, 3, 2, 3]))

    changed = [switch for switch in switches if switch.changed]
    assert versions.serving_generation() == before + len(changed)
    history = [entry.live for entry in reversed(versions.rollout_history("last_payment"))]
    # Each was made of what the one before it left.
    assert {(s.before.live, s.after.live) for s in changed} == set(pairwise(history))
    assert versions.rollout("last_payment").earlier == tuple(history[:-1])


@dataclass
class Model:
    """The rules of docs/rollout.md, for versions that are all loaded."""

    live: int
    candidate: tuple[int, int] | None
    past: list[int] = field(default_factory=list)

    def do(self, act, version, share):
        """Whether it is allowed; then it is done."""
        if act == "rollback":
            if self.candidate is not None:
                self.candidate = None
                return True
            if self.past:
                self.live = self.past.pop()
                return True
            return False
        other = self.candidate is not None and self.candidate[0] != version
        if act == "canary":
            if version == self.live or other:
                return False
            self.candidate = (version, share)
            return True
        if version == self.live:
            return self.candidate is None
        self.past.append(self.live)
        self.live, self.candidate = version, None
        return True


acts = st.tuples(
    st.sampled_from(["promote", "canary", "rollback", "rollback"]), st.integers(1, 3), st.integers(1, 10_000)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(acts, max_size=12))
def test_any_sequence_of_switches_equals_the_rules(versions, sequence):
    # Each example goes on from where the last one ended.
    start = versions.rollout("last_payment")
    canary = None if start.candidate is None else (start.candidate, start.share)
    model = Model(live=start.live, candidate=canary, past=list(start.earlier))
    for act, version, share in sequence:
        allowed = model.do(act, version, share)
        try:
            if act == "rollback":
                versions.rollback("last_payment", target=TARGET)
            else:
                versions.promote(f"last_payment@{version}", target=TARGET, share=share if act == "canary" else None)
        except RefusedError:
            assert not allowed, (act, version)
        else:
            assert allowed, (act, version)
        found = versions.serving_state().views["last_payment"]
        candidate = None if found.candidate is None else (found.candidate, found.share)
        assert (found.live, candidate, list(found.earlier)) == (model.live, model.candidate, model.past)
