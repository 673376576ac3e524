"""Views that read views in the registry: versions that follow what they read, and who reads what."""

from dataclasses import replace
from datetime import timedelta

import pytest

from features import ViewSource
from features.core.schedule import Interval
from features.core.upstreams import code_hash
from features.errors import DefinitionError, RefusedError
from features.registry import IntervalOutcome
from tests.builders import at

HOUR = timedelta(hours=1)
NEVER = timedelta(0)


def reads(view="last_payment", **changes):
    return ViewSource(**{"name": "given", "view": view, **changes})


@pytest.fixture
def chain(define, make_view):
    """Three views, each of which reads the one before it, their transforms aside."""

    def definitions(*, delay=timedelta(minutes=30), first="last_payment", second="middle", **changes):
        return define(
            make_view(delay=delay, **changes),
            make_view("middle", delay=2 * HOUR, sources=[reads(first)]),
            make_view("top", delay=2 * HOUR, sources=[reads(second)]),
        )

    return definitions


def kinds(plan):
    return [(change.kind, change.name, change.version) for change in plan.changes]


def upstreams(registry, *names):
    return [registry.view(name).upstreams for name in names]


def test_a_chain_is_applied_once_with_the_versions_that_are_read(registry, chain):
    planned, applied, again = (step(chain()) for step in (registry.plan, registry.apply, registry.apply))

    assert kinds(applied) == [("create", "last_payment", 1), ("create", "middle", 1), ("create", "top", 1)]
    assert "reads: last_payment@1" in planned.changes[1].details
    assert (planned, again.is_empty) == (applied, True)
    assert upstreams(registry, "last_payment", "middle", "top") == [(), ("last_payment@1",), ("middle@1",)]
    definitions = chain()
    for name, view in definitions.views.items():
        assert registry.view(name).definition_hash == code_hash(view, definitions.views, lambda _: "")


def test_a_changed_view_makes_new_versions_of_all_that_read_it_and_plan_says_why(registry, chain):
    registry.apply(chain())
    middle = registry.view("middle")
    built = IntervalOutcome(interval=Interval(at("2024-01-01"), at("2024-01-02")), status="built")
    registry.record_intervals(middle, "run", [built])

    plan = registry.apply(chain(delay=HOUR))

    assert kinds(plan) == [(kind, n, 2) for kind, n in [("new version", n) for n in ("last_payment", "middle", "top")]]
    assert plan.changes[1].details == ("source given: reads last_payment@2, was last_payment@1",)
    assert plan.changes[2].details == ("source given: reads middle@2, was middle@1",)
    assert "it reads last_payment@2: build that over the same range first" in plan.changes[1].next_steps
    assert upstreams(registry, "middle", "top", "middle@1") == [("last_payment@2",), ("middle@2",), ("last_payment@1",)]
    back = registry.apply(chain())
    assert kinds(back) == [("restore", n, 1) for n in ("last_payment", "middle", "top")]
    assert back.changes[2].details == ("source given: reads middle@1, was middle@2",)


def test_what_changes_in_place_makes_no_versions_downstream(registry, chain):
    registry.apply(chain())

    assert kinds(registry.apply(chain(description="other words"))) == [("update in place", "last_payment", 1)]


def test_a_named_version_is_read_until_the_code_names_another(registry, chain):
    registry.apply(chain())

    assert registry.plan(chain(first="last_payment@1")).is_empty
    pinned = registry.apply(chain(first="last_payment@1", delay=HOUR))
    assert kinds(pinned) == [("new version", "last_payment", 2)]
    assert kinds(registry.apply(chain(first="last_payment@2", delay=HOUR))) == [
        ("new version", "middle", 2),
        ("new version", "top", 2),
    ]


def test_a_version_that_this_very_apply_makes_can_be_named(registry, chain):
    registry.apply(chain(first="last_payment@1"))

    registry.apply(chain(first="last_payment@2", delay=HOUR))

    assert upstreams(registry, "middle") == [("last_payment@2",)]


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ("last_payment@9", "'middle': source 'given': no feature view 'last_payment@9'; did you mean 'last_payment@1'"),
        ("gone", "'middle': source 'given': no feature view 'gone'"),
        ("top", "cycle: middle -> top -> middle"),
    ],
)
def test_a_view_that_will_not_be_there_or_reads_itself_is_refused(registry, chain, first, why):
    with pytest.raises(DefinitionError, match=why):
        registry.plan(chain(first=first))


def test_a_named_version_that_is_slower_is_refused(registry, chain, make_view):
    slow = chain(delay=2 * HOUR)
    registry.apply(slow)
    middle = make_view("middle", delay=HOUR, sources=[reads("last_payment@1")])
    fast = replace(slow, views={**slow.views, "last_payment": make_view(), "middle": middle})

    with pytest.raises(DefinitionError, match=r"reads 'last_payment@1', .* 2:00:00 after an interval's end"):
        registry.plan(fast)


def test_another_kind_of_source_is_told(registry, chain, define, make_view):
    registry.apply(chain())

    plan = registry.plan(define(make_view(), make_view("middle", delay=2 * HOUR), make_view("top", sources=[reads()])))

    assert "source given: removed" in plan.changes[0].details
    files = replace(make_view().sources[0], name="given")
    plan = registry.plan(define(make_view(), make_view("middle", delay=2 * HOUR, sources=[files])))
    assert plan.changes[0].details[0] == "source given: reads no view, was last_payment@1"


def test_a_view_that_others_read_is_not_removed(registry, chain, define, make_view):
    definitions = chain()
    registry.apply(definitions)
    views = {name: view for name, view in definitions.views.items() if name != "middle"}

    with pytest.raises(DefinitionError, match="no feature view 'middle"):
        registry.apply(replace(definitions, views=views))
    assert kinds(registry.apply(define(make_view()))) == [("remove", "middle", 1), ("remove", "top", 1)]
    with pytest.raises(DefinitionError, match="'last_payment' is no longer in code, but is read by reader"):
        registry.apply(define(make_view("reader", delay=HOUR, sources=[reads("last_payment@1")])))


def test_readers_are_found_in_all_versions_or_the_current_ones(registry, chain):
    registry.apply(chain())
    first = registry.view("last_payment")
    registry.apply(chain(delay=HOUR))
    second = registry.view("last_payment")

    assert [v.reference for v in registry.readers_of(first)] == ["middle@1"]
    assert registry.readers_of(first, current=True) == ()
    assert [v.reference for v in registry.readers_of(second, current=True)] == ["middle@2"]
    assert registry.readers_of(registry.view("top")) == ()


def test_the_online_table_of_a_version_that_is_read_stays(registry, chain):
    registry.apply(chain(first="last_payment@1"))
    registry.move_checkpoint(registry.view("last_payment@1"), target="t", position=1)
    registry.apply(chain(first="last_payment@1", delay=HOUR))
    registry.move_checkpoint(registry.view("last_payment@2"), target="t", position=1)
    registry.promote("last_payment@2", target="t", force=True)

    with pytest.raises(RefusedError, match="feature view middle@1 reads it"):
        registry.check_drop(registry.view("last_payment@1"), unread_for=NEVER)


def test_a_run_tells_what_it_read(registry, chain):
    registry.apply(chain())
    middle = registry.view("middle")
    run = registry.start_run(kind="build", view=middle, start=None, end=None, now=at("2024-01-01"))
    assert registry.runs(middle)[0].upstreams == {}

    registry.record_upstreams(run, {"last_payment@1": 7, "other@2": None})

    assert registry.runs(middle)[0].upstreams == {"last_payment@1": 7, "other@2": None}
