"""The DAG files as Airflow reads them, and single runs of what they hold."""

import json
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from features.core.schedule import cover, next_tick, previous_tick
from tests.builders import at, make_view
from tests.dags.projects import DAGS, AirflowHome, Project, make_project

DESCRIBE = Path(__file__).with_name("describe_dags.py")
AIRFLOW = str(Path(sys.executable).with_name("airflow"))


def read_dags(home: AirflowHome, project: Project) -> dict[str, Any]:
    output = project.root / "dags.json"
    result = home.run(project, sys.executable, str(DESCRIBE), str(DAGS), str(output))
    assert result.returncode == 0, result.stderr
    content: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def read(airflow_home: AirflowHome, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow reads of a project that no test changes."""
    return read_dags(airflow_home, make_project(tmp_path_factory.mktemp("unchanged")))


def test_each_view_and_training_set_is_a_dag_and_nothing_heavy_is_imported(read: dict[str, Any]) -> None:
    assert read["errors"] == {}
    assert set(read["dags"]) == {"daily", "by_hand", "training_set__delays", "maintenance"}
    heavy = {"pyspark", "delta", "deltalake", "cassandra", "great_expectations", "pandas", "pyarrow", "features.views"}
    assert heavy.isdisjoint(read["modules"])


def test_data_intervals_fill_the_bounds_and_are_in_utc_across_a_clock_change(
    airflow_home: AirflowHome, project: Project
) -> None:
    project.apply(
        make_view(name="daily"),
        # On 2013-03-10 New York put its clocks forward, at 07:00 UTC.
        make_view(name="six_hourly", schedule="0 */6 * * *"),
        make_view(name="weekly", schedule="@weekly"),
        make_view(name="by_hand", schedule=None),
    )
    dags = read_dags(airflow_home, project)["dags"]
    days = [f"2013-03-{day:02}T00:00:00+00:00" for day in range(9, 13)]
    assert dags["daily"]["intervals"] == [[days[0], days[1]], [days[1], days[2]], [days[2], days[3]]]
    hours = [f"2013-03-{day:02}T{hour:02}:00:00+00:00" for day in range(9, 12) for hour in (0, 6, 12, 18)]
    assert dags["six_hourly"]["intervals"] == [list(pair) for pair in zip(hours, [*hours[1:], days[3]], strict=True)]
    # No week, Sunday to Sunday, lies within these three days.
    assert dags["weekly"]["intervals"] == []
    assert dags["by_hand"]["intervals"] == []


def test_data_intervals_of_a_leap_year_are_those_that_jobs_build(airflow_home: AirflowHome, project: Project) -> None:
    start, end = "2011-12-25T00:00:00+00:00", "2013-01-06T00:00:00+00:00"
    (project.root / "conf/local.yaml").write_text(f"airflow: {{start: {start}, end: {end}}}\n", encoding="utf-8")
    # Over two ends of a year, a leap day, and both changes of clocks in New York and in Berlin.
    schedules = {"daily": "@daily", "weekly": "@weekly", "night": "30 2 * * *", "halves": "0 */12 * * *"}
    schedules |= {"months": "0 0 1 * *", "workdays": "0 6 * * 1-5", "thirteenth": "0 0 13 * 5"}
    project.apply(*(make_view(name=name, schedule=schedule) for name, schedule in schedules.items()))
    dags = read_dags(airflow_home, project)["dags"]
    for name, schedule in schedules.items():
        first = next_tick(schedule, at(start) - timedelta(microseconds=1))
        ours = cover(schedule, first, previous_tick(schedule, at(end)))
        assert dags[name]["intervals"] == [[i.start.isoformat(), i.end.isoformat()] for i in ours], name


def test_dag_runs_the_command_in_the_root_with_the_settings_of_the_environment(read: dict[str, Any]) -> None:
    dags = read["dags"]
    (task,) = dags["daily"]["tasks"].values()
    assert task["command"] == (
        "./record.sh jobs/materialize.py --view daily@1 --start '{{ params.start or data_interval_start | ts }}'"
        " --end '{{ params.end or data_interval_end | ts }}' --conf conf --env local"
    )
    assert Path(task["cwd"]).name == "a project"
    assert (task["retries"], task["retry_delay"], dags["daily"]["max_active_runs"]) == (1, 1.0, 1)
    assert task["outlets"] == ["feature_view/daily"]
    assert dags["maintenance"]["tasks"]["maintain"]["command"] == (
        "./record.sh jobs/maintain.py --conf conf --env local"
    )
    assert dags["training_set__delays"]["tasks"]["extract"]["command"] == (
        "./record.sh jobs/training_set.py --name delays --features delay_model --spine data/spine"
        " --conf conf --env local"
    )


def test_each_dag_has_a_doc_an_owner_and_tags(read: dict[str, Any]) -> None:
    for dag_id, dag in read["dags"].items():
        assert "./record.sh jobs/" in dag["doc"], dag_id
        assert dag["owner"] in ("team@example.com", "features")
        assert dag["tags"]


def test_range_by_hand_is_of_instants_and_optional_only_where_there_is_a_data_interval(read: dict[str, Any]) -> None:
    dags = read["dags"]
    assert {schema["format"] for name in ("daily", "by_hand") for schema in dags[name]["params"].values()} == {
        "date-time"
    }
    assert {str(schema["type"]) for schema in dags["by_hand"]["params"].values()} == {"string"}
    assert {str(schema["type"]) for schema in dags["daily"]["params"].values()} == {"['null', 'string']"}


def test_bounds_are_the_schedulers_alone(read: dict[str, Any]) -> None:
    # A task with bounds is left out of a run by hand beyond them, which then counts as a success.
    assert [task["bounds"] for task in read["dags"]["daily"]["tasks"].values()] == [[None, None]]


def test_pools_callbacks_and_deadlines_are_those_of_the_settings(airflow_home: AirflowHome, project: Project) -> None:
    airflow = (
        "{pools: {spark: jobs, cassandra: loads}, on_failure: alerts.pager:page, on_missed_deadline: alerts.pager:late}"
    )
    (project.root / "conf/local.yaml").write_text(f"airflow: {airflow}\n", encoding="utf-8")
    read = read_dags(airflow_home, project)
    told = "there is no package 'alerts' for 'alerts.pager:page' in Airflow's environment"
    assert told in read["errors"]["feature_views.py"]
    package = airflow_home.home / "plugins/alerts"
    package.mkdir(parents=True)
    (package / "pager.py").write_text("raise RuntimeError('imported while parsing')", encoding="utf-8")
    try:
        read = read_dags(airflow_home, project)
    finally:
        shutil.rmtree(package)
    assert read["errors"] == {}
    build, load = read["dags"]["daily"]["tasks"].values()
    assert (build["pool"], load["pool"], load["before"]) == ("jobs", "loads", ["build"])
    assert (build["outlets"], load["outlets"]) == (["feature_view/daily"], [])
    assert build["on_failure"] == load["on_failure"] == ["alerts.pager:page"]
    assert read["dags"]["daily"]["deadlines"] == [timedelta(days=1, minutes=30).total_seconds()]
    assert read["dags"]["by_hand"]["deadlines"] == []
    assert "`airflow pools set jobs 8 'feature views'`" in read["dags"]["daily"]["doc"]


def test_without_a_start_only_the_latest_complete_interval_is_run(airflow_home: AirflowHome, project: Project) -> None:
    (project.root / "conf/local.yaml").write_text("airflow: {start: null, end: null}\n", encoding="utf-8")
    daily = read_dags(airflow_home, project)["dags"]["daily"]
    assert not daily["catchup"]
    assert daily["intervals"][0][0] > "2026"


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ("registry: mysql://registry.example.com/features\n", "features.errors.RegistryError"),
        ("airflow: {starts: 2013-03-09}\n", "airflow.starts: unknown setting"),
        ("registry_password_env: NO_SUCH_VARIABLE\n", "registry_password_env names NO_SUCH_VARIABLE, which is not set"),
    ],
)
def test_what_is_wrong_is_the_import_error_that_airflow_shows(
    airflow_home: AirflowHome, project: Project, conf: str, told: str
) -> None:
    (project.root / "conf/local.yaml").write_text(conf, encoding="utf-8")
    read = read_dags(airflow_home, project)
    assert told in read["errors"]["feature_views.py"]
    assert set(read["dags"]) <= {"training_set__delays", "maintenance"}


def test_parsing_a_hundred_views_reads_the_registry_quickly(airflow_home: AirflowHome, project: Project) -> None:
    project.apply(*(make_view(name=f"view_{number}", delay=timedelta(minutes=number)) for number in range(100)))
    code = (
        "import time, airflow.sdk; from features.orchestration.airflow_dags import render_feature_views;"
        "started = time.process_time(); dags = render_feature_views();"
        "print('seconds', len(dags), time.process_time() - started)"
    )
    result = airflow_home.run(project, sys.executable, "-c", code)
    word, count, seconds = result.stdout.splitlines()[-1].split()
    assert (word, count) == ("seconds", "100")
    # Airflow gives up after 30 s by default, and parses at every task.
    assert float(seconds) < 5


def test_run_of_a_dag_passes_its_data_interval(airflow_home: AirflowHome, project: Project) -> None:
    result = airflow_home.run(project, AIRFLOW, "dags", "test", "daily", "2013-03-10T00:00:00+00:00")
    assert result.returncode == 0, result.stdout + result.stderr
    assert project.calls("daily") == [project.call("daily", "2013-03-09", "2013-03-10")]


def test_program_that_is_missing_fails_a_run_at_once_and_names_the_setting(
    airflow_home: AirflowHome, project: Project
) -> None:
    conf = "airflow: {spark_submit: no-such-submit, retries: 1, retry_delay_seconds: 1}\n"
    (project.root / "conf/local.yaml").write_text(conf, encoding="utf-8")
    result = airflow_home.run(project, AIRFLOW, "dags", "test", "daily", "2013-03-10T00:00:00+00:00")
    told = result.stdout + result.stderr
    assert "the command cannot be run here, see above; correct airflow.spark_submit: " in told
    assert told.count("Running command: ") == 1
    assert result.returncode != 0
