"""Views that read views: what may be said, what makes a version, and what discovery refuses."""

from dataclasses import replace
from datetime import timedelta

import pytest

from features import ViewSource
from features.core.applied import AppliedView
from features.core.canonical import applied_view, definition_hash, view_definition, view_metadata
from features.core.discovery import discover
from features.core.upstreams import check_upstreams, code_hash, pin_sources
from features.errors import DefinitionError
from tests.builders import make_view

HOUR = timedelta(hours=1)


def reads(view: str = "last_payment", **changes: object) -> ViewSource:
    return ViewSource(**{"name": "given", "view": view, **changes})


def reader(name: str = "reader", source: ViewSource | None = None, **changes):
    return make_view(name=name, sources=[source or reads()], **{"delay": HOUR, **changes})


def known(*views):
    return {view.name: view for view in views}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"view": ""}, "ViewSource 'given': view must not be empty"),
        ({"view": 7}, "ViewSource 'given': view must be a string, got int"),
        ({"view": "Other"}, "ViewSource 'given': view 'Other' is not a reference"),
        ({"view": "other@0"}, "ViewSource 'given': view 'other@0' is not a reference"),
        ({"view": "other:amount"}, "ViewSource 'given': view 'other:amount' names a feature; the transform gets all"),
        ({"name": "1st"}, "ViewSource '1st': name '1st' must be lower case"),
        ({"history": -HOUR}, "ViewSource 'given': history must be zero or more"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused_at_birth(changes, why):
    with pytest.raises(DefinitionError, match=why):
        reads(**changes)


def test_a_view_reads_views_beside_files_and_needs_their_history():
    view = make_view(sources=[*make_view().sources, reads(history=HOUR), reads("other@3", name="more")])

    assert view.upstreams == ("last_payment", "other@3")
    assert (view.history, view.has_created_source) == (HOUR, True)


def test_an_imported_log_reads_no_view():
    with pytest.raises(DefinitionError, match='available ="source" imports what was served elsewhere'):
        reader(available="source")


@pytest.mark.parametrize(
    ("views", "why"),
    [
        (
            [reader(source=reads("last_paymnt"))],
            "source 'given' reads 'last_paymnt', but there is no feature view 'last_paymnt'; did you",
        ),
        ([reader(source=reads("gone@3"))], "source 'given' reads 'gone@3', but there is no feature view 'gone'; known"),
        ([reader(source=reads("checks"))], "reads 'checks', which is on demand: nothing of it is stored"),
        ([reader(delay=timedelta(0))], "online 0:30:00 after an interval's end: delay must be at least that, got 0:00"),
        (
            [make_view(lookback=HOUR, retention=50 * HOUR), reader(source=reads(history=50 * HOUR))],
            "reads 'last_payment' 2 days, 2:00:00 back, whose rows are removed after 2 days, 2:00:00: give it a longer",
        ),
        ([make_view(schedule=None), reader()], "which has no schedule, so no interval of it is ever known to be"),
        ([reader("a", reads("a"))], "cycle: a -> a;"),
        (
            [reader("a", reads("c")), reader("b", reads("a")), reader("c", reads("b@1")), reader("d", reads("a"))],
            "cycle: a -> c -> b -> a; let one of them",
        ),
    ],
)
def test_views_that_cannot_read_each_other_are_refused(views, why):
    with pytest.raises(DefinitionError, match=why):
        check_upstreams(known(make_view(), *views), ["checks"])


def test_chains_diamonds_and_unscheduled_readers_are_fine():
    check_upstreams(
        known(
            make_view(),
            reader("left"),
            reader("right", schedule="@hourly"),
            reader("both", reads("left"), schedule=None),
            make_view(name="top", delay=HOUR, sources=[reads("left", name="one"), reads("both", name="two")],
                      schedule=None),
        ),
        [],
    )  # fmt: skip


def test_discovery_tells_of_a_cycle(write_package):
    text = """
from datetime import timedelta
from features import *
CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING})
def same(given):
    return given
def make(name, view):
    return FeatureView(name=name, entities=[CUSTOMER], sources=[ViewSource(name="given", view=view)], transform=same,
                       lookback=None, schedule="@daily", features=[Feature("amount", DType.FLOAT64)],
                       delay=timedelta(0), owner="o", description="d")
ONE, TWO = make("one", "two"), make("two", "one")
"""
    with pytest.raises(DefinitionError, match="cycle: one -> two -> one"):
        discover(write_package({"views.py": text}))


def hash_in(*views, of="reader"):
    return code_hash(known(*views)[of], known(*views), {"last_payment@3": "0" * 64}.__getitem__)


def test_a_view_is_another_version_once_what_it_reads_is_directly_or_not():
    base, middle = make_view(), reader("middle")
    chain = [base, middle, reader(source=reads("middle"))]
    changed = replace(base, delay=timedelta(minutes=31))

    assert hash_in(*chain) == hash_in(*chain)
    assert hash_in(changed, *chain[1:]) != hash_in(*chain)
    assert hash_in(replace(base, description="other words"), *chain[1:]) == hash_in(*chain)
    assert hash_in(base, reader(source=reads(history=HOUR))) != hash_in(base, reader())
    assert hash_in(base, reader(source=reads("last_payment@3"))) != hash_in(base, reader())


def test_the_hash_holds_what_is_read_not_the_number_that_a_registry_gave_it():
    view = reader()
    one, other = (pin_sources(view_definition(view), lambda _, n=n: (n, "f" * 64)) for n in (1, 7))

    assert definition_hash(one) == definition_hash(other)
    assert definition_hash(one) != definition_hash(pin_sources(view_definition(view), lambda _: (1, "e" * 64)))


def test_an_applied_view_names_the_versions_that_it_reads():
    view = make_view(sources=[*make_view().sources, reads(history=HOUR)])
    pinned = pin_sources(view_definition(view), lambda reference: (4, "f" * 64))

    applied = applied_view(pinned, view_metadata(view), version=2)

    assert isinstance(applied, AppliedView)
    assert applied.upstreams == ("last_payment@4",)
    assert applied.sources[1] == reads("last_payment@4", history=HOUR)
    assert applied.definition_hash == definition_hash(pinned)
