"""A real `airflow standalone` for a project, and what happens to it: kill -9, restarts, cleared tasks."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from features.core.times import format_instant
from features.embedded.ports import choose_free
from features.orchestration.local_airflow import LocalAirflow
from features.orchestration.local_config import build_environment
from tests.soak.project import CHECKOUT, FlightsProject

_JOB = "jobs/materialize.py"


@dataclass(frozen=True, kw_only=True)
class Submit:
    """A spark-submit that runs: the JVM of the job of one interval of a view."""

    view: str
    start: datetime
    process: psutil.Process

    def kill(self) -> bool:
        """End it -9, and all that the task's shell started; False: it was over already."""
        try:
            group = os.getpgid(self.process.pid)
            assert group != os.getpgid(0)
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.process.wait(30)
        return True


@dataclass(frozen=True, kw_only=True)
class Standalone:
    """The Airflow of a project."""

    project: FlightsProject
    airflow: LocalAirflow

    @classmethod
    def of(cls, project: FlightsProject, *, parallelism: int) -> "Standalone":
        worker, trigger = choose_free("127.0.0.1"), choose_free("127.0.0.1")
        environment = {
            "FEATURES_CONF": str(project.root / "conf"),
            "FEATURES_ENV": "local",
            # Those of another Airflow on this machine may be taken.
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger),
            # What a killed scheduler left behind is found in half a minute rather than in five.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
        }
        airflow = LocalAirflow(
            home=project.root / ".state/airflow",
            dags=CHECKOUT / "dags",
            root=project.root,
            parallelism=parallelism,
            standalone=True,
            environment=environment,
        )
        return cls(project=project, airflow=airflow)

    def start(self) -> None:
        """Start it, and return when it is healthy."""
        self.airflow.start()
        self.airflow.wait_ready(timeout_seconds=300)

    def kill_scheduler(self) -> None:
        """End the scheduler -9, then start all of it again."""
        (scheduler,) = self._schedulers()
        scheduler.kill()
        self.restart()

    def restart(self) -> None:
        """Start all of it again, as whoever looks after a machine does."""
        self.airflow.stop()
        self.start()

    def is_scheduling(self) -> bool:
        """Whether its scheduler is there: `airflow standalone` goes on without one."""
        return bool(self._schedulers())

    def _schedulers(self) -> list[psutil.Process]:
        (component,) = self.airflow.status().components
        try:
            children = psutil.Process(component.pid).children()
            return [child for child in children if "scheduler" in " ".join(child.cmdline())]
        except psutil.Error:
            return []

    def submits(self) -> Iterator[Submit]:
        """The jobs that are computing: their runs are in the registry, and not over."""
        with self.project.open_registry() as registry:
            for process in psutil.process_iter():
                try:
                    words = process.cmdline()
                    if "java" not in Path(words[0]).name or _JOB not in words or not self._owns(process):
                        continue
                    began = process.create_time()
                except (psutil.Error, IndexError):
                    continue
                view, start = (words[words.index(name) + 1] for name in ("--view", "--start"))
                (*_, run) = (None, *registry.runs(registry.view(view), limit=1))
                found = Submit(view=view.partition("@")[0], start=datetime.fromisoformat(start), process=process)
                if run is not None and run.status == "running" and run.started_at.timestamp() > began:
                    yield found

    def clear(self, view: str, since: datetime) -> None:
        """What docs/airflow.md says of a repaired source."""
        words = ["tasks", "clear", view, "--start-date", since.isoformat(), "--only-failed", "--yes"]
        command = [str(Path(sys.executable).with_name("airflow")), *words]
        home, extra = self.airflow.home, self.airflow.environment
        environment = build_environment(home=home, marker=("NONE", ""), extra=extra)
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    def log(self, view: str, run_id: str) -> str:
        """All that a run's newest attempt logged, the exception that it ended with included."""
        folder = self.airflow.home / f"logs/dag_id={view}/run_id={run_id}"
        return max(folder.rglob("attempt=*.log"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8")

    def attempts(self, view: str = "*", run_id: str = "*") -> int:
        """How often a task was started, of one run or of all."""
        return len(list(self.airflow.home.glob(f"logs/dag_id={view}/run_id={run_id}/**/attempt=*.log")))

    def tries(self, view: str, run_id: str) -> tuple[int, int]:
        """Which try of a run's task was the last, and how many retries it may have."""
        query = "SELECT try_number, max_tries FROM task_instance WHERE dag_id = ? AND run_id = ?"
        ((number, most),) = self._query(query, view, run_id)
        return int(number), int(most)

    def unfinished(self) -> list[str]:
        """A line for each run that is not done, with what became of its task, and the end of its log."""
        query = (
            "SELECT run.dag_id, run.run_id, run.state, task.state, task.try_number, task.queued_dttm, task.start_date,"
            " task.end_date FROM dag_run AS run LEFT JOIN task_instance AS task"
            " ON task.dag_id = run.dag_id AND task.run_id = run.run_id WHERE run.state != 'success'"
        )
        told = []
        for view, run_id, *facts in self._query(query):
            tail = self.log(view, run_id)[-2000:] if self.attempts(view, run_id) else "no log"
            told.append(f"{view} {run_id}: {facts}: {tail}")
        return told

    def event_versions(self, view: str) -> dict[str, int | None]:
        """The Delta version in the newest asset event of each interval of a view, by the interval's start."""
        query = (
            "SELECT event.extra FROM asset_event AS event JOIN asset ON asset.id = event.asset_id"
            " WHERE asset.name = ? ORDER BY event.id"
        )
        extras = [json.loads(extra) for (extra,) in self._query(query, f"feature_view/{view}")]
        return {format_instant(datetime.fromisoformat(e["start"])): e["delta_version"] for e in extras if "start" in e}

    def _owns(self, process: psutil.Process) -> bool:
        return bool(process.environ().get("AIRFLOW_HOME") == str(self.airflow.home))

    def _query(self, query: str, *values: str) -> list[Any]:
        database = self.airflow.home / "airflow.db"
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()
