"""A local Airflow for tests: how it is made for a project, asked, and waited for."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from features.orchestration.airflow_client import read_task_log
from features.orchestration.local_airflow import LocalAirflow
from features.orchestration.local_config import build_environment
from tests.dags.projects import DAGS, Project

# What a team has called when a run has failed for good, or is late; it writes beside the registry. `nobody` is missing.
PAGER = """\
import os
from pathlib import Path

def tell(file, *words):
    with Path(os.environ["FEATURES_CONF"]).with_name(file).open("a") as file:
        print(*words, file=file)

def page(context):
    tell("paged.txt", context["dag"].dag_id, str(context["exception"]).splitlines()[0])

def late(context):
    run = context["dag_run"]
    tell("late.txt", run["dag_id"], run["data_interval_start"], run["data_interval_end"])
"""
PAGED = """\
airflow:
  on_failure: ['pager:nobody', 'pager:page']
  on_missed_deadline: ['pager:nobody', 'pager:late']
  pools: {spark: jobs}
"""


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


def ask(airflow: LocalAirflow, method: str, path: str, body: dict[str, object] | None = None) -> Any:
    """What the REST API answers."""
    return airflow.api._call(method, path, body)


def run_airflow(airflow: LocalAirflow, *words: str) -> None:
    """Airflow's own command line."""
    environment = build_environment(home=airflow.home, marker=("NONE", ""), extra=airflow.environment)
    command = [str(Path(sys.executable).parent / "airflow"), *words]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def blocked_by(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> str:
    """What Airflow's UI lists as what blocks a task."""
    path = f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}/dependencies"
    return str(ask(airflow, "GET", path))


def deadlines_of(airflow: LocalAirflow, dag_id: str, run_id: str) -> list[tuple[Any, ...]]:
    """Of each deadline that a run still has: whether it was missed, how its callback ended, and with what."""
    query = (
        "SELECT missed, callback.state, callback.output FROM deadline JOIN callback ON callback_id = callback.id"
        " JOIN dag_run ON dagrun_id = dag_run.id WHERE dag_run.dag_id = ? AND run_id = ?"
    )
    database = f"{(airflow.home / 'airflow.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(database, uri=True, timeout=30)) as connection:
        return connection.execute(query, (dag_id, run_id)).fetchall()


def wait_until(holds: Callable[[], bool], told: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(0.2)


def wait_until_running(airflow: LocalAirflow, dag_id: str, process: str) -> None:
    wait_until(
        lambda: any(process in " ".join(found.cmdline()) for found in processes_of(airflow.home)),
        lambda: airflow.run_states([dag_id]),
    )


def wait_until_done(airflow: LocalAirflow, dag_id: str, run_id: str) -> str:
    def state() -> str:
        (found,) = (run.state for run in airflow.run_states([dag_id])[dag_id] if run.run_id == run_id)
        return found

    wait_until(lambda: state() in ("success", "failed"), state)
    return state()


def wait_until_logged(airflow: LocalAirflow, dag_id: str, words: str) -> None:
    wait_until(lambda: any(words in log for log in logs_of(airflow, dag_id)), lambda: airflow.run_states([dag_id]))


def wait_until_written(path: Path, words: str) -> None:
    wait_until(lambda: words in read(path), lambda: read(path)[-2000:])


def read(path: Path) -> str:
    """The text of a file that may not be there yet."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


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
