from datetime import UTC, datetime, timedelta

import pytest

from features.core.schedule import Interval
from features.errors import UsageError
from features.registry import IntervalOutcome


def at(day):
    return datetime(2024, 1, day, tzinfo=UTC)


def outcome(day, status="built", **facts):
    return IntervalOutcome(interval=Interval(at(day), at(day + 1)), status=status, **facts)


@pytest.fixture
def view(registry, define, make_view):
    registry.apply(define(make_view()))
    return registry.view("last_payment")


def test_ledger_lists_intervals_by_their_start(registry, view):
    registry.record_intervals(view, "run", [outcome(2, "empty"), outcome(1, rows=5, position=1, delta_version=0)])

    first, second = registry.ledger(view)

    assert (first.interval, first.status, first.rows, first.position) == (Interval(at(1), at(2)), "built", 5, 1)
    assert (first.delta_version, first.run_id, first.built, first.stale) == (0, "run", True, False)
    assert (second.interval, second.status, second.built) == (Interval(at(2), at(3)), "empty", True)


@pytest.mark.parametrize("status", ["refused", "failed"])
def test_failed_rerun_leaves_the_interval_built(registry, view, status):
    registry.record_intervals(view, "first", [outcome(1, rows=5, position=1, delta_version=0)])
    registry.mark_stale(view, after=at(1), until=at(2))

    registry.record_intervals(view, "second", [outcome(1, status)])

    (entry,) = registry.ledger(view)
    assert (entry.status, entry.run_id) == (status, "second")
    assert (entry.built, entry.stale, entry.rows, entry.position, entry.delta_version) == (True, True, 5, 1, 0)


def test_interval_that_only_ever_failed_is_not_built(registry, view):
    registry.record_intervals(view, "run", [outcome(1, "refused")])

    assert [entry.built for entry in registry.ledger(view)] == [False]
    assert registry.mark_stale(view, after=at(1), until=at(9)) == 0


@pytest.mark.parametrize("status", ["built", "empty"])
def test_rerun_clears_stale(registry, view, status):
    registry.record_intervals(view, "first", [outcome(1)])
    registry.mark_stale(view, after=at(1), until=at(2))

    registry.record_intervals(view, "second", [outcome(1, status)])

    assert [entry.stale for entry in registry.ledger(view)] == [False]


def test_stale_are_the_intervals_that_end_after_and_start_before(registry, view):
    registry.record_intervals(view, "run", [outcome(day) for day in (1, 2, 3, 4)])
    microsecond = timedelta(microseconds=1)

    assert registry.mark_stale(view, after=at(2), until=at(4)) == 2
    assert [entry.stale for entry in registry.ledger(view)] == [False, True, True, False]
    assert registry.mark_stale(view, after=at(2) - microsecond, until=at(4) + microsecond) == 2


def test_a_release_tells_what_it_appended_and_leaves_the_rest_of_a_built_interval(registry, view):
    registry.record_intervals(view, "run", [outcome(1, rows=5, position=1, delta_version=0, fingerprint="f")])
    registry.record_intervals(view, "later", [outcome(1, "refused"), outcome(2, "refused")])
    registry.mark_stale(view, after=at(1), until=at(2))

    registry.record_intervals(
        view, "release", [outcome(day, "released", rows=1, position=2, delta_version=1) for day in (1, 2, 3)]
    )

    first, second = registry.ledger(view)
    assert (first.status, first.stale, first.fingerprint, first.run_id) == ("refused", True, "f", "release")
    assert (first.rows, first.position, first.delta_version) == (1, 2, 1)
    # What was never built has nothing to release.
    assert (second.built, second.run_id, second.position) == (False, "later", None)


def test_versions_have_ledgers_of_their_own(registry, view, define, make_view):
    registry.record_intervals(view, "run", [outcome(1)])
    registry.apply(define(make_view(delay=timedelta(0))))

    assert registry.ledger(registry.view("last_payment")) == ()


def test_unknown_status_records_nothing(registry, view):
    with pytest.raises(UsageError, match="'done' is none of built, empty, refused, failed"):
        registry.record_intervals(view, "run", [outcome(1), outcome(2, "done")])
    assert registry.ledger(view) == ()
