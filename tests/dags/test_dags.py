"""The DAG files as Airflow reads them, and single runs of what they hold."""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import make_view
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
    assert set(read["dags"]) == {"daily", "by_hand", "training_set__delays"}
    heavy = {"pyspark", "delta", "cassandra", "great_expectations", "pandas", "features.views"}
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


def test_dag_runs_the_command_in_the_root_with_the_settings_of_the_environment(read: dict[str, Any]) -> None:
    dags = read["dags"]
    assert dags["daily"]["command"] == (
        "./record.sh jobs/materialize.py --view daily@1 --start '{{ data_interval_start | ts }}'"
        " --end '{{ data_interval_end | ts }}' --conf conf --env local"
    )
    assert Path(dags["daily"]["cwd"]).name == "a project"
    assert (dags["daily"]["retries"], dags["daily"]["retry_delay"], dags["daily"]["max_active_runs"]) == (1, 1.0, 1)
    assert dags["training_set__delays"]["command"] == (
        "./record.sh jobs/training_set.py --name delays --features delay_model --spine data/spine"
        " --conf conf --env local"
    )


def test_run_that_airflow_would_leave_empty_cannot_be_triggered(read: dict[str, Any]) -> None:
    dags = read["dags"]
    assert dags["daily"]["allowed_run_types"] == ["backfill", "scheduled"]
    assert dags["by_hand"]["allowed_run_types"] == []
    assert {schema["format"] for schema in dags["by_hand"]["params"].values()} == {"date-time"}


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
    ],
)
def test_what_is_wrong_is_the_import_error_that_airflow_shows(
    airflow_home: AirflowHome, project: Project, conf: str, told: str
) -> None:
    (project.root / "conf/local.yaml").write_text(conf, encoding="utf-8")
    read = read_dags(airflow_home, project)
    assert told in read["errors"]["feature_views.py"]
    assert set(read["dags"]) <= {"training_set__delays"}


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
