from datetime import UTC, datetime, timedelta

import pytest

from features.errors import NotFoundError, RegistryError, UsageError

DAY = datetime(2024, 1, 1, tzinfo=UTC)
SOON = timedelta(microseconds=1)


@pytest.fixture
def view(registry, define, make_view):
    registry.apply(define(make_view()))
    return registry.view("last_payment")


def start(registry, view, *, kind="build", now=DAY):
    return registry.start_run(kind=kind, view=view, start=DAY, end=DAY + timedelta(days=1), now=now)


def test_run_is_running_until_it_is_finished(registry, view):
    run_id = start(registry, view)

    (run,) = registry.runs(view)

    assert (run.run_id, run.kind, run.view, run.status) == (run_id, "build", "last_payment@1", "running")
    assert (run.start, run.end, run.now, run.finished_at) == (DAY, DAY + timedelta(days=1), DAY, None)


def test_finished_run_keeps_what_was_told(registry, view):
    run_id = start(registry, view, now=DAY + SOON)

    registry.finish_run(
        run_id, status="built", message="ü\0", position=3, delta_version=4, committed_at=DAY + SOON, counts={"rows": 9}
    )

    (run,) = registry.runs(view)
    assert (run.status, run.message, run.position, run.delta_version, run.counts) == ("built", "ü", 3, 4, {"rows": 9})
    assert run.committed_at == DAY + SOON
    assert run.now == DAY + SOON
    assert run.finished_at is not None
    assert run.finished_at >= run.started_at


def test_times_come_back_in_utc_to_the_microsecond(registry, view):
    moment = datetime.fromisoformat("2024-03-31T02:30:00.123457+02:00")

    start(registry, view, now=moment)

    assert registry.runs(view)[0].now.isoformat() == "2024-03-31T00:30:00.123457+00:00"


def test_latest_runs_of_one_version_come_first(registry, view, define, make_view):
    ids = [start(registry, view) for _ in range(3)]
    registry.apply(define(make_view(delay=timedelta(0))))
    start(registry, registry.view("last_payment"))

    assert [run.run_id for run in registry.runs(view, limit=2)] == [ids[2], ids[1]]


def test_unknown_run_or_status_is_refused(registry, view):
    run_id = start(registry, view)

    with pytest.raises(NotFoundError, match="no run 'nope'"):
        registry.finish_run("nope", status="built")
    with pytest.raises(UsageError, match="'done' is none of built, "):
        registry.finish_run(run_id, status="done")
    with pytest.raises(UsageError, match="needs its position"):
        registry.finish_run(run_id, status="built", committed_at=DAY)


def test_position_at_is_the_last_commit_at_or_before_a_moment(registry, view):
    registry.record_commit(view, position=1, delta_version=0, committed_at=DAY, run_id="a")
    registry.finish_run(
        start(registry, view), status="built", position=2, delta_version=1, committed_at=DAY + timedelta(hours=1)
    )

    hours = [timedelta(hours=0) - SOON, timedelta(0), timedelta(hours=1) - SOON, timedelta(hours=1), timedelta(days=9)]
    assert [registry.position_at(view, DAY + after) for after in hours] == [0, 1, 1, 2, 2]


def test_load_records_no_commit(registry, view):
    registry.finish_run(start(registry, view, kind="load"), status="loaded", position=2, delta_version=1)

    assert registry.commits(view) == ()


def test_commit_recorded_again_keeps_its_first_time(registry, view):
    registry.record_commit(view, position=1, delta_version=0, committed_at=DAY, run_id="a")
    registry.record_commit(view, position=1, delta_version=0, committed_at=DAY + SOON, run_id="b")

    (commit,) = registry.commits(view)
    assert (commit.position, commit.delta_version, commit.committed_at, commit.run_id) == (1, 0, DAY, "a")


def test_other_commit_at_a_recorded_position_is_refused(registry, view):
    registry.record_commit(view, position=1, delta_version=0, committed_at=DAY, run_id="a")

    with pytest.raises(RegistryError, match="recorded as Delta version 0, not 5: the offline log was replaced"):
        registry.record_commit(view, position=1, delta_version=5, committed_at=DAY, run_id="b")


def test_validations_come_back_in_order(registry):
    registry.record_validation(
        "run", [{"rule": "not_null", "failing": 1}, {"rule": "unique", "keys": ["customer='é'"]}]
    )
    registry.record_validation("run", [{"rule": "between"}])
    registry.record_validation("other", [])

    assert [result["rule"] for result in registry.validations("run")] == ["not_null", "unique", "between"]
    assert registry.validations("run")[1] == {"rule": "unique", "keys": ["customer='é'"]}
    assert registry.validations("other") == ()


def test_judged_runs_are_those_of_which_the_gate_said_something_newest_first(registry, view):
    ids = [start(registry, view) for _ in range(4)]
    for run_id in (ids[0], ids[1], ids[3]):
        registry.record_validation(run_id, [{"column": "amount"}, {"column": "customer"}])

    assert [run.run_id for run in registry.judged_runs(view, limit=2)] == [ids[3], ids[1]]
    assert [run.run_id for run in registry.judged_runs(view, run_id=ids[1][:12])] == [ids[1]]
    assert registry.judged_runs(view, run_id="%") == ()


def test_what_was_done_to_a_store_is_noted_with_who_did_it(registry):
    registry.note("drop quarantined", {"rows": 3}, actor="ann")

    (entry,) = registry.audit(limit=1)
    assert (entry.actor, entry.action, entry.detail) == ("ann", "drop quarantined", {"rows": 3})
