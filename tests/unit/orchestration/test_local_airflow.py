"""What the local Airflow does without starting one: configuration, environment, reading of runs and logs."""

import configparser
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.core.schedule import Interval
from features.errors import FeatureStoreError, PlatformError
from features.orchestration.airflow_client import AirflowApi, DagRunState, read_runs, read_task_log
from features.orchestration.local_airflow import LocalAirflow
from features.orchestration.local_config import build_environment, render_config
from features.orchestration.local_processes import Component, end_all, spawn

MARKER = ("FEATURES_LOCAL_AIRFLOW", "test")
FIRST_DAY = Interval(datetime(2013, 3, 7, tzinfo=UTC), datetime(2013, 3, 8, tzinfo=UTC))


@pytest.fixture
def airflow(tmp_path: Path) -> LocalAirflow:
    return LocalAirflow(home=tmp_path / "airflow", dags=tmp_path / "dags", root=tmp_path)


@pytest.fixture
def runs(airflow: LocalAirflow) -> Iterator[sqlite3.Connection]:
    airflow.home.mkdir()
    with closing(sqlite3.connect(airflow.home / "airflow.db")) as connection:
        columns = "dag_id, run_id, state, data_interval_start, data_interval_end"
        connection.execute(f"CREATE TABLE dag_run (id INTEGER PRIMARY KEY, {columns})")
        yield connection


def add_run(connection: sqlite3.Connection, dag_id: str, state: str, start: str | None, end: str | None) -> None:
    insert = (
        "INSERT INTO dag_run (dag_id, run_id, state, data_interval_start, data_interval_end) VALUES (?, ?, ?, ?, ?)"
    )
    connection.execute(insert, (dag_id, f"run__{start}", state, start, end))
    connection.commit()


def config(home: Path, port: int = 1) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(
        render_config(home=home, dags=home / "dags", host="127.0.0.1", port=port, parallelism=2, parse_seconds=10)
    )
    return parser


def test_configuration_is_for_loopback_and_keeps_its_keys(tmp_path: Path) -> None:
    first, second = config(tmp_path, port=4711), config(tmp_path, port=4712)
    assert first["api"]["host"] == "127.0.0.1"
    assert first["core"]["execution_api_server_url"] == "http://127.0.0.1:4711/execution/"
    assert second["api_auth"]["jwt_secret"] == first["api_auth"]["jwt_secret"]
    assert os.stat(tmp_path / "keys.json").st_mode & 0o077 == 0


def test_folder_with_a_percent_sign_is_read_back_as_it_is(tmp_path: Path) -> None:
    odd = tmp_path / "100%"
    odd.mkdir()
    assert config(odd)["core"]["dags_folder"] == str(odd / "dags")


def test_environment_drops_what_would_mislead_airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("NO_PROXY", "example.com")
    monkeypatch.setenv("JAVA_HOME", "/opt/java")
    environment = build_environment(home=tmp_path, marker=MARKER, extra={"FEATURES_ENV": "test"})
    assert not {"AIRFLOW__CORE__LOAD_EXAMPLES", "PYTHONPATH"} & set(environment)
    assert environment["NO_PROXY"] == "example.com,127.0.0.1,localhost"
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    kept = {name: environment[name] for name in ("AIRFLOW_HOME", "JAVA_HOME", "FEATURES_ENV", MARKER[0])}
    assert kept == {
        "AIRFLOW_HOME": str(tmp_path),
        "JAVA_HOME": "/opt/java",
        "FEATURES_ENV": "test",
        MARKER[0]: MARKER[1],
    }


def test_runs_are_read_in_order_without_a_running_airflow(airflow: LocalAirflow, runs: sqlite3.Connection) -> None:
    add_run(runs, "carrier_delay", "running", "2013-03-08 00:00:00.000000", "2013-03-09 00:00:00.000000")
    add_run(runs, "carrier_delay", "success", "2013-03-07 00:00:00.000000", "2013-03-08 00:00:00.000000")
    add_run(runs, "by_hand", "queued", None, None)
    add_run(runs, "other", "failed", None, None)
    states = airflow.run_states(["carrier_delay", "by_hand", "never_ran"])
    assert [run.state for run in states["carrier_delay"]] == ["success", "running"]
    assert states["carrier_delay"][0].interval == FIRST_DAY
    assert states["by_hand"] == (DagRunState(run_id="run__None", state="queued", interval=None),)
    assert states["never_ran"] == ()
    assert set(states) == {"carrier_delay", "by_hand", "never_ran"}


