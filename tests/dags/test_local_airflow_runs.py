"""The local Airflow, started for real: what it runs, what it tells of failures, and what it leaves behind."""

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from features import ViewSource
from features.errors import FeatureStoreError, PlatformError
from features.orchestration.airflow_client import read_import_errors, read_task_log
from features.orchestration.local_airflow import LocalAirflow
from features.orchestration.local_config import build_environment
from tests.builders import make_view
from tests.dags.projects import DAGS, Project, make_project

pytestmark = pytest.mark.integration


# What a team has called when a run has failed for good; it writes beside the registry.
PAGER = """\
import os
from pathlib import Path

def page(context):
    with Path(os.environ["FEATURES_CONF"]).with_name("paged.txt").open("a") as file:
        print(context["dag"].dag_id, str(context["exception"]).splitlines()[0], file=file)
"""
PAGED = "airflow: {on_failure: 'pager:page'}\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("local"))
    reader = make_view(name="reader", sources=[ViewSource(name="slow", view="slow")])
    scheduled = [make_view(name=name) for name in ("daily", "other", "slow")]
    project.apply(*scheduled, reader, make_view(name="by_hand", schedule=None))
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
        airflow.unpause(["daily", "other", "by_hand"])
        yield airflow
    finally:
        airflow.stop()


def local_airflow(project: Project) -> LocalAirflow:
    environment = {"FEATURES_CONF": str(project.root / "conf"), "PYTHONPATH": str(project.root / "plugins")}
    return LocalAirflow(
        home=project.root / ".state/airflow",
        dags=DAGS,
        root=project.root,
        parse_seconds=3,
        triggerer=True,
        environment=environment,
    )


def wait_until_running(airflow: LocalAirflow, dag_id: str, process: str) -> None:
    deadline = time.monotonic() + 60
    while not any(process in " ".join(found.cmdline()) for found in processes_of(airflow.home)):
        assert time.monotonic() < deadline, airflow.run_states([dag_id])
        time.sleep(0.2)


def wait_until_done(airflow: LocalAirflow, dag_id: str, run_id: str) -> str:
    deadline = time.monotonic() + 90
    while True:
        (state,) = (run.state for run in airflow.run_states([dag_id])[dag_id] if run.run_id == run_id)
        if state in ("success", "failed"):
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.2)


def wait_until_logged(airflow: LocalAirflow, dag_id: str, words: str) -> None:
    deadline = time.monotonic() + 90
    while not any(words in log for log in logs_of(airflow, dag_id)):
        assert time.monotonic() < deadline, airflow.run_states([dag_id])
        time.sleep(0.2)


def logs_of(airflow: LocalAirflow, dag_id: str) -> list[str]:
    return [read_task_log(airflow.home, dag_id, run.run_id, lines=99) for run in airflow.run_states([dag_id])[dag_id]]


def processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("AIRFLOW_HOME") == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


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
    command = [str(Path(sys.executable).parent / "airflow"), "backfill", "create", "--dag-id", "daily", *days]
    environment = build_environment(home=airflow.home, marker=("NONE", ""), extra=airflow.environment)
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
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


def test_view_waits_for_the_view_that_it_reads_and_builds_from_the_version_in_its_event(
    airflow: LocalAirflow, project: Project
) -> None:
    airflow.unpause(["reader"])
    wait_until_logged(airflow, "reader", "slow@1 lacks [2013-03-09T00:00:00+00:00, 2013-03-10T00:00:00+00:00)")
    assert project.calls("reader") == []
    # What the job tells of, in whose place a shell script runs.
    project.commit("slow", position=8, delta_version=7)
    airflow.unpause(["slow"])
    airflow.wait_for_runs({"slow": 3, "reader": 3}, timeout_seconds=180)
    days = [f"2013-03-{day:02}" for day in range(9, 13)]
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
    paged = (project.root / "paged.txt").read_text(encoding="utf-8").splitlines()
    assert "by_hand SourceError: no folder data/payments" in paged[-1]
    (project.root / "repaired").touch()
    assert airflow.rerun_failed(["by_hand", "daily"]) == 1
    done = sum(run.state == "success" for run in airflow.run_states(["by_hand"])["by_hand"])
    airflow.wait_for_runs({"by_hand": done + 1}, timeout_seconds=90)


def test_failure_that_a_retry_may_cure_is_retried_and_then_told(airflow: LocalAirflow, project: Project) -> None:
    run_id = airflow.trigger("by_hand", {"start": "1997-01-01T00:00:00Z", "end": "1997-01-02T00:00:00Z"})
    assert wait_until_done(airflow, "by_hand", run_id) == "failed"
    assert sum("--start 1997-" in call for call in project.calls("by_hand")) == 2
    assert "StorageError: the warehouse does not answer" in read_task_log(airflow.home, "by_hand", run_id, lines=200)


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
