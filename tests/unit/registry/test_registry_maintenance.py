"""What maintenance asks of the registry."""

from datetime import UTC, datetime, timedelta

import pytest

from features.core.processes import ProcessId

DAY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def view(registry, define, make_view):
    registry.apply(define(make_view()))
    return registry.view("last_payment")


def start(registry, view, kind, end=None):
    return registry.start_run(kind=kind, view=view, start=None, end=end, now=DAY)


def test_every_version_ever_applied_is_listed(registry, view, define, make_view):
    registry.apply(define(make_view(delay=timedelta(0)), make_view(name="other")))
    registry.apply(define(make_view(name="other")))

    assert [one.reference for one in registry.view_versions()] == ["last_payment@1", "last_payment@2", "other@1"]
    assert registry.view_versions()[0] == view


def test_runs_that_did_not_end_are_listed_with_their_process(registry, view):
    first, second = start(registry, view, "build"), start(registry, view, "load")
    registry.finish_run(start(registry, view, "build"), status="built")

    running = registry.running()

    assert [run.run_id for run in running] == [first, second]
    assert all(run.process == ProcessId.own() and run.process.runs() for run in running)


def test_only_runs_that_did_not_end_can_be_failed(registry, view):
    lost, done = start(registry, view, "build"), start(registry, view, "build")
    registry.finish_run(done, status="built")

    assert registry.fail_runs([lost, done, "unknown"], message="gone") == 1
    assert registry.fail_runs([], message="gone") == 0

    assert {run.run_id: (run.status, run.message) for run in registry.runs(view)} == {
        lost: ("failed", "gone"),
        done: ("built", ""),
    }
    assert (registry.audit()[0].action, registry.audit()[0].detail) == ("fail runs", {"runs": [lost]})


def test_how_far_retention_went_is_known_before_it_ends_and_never_goes_back(registry, view, define, make_view):
    assert registry.retained_from(view) is None

    start(registry, view, "retain", end=DAY)
    start(registry, view, "build", end=DAY + timedelta(days=9))
    registry.finish_run(start(registry, view, "retain", end=DAY - timedelta(days=1)), status="failed")
    registry.apply(define(make_view(delay=timedelta(0))))

    assert registry.retained_from(view) == DAY
    assert registry.retained_from(registry.view("last_payment@2")) is None
