"""The local Airflow, started for real: what it runs, what it tells of failures, and what it leaves behind."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from features import ViewSource
from features.errors import FeatureStoreError, PlatformError
from features.orchestration.airflow_client import read_import_errors, read_task_log
from features.orchestration.local_airflow import LocalAirflow
from tests.builders import at, make_view
from tests.dags.live import (
    PAGED,
    PAGER,
    ask,
    blocked_by,
    deadlines_of,
    local_airflow,
    processes_of,
    read,
    run_airflow,
    wait_until,
    wait_until_done,
    wait_until_logged,
    wait_until_running,
    wait_until_written,
)
from tests.dags.projects import Project, make_project

pytestmark = pytest.mark.integration

VIEWS = (
    *(make_view(name=name) for name in ("daily", "other", "slow")),
    make_view(name="reader", sources=[ViewSource(name="slow", view="slow")]),
    make_view(name="by_hand", schedule=None),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("local"))
    project.apply(*VIEWS)
    (project.root / "plugins").mkdir()
    (project.root / "plugins/pager.py").write_text(PAGER, encoding="utf-8")
    (project.root / "conf/local.yaml").write_text(PAGED, encoding="utf-8")
    return project


@pytest.fixture(scope="module")
def airflow(project: Project) -> Iterator[LocalAirflow]:
    airflow = local_airflow(project)
    airflow.start()
    try:
        airflow.wait_ready()
        ask(airflow, "POST", "pools", {"name": "jobs", "slots": 8})
        airflow.unpause(["daily", "other", "by_hand"])
        yield airflow
    finally:
        airflow.stop()


def test_each_interval_within_the_bounds_is_run_once_and_a_failed_one_again(
    airflow: LocalAirflow, project: Project
) -> None:
    (project.root / "fails-once.txt").write_text("2013-03-10T", encoding="utf-8")
    told: list[str] = []
    airflow.wait_for_runs({"daily": 3, "other": 3}, timeout_seconds=120, progress=told.append)
    days = [f"2013-03-{day:02}" for day in range(9, 13)]
    expected = {view: [project.call(view, *day) for day in pairwise(days)] for view in ("daily", "other")}
    ran = {view: project.calls(view) for view in expected}
    assert {view: sorted(set(calls)) for view, calls in ran.items()} == expected
    assert sum(len(calls) for calls in ran.values()) == 7
    assert {"daily 3/3", "other 3/3"} <= set(told)
    assert not (project.root / "fails-once.txt").exists()


def test_a_backfill_of_airflow_runs_the_intervals_that_it_is_asked_for(airflow: LocalAirflow, project: Project) -> None:
    days = ("--from-date", "2013-02-01", "--to-date", "2013-02-02")
    run_airflow(airflow, "backfill", "create", "--dag-id", "daily", *days)
    wanted = {project.call("daily", *day) for day in (("2013-02-01", "2013-02-02"), ("2013-02-02", "2013-02-03"))}
    deadline = time.monotonic() + 90
    while not wanted <= set(project.calls("daily")):
        assert time.monotonic() < deadline, project.calls("daily")
        time.sleep(0.2)


def test_run_by_hand_takes_its_range_from_whoever_triggers_it(airflow: LocalAirflow, project: Project) -> None:
    done = len(project.calls("by_hand"))
    airflow.trigger("by_hand", {"start": "2013-03-01T00:00:00+00:00", "end": "2013-03-05T00:00:00Z"})
    deadline = time.monotonic() + 60
    while len(project.calls("by_hand")) == done:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    command = "local jobs/materialize.py --view by_hand@1 --start 2013-03-01T00:00:00+00:00 --end 2013-03-05T00:00:00Z"
    assert f"{command} --conf conf --env local" in project.calls("by_hand")


def test_range_that_is_no_time_never_reaches_a_shell(airflow: LocalAirflow, project: Project) -> None:
    with pytest.raises(PlatformError, match="Airflow refused POST"):
        airflow.trigger("by_hand", {"start": "2013-03-01T00:00:00Z'; touch broken; '", "end": "2013-03-05T00:00:00Z"})
    assert not (project.root / "broken").exists()


def test_view_waits_for_the_view_that_it_reads_and_builds_from_the_version_that_was_written(
    airflow: LocalAirflow, project: Project
) -> None:
    airflow.unpause(["reader"])
    wait_until_logged(airflow, "reader", "slow@1 lacks [2013-03-09T00:00:00+00:00, 2013-03-10T00:00:00+00:00)")
    assert project.calls("reader") == []
    # What the job records, in whose place a shell script runs.
    days = [f"2013-03-{day:02}" for day in range(9, 13)]
    project.record("slow", days, delta_version=7)
    airflow.unpause(["slow"])
    airflow.wait_for_runs({"slow": 3, "reader": 3}, timeout_seconds=180)
    assert project.calls("reader") == [f"{project.call('reader', *day)} --upstream slow@1=7" for day in pairwise(days)]


def test_scheduled_dag_runs_a_range_by_hand_beyond_its_bounds_too(airflow: LocalAirflow, project: Project) -> None:
    run_id = airflow.trigger("other", {"start": "2015-06-01T00:00:00Z", "end": "2015-06-03T00:00:00Z"})
    assert wait_until_done(airflow, "other", run_id) == "success"
    call = "local jobs/materialize.py --view other@1 --start 2015-06-01T00:00:00Z --end 2015-06-03T00:00:00Z"
    assert f"{call} --conf conf --env local" in project.calls("other")


@pytest.mark.parametrize(
    ("conf", "told"),
    [({}, "trigger it with start and end of a range"), ({"start": "2015-06-01T00:00:00Z"}, "go together")],
)
def test_run_by_hand_without_a_range_says_what_it_lacks_at_once(
    airflow: LocalAirflow, project: Project, conf: dict[str, str], told: str
) -> None:
    before = project.calls("other")
    run_id = airflow.trigger("other", conf)
    assert wait_until_done(airflow, "other", run_id) == "failed"
    assert told in read_task_log(airflow.home, "other", run_id, lines=200)
    assert project.calls("other") == before


def test_dag_that_does_not_exist_is_named(airflow: LocalAirflow) -> None:
    with pytest.raises(PlatformError, match=r"no DAG carrier_delays .* it found by_hand, daily, maintenance, other"):
        airflow.unpause(["carrier_delays"], timeout_seconds=0)


def test_failure_that_no_retry_cures_fails_at_once_in_the_words_of_the_job_and_runs_again_when_asked(
    airflow: LocalAirflow, project: Project
) -> None:
    airflow.trigger("by_hand", {"start": "1999-01-01T00:00:00Z", "end": "1999-01-02T00:00:00Z"})
    with pytest.raises(FeatureStoreError, match=r"DAG by_hand failed(.|\n)*SourceError: no folder data/payments"):
        airflow.wait_for_runs({"by_hand": 100}, timeout_seconds=90)
    assert sum("--start 1999-" in call for call in project.calls("by_hand")) == 1
    wait_until_written(project.root / "paged.txt", "by_hand SourceError: no folder data/payments")
    (project.root / "repaired").touch()
    assert airflow.rerun_failed(["by_hand", "daily"]) == 1
    done = sum(run.state == "success" for run in airflow.run_states(["by_hand"])["by_hand"])
    airflow.wait_for_runs({"by_hand": done + 1}, timeout_seconds=90)


def test_failure_that_a_retry_may_cure_is_retried_and_then_told(airflow: LocalAirflow, project: Project) -> None:
    run_id = airflow.trigger("by_hand", {"start": "1997-01-01T00:00:00Z", "end": "1997-01-02T00:00:00Z"})
    assert wait_until_done(airflow, "by_hand", run_id) == "failed"
    assert sum("--start 1997-" in call for call in project.calls("by_hand")) == 2
    assert "StorageError: the warehouse does not answer" in read_task_log(airflow.home, "by_hand", run_id, lines=200)


def test_callback_that_does_not_exist_is_told_in_the_log_and_silences_no_other(
    airflow: LocalAirflow, project: Project
) -> None:
    run_id = airflow.trigger("by_hand", {"start": "1996-01-01T00:00:00Z", "end": "1996-01-02T00:00:00Z"})
    assert wait_until_done(airflow, "by_hand", run_id) == "failed"
    wait_until_written(project.root / "paged.txt", "by_hand SourceError: no folder data/refunds")
    log = read_task_log(airflow.home, "by_hand", run_id, lines=200)
    assert "'pager:nobody' cannot be called: module 'pager' has no attribute 'nobody'; correct airflow.on_fail" in log


def test_late_run_is_told_once_with_its_interval_and_one_in_time_is_not(
    airflow: LocalAirflow, project: Project
) -> None:
    # What the first interval gives is expected online in some seconds, what the next two give days later.
    expected = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=45)
    project.apply(*VIEWS, make_view(name="tardy", delay=expected - at("2013-03-10")))
    airflow.unpause(["tardy"])
    airflow.wait_for_runs({"tardy": 3}, timeout_seconds=150)
    # Nor is any run of the other views: those of catch-up are made after their deadlines.
    assert read(project.root / "late.txt") == "tardy 2013-03-09T00:00:00Z 2013-03-10T00:00:00Z\n"
    first, *later = (run.run_id for run in airflow.run_states(["tardy"])["tardy"])
    assert [deadlines_of(airflow, "tardy", run_id) for run_id in later] == [[], []]
    # That `nobody` is missing is told, and kept nobody from being called.
    wait_until(lambda: "cannot be called: module" in str(deadlines_of(airflow, "tardy", first)), lambda: first)


def test_task_whose_pool_is_missing_is_not_started_until_the_pool_is_made(
    airflow: LocalAirflow, project: Project
) -> None:
    run_airflow(airflow, "pools", "delete", "jobs")
    try:
        run_id = airflow.trigger("by_hand", {"start": "2014-01-01T00:00:00Z", "end": "2014-01-02T00:00:00Z"})
        told = "Tasks using non-existent pool 'jobs' will not be scheduled"
        wait_until_written(airflow.home / "scheduler.log", told)
        assert told in blocked_by(airflow, "by_hand", run_id, "materialize")
        assert not any("--start 2014-" in call for call in project.calls("by_hand"))
    finally:
        run_airflow(airflow, "pools", "set", "jobs", "8", "feature views")
    assert wait_until_done(airflow, "by_hand", run_id) == "success"


def test_dag_files_that_break_end_the_wait_with_the_reason(airflow: LocalAirflow, project: Project) -> None:
    conf = project.root / "conf/local.yaml"
    conf.write_text("airflow: {starts: 2013-03-09}\n", encoding="utf-8")
    try:
        with pytest.raises(PlatformError, match=r"cannot import its DAG files(.|\n)*airflow\.starts: unknown setting"):
            airflow.wait_for_runs({"daily": 100}, timeout_seconds=120)
    finally:
        conf.write_text(PAGED, encoding="utf-8")
    deadline = time.monotonic() + 60
    while read_import_errors(airflow.home):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_starting_again_changes_nothing_from_any_process(airflow: LocalAirflow, project: Project) -> None:
    before = airflow.status()
    assert before.running
    assert local_airflow(project).start() == before


def test_stop_ends_a_running_task_and_leaves_no_process(airflow: LocalAirflow) -> None:
    airflow.trigger("by_hand", {"start": "1998-01-01T00:00:00Z", "end": "1998-01-02T00:00:00Z"})
    wait_until_running(airflow, "by_hand", "sleep 600")
    airflow.stop()
    assert processes_of(airflow.home) == []
    assert not airflow.status().running
    with pytest.raises(PlatformError, match="start it again"):
        airflow.wait_ready()