def test_no_database_means_no_runs(airflow: LocalAirflow) -> None:
    assert airflow.run_states(["carrier_delay"]) == {"carrier_delay": ()}


def test_database_that_is_none_is_a_clear_error(airflow: LocalAirflow) -> None:
    airflow.home.mkdir()
    (airflow.home / "airflow.db").write_text("no database at all", encoding="utf-8")
    with pytest.raises(PlatformError, match=r"cannot read .*airflow\.db"):
        read_runs(airflow.home, ["carrier_delay"])


def test_waiting_for_runs_that_are_done_needs_no_airflow(airflow: LocalAirflow, runs: sqlite3.Connection) -> None:
    add_run(runs, "carrier_delay", "success", "2013-03-07 00:00:00.000000", "2013-03-08 00:00:00.000000")
    told: list[str] = []
    airflow.wait_for_runs({"carrier_delay": 1}, timeout_seconds=1, progress=told.append)
    assert told == ["carrier_delay 1/1"]


def test_waiting_without_an_airflow_fails_at_once(airflow: LocalAirflow, runs: sqlite3.Connection) -> None:
    with pytest.raises(PlatformError, match="was stopped; start it again"):
        airflow.wait_for_runs({"carrier_delay": 1}, timeout_seconds=60)


def test_failed_run_is_told_with_the_end_of_its_newest_log(airflow: LocalAirflow, runs: sqlite3.Connection) -> None:
    add_run(runs, "carrier_delay", "failed", "2013-03-07 00:00:00.000000", "2013-03-08 00:00:00.000000")
    folder = airflow.home / "logs/dag_id=carrier_delay/run_id=run__2013-03-07 00:00:00.000000/task_id=materialize"
    folder.mkdir(parents=True)
    for attempt, event in ((1, "first attempt"), (2, "SourceError: no folder data/flights")):
        log = folder / f"attempt={attempt}.log"
        log.write_text(json.dumps({"level": "info", "event": event}) + "\nnot json\n", encoding="utf-8")
        os.utime(log, (attempt, attempt))
    with pytest.raises(FeatureStoreError) as caught:
        airflow.wait_for_runs({"carrier_delay": 1}, timeout_seconds=60)
    assert str(caught.value) == (
        "DAG carrier_delay failed for [2013-03-07T00:00:00+00:00, 2013-03-08T00:00:00+00:00); the end of its log:\n"
        "SourceError: no folder data/flights\nnot json"
    )


def test_log_of_a_run_without_a_task_is_empty(tmp_path: Path) -> None:
    assert read_task_log(tmp_path, "carrier_delay", "run") == ""


def test_airflow_that_was_never_started_has_no_address(airflow: LocalAirflow) -> None:
    assert not airflow.status().running
    airflow.stop()
    with pytest.raises(PlatformError, match="start it first"):
        airflow.wait_ready()


def test_nothing_that_answers_is_not_healthy() -> None:
    api = AirflowApi(url="http://127.0.0.1:1")
    assert not api.is_healthy()
    with pytest.raises(PlatformError, match="no answer from Airflow"):
        api.dag_ids()


def test_ending_takes_processes_that_left_their_parent_and_ignore_signals(tmp_path: Path) -> None:
    stubborn = "trap '' INT TERM; echo started; while :; do sleep 0.1; done"
    # The middle shell ends: its child has another session, and no parent of ours.
    script = f'setsid sh -c "{stubborn}" & exec sleep 60'
    environment = {"PATH": os.environ["PATH"], MARKER[0]: str(tmp_path)}
    log = tmp_path / "log"
    component = spawn("one", ["/bin/sh", "-c", script], cwd=tmp_path, environment=environment, log=log)
    while "started" not in log.read_text(encoding="utf-8"):
        assert component.runs()
    end_all([component], marker=(MARKER[0], str(tmp_path)), grace_seconds=0.3)
    assert not component.runs()
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "trap '' INT TERM; echo started" not in listing


def test_ending_spares_a_stranger_with_the_pid_of_a_component(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        end_all([Component(name="old", pid=stranger.pid, mark="another boot:1")], marker=(MARKER[0], str(tmp_path)))
        assert stranger.poll() is None
        stranger.communicate(b"\n")
