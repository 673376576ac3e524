"""An Airflow on this machine, for the demo and for tests: SQLite, local tasks, loopback only, no login.

Its processes are sessions of their own, so they outlive whoever started them, until `stop()`.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from features.embedded.locking import exclusive
from features.embedded.ports import choose_free, is_free
from features.errors import FeatureStoreError, PlatformError
from features.orchestration.airflow_client import AirflowApi, DagRunState, read_import_errors, read_runs, read_task_log
from features.orchestration.local_config import build_environment, render_config
from features.orchestration.local_processes import Component, end_all, find_airflow, spawn

# Logs are served by the API server from the files; the scheduler's own log server would listen on all interfaces.
_COMPONENTS: dict[str, tuple[str, ...]] = {"api-server": (), "scheduler": ("--skip-serve-logs",), "dag-processor": ()}
_TRIGGERER = {"triggerer": ("--skip-serve-logs",)}
_STANDALONE: dict[str, tuple[str, ...]] = {"standalone": ()}
_MARKER = "FEATURES_LOCAL_AIRFLOW"
_HOST = "127.0.0.1"
_POLL_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class AirflowStatus:
    """What was started last, running or not."""

    running: bool
    url: str | None  # None: never started
    components: tuple[Component, ...]


@dataclass(frozen=True, kw_only=True)
class LocalAirflow:
    """One Airflow, known by its home folder: any process that names the same home controls the same Airflow.

    home: its folder: configuration, database, logs.
    dags: the folder of DAG files.
    root: the working directory of its processes.
    parallelism: how many tasks run at once.
    parse_seconds: how often DAG files are parsed.
    triggerer: whether what waits without a slot goes on, and deadline alerts are sent: views that read others need it.
    standalone: run all its parts under one `airflow standalone`, as a person would start it, triggerer included. Two
        servers of log files, which ask for a signed token, then listen on all interfaces.
    environment: variables for its processes and tasks, over those of the process that starts it.
    """

    home: Path
    dags: Path
    root: Path = field(default_factory=Path.cwd)
    parallelism: int = 2
    parse_seconds: int = 10
    triggerer: bool = False
    standalone: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("home", "dags", "root"):
            object.__setattr__(self, name, getattr(self, name).resolve())

    @property
    def api(self) -> AirflowApi:
        """Its REST API. Raises: PlatformError: it was never started."""
        url = self.status().url
        if url is None:
            raise PlatformError(f"no Airflow was started in {self.home}; start it first")
        return AirflowApi(url=url)

    def status(self) -> AirflowStatus:
        """Whether all of it runs, and where."""
        record = self._read_record()
        components = tuple(Component(**component) for component in record.get("components", ()))
        port = record.get("port")
        return AirflowStatus(
            running=bool(components) and all(component.runs() for component in components),
            url=None if port is None else f"http://{_HOST}:{port}",
            components=components,
        )

    def start(self) -> AirflowStatus:
        """Starts what does not run, after making or bringing forward its database; `wait_ready` waits for the rest.

        One that runs already stays as it is, with the settings that it was started with.

        Raises: PlatformError: Airflow is not installed, or its database cannot be made.
        """
        version, program = find_airflow()
        with self._exclusive():
            if self.status().running:
                return self.status()
            end_all(self.status().components, marker=(_MARKER, str(self.home)))
            port = self._read_record().get("port")
            if port is None or not is_free(_HOST, port):
                port = choose_free(_HOST)
            self._configure(port)
            environment = build_environment(home=self.home, marker=(_MARKER, str(self.home)), extra=self.environment)
            self._migrate(program, version, environment)
            components = [
                spawn(name, [program, name, *flags], cwd=self.root, environment=environment, log=self._log(name))
                for name, flags in self._parts.items()
            ]
            self._write_record({"port": port, "components": [asdict(component) for component in components]})
            return self.status()

    def wait_ready(self, timeout_seconds: float = 120.0) -> None:
        """Returns when database, scheduler and DAG processor are well.

        Raises: PlatformError: a process ended, with its last lines, or the time is over.
        """
        api, deadline = self.api, time.monotonic() + timeout_seconds
        while True:
            # First of all: the last heartbeats of an earlier start look healthy for a while.
            self._check_alive()
            if api.is_healthy():
                return
            if time.monotonic() > deadline:
                tails = "\n".join(f"{name}:\n{self._tail(name, 5)}" for name in self._parts)
                raise PlatformError(f"Airflow at {api.url} was not ready in {timeout_seconds:.0f} s\n{tails}")
            time.sleep(_POLL_SECONDS)

    def unpause(self, dag_ids: Sequence[str], timeout_seconds: float = 60.0) -> None:
        """Lets DAGs run on their schedules, as soon as each was parsed.

        Raises: PlatformError: a DAG file cannot be imported, or a DAG does not turn up in time.
        """
        api, started = self.api, time.monotonic()
        sound_at = started
        while missing := set(dag_ids) - (known := api.dag_ids()):
            self._check_alive()
            sound_at = self._check_imports(sound_at)
            if time.monotonic() > started + timeout_seconds:
                raise PlatformError(
                    f"Airflow found no DAG {', '.join(sorted(missing))} in {self.dags} within {timeout_seconds:.0f} s;"
                    f" it found {', '.join(sorted(known)) or 'none'}; apply the views first"
                )
            time.sleep(_POLL_SECONDS)
        for dag_id in dag_ids:
            api.unpause(dag_id)

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None) -> str:
        """Starts a run of a DAG that has no schedule; `conf` gives its params. Returns the run's id."""
        return self.api.trigger(dag_id, conf or {})

    def run_states(self, dag_ids: Sequence[str]) -> dict[str, tuple[DagRunState, ...]]:
        """The runs of each DAG, whether Airflow runs or not."""
        return read_runs(self.home, dag_ids)

    def rerun_failed(self, dag_ids: Sequence[str]) -> int:
        """Lets failed runs start again, and returns how many there were."""
        failed = [(dag_id, run.run_id) for dag_id, run in self._runs(dag_ids) if run.state == "failed"]
        for dag_id, run_id in failed:
            self.api.clear(dag_id, run_id)
        return len(failed)

    def wait_for_runs(
        self,
        expected: Mapping[str, int],
        timeout_seconds: float,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Returns when each DAG has at least so many successful runs.

        Args:
            expected: DAG to number of runs.
            timeout_seconds: for all of them.
            progress: told "carrier_delay 3/5" at each change.

        Raises:
            FeatureStoreError: a run failed for good; ends with the last lines of its log.
            PlatformError: Airflow ended, a DAG file can no longer be imported, or the time is over.
        """
        sound_at = time.monotonic()
        deadline = sound_at + timeout_seconds
        seen: dict[str, int] = dict.fromkeys(expected, 0)
        while True:
            runs = list(self._runs(tuple(expected)))
            for dag_id, run in runs:
                if run.state == "failed":
                    raise self._failure(dag_id, run)
            for dag_id, wanted in expected.items():
                done = sum(1 for owner, run in runs if owner == dag_id and run.state == "success")
                if done != seen[dag_id]:
                    progress(f"{dag_id} {done}/{wanted}")
                seen[dag_id] = done
            if all(seen[dag_id] >= wanted for dag_id, wanted in expected.items()):
                return
            self._check_alive()
            sound_at = self._check_imports(sound_at)
            if time.monotonic() > deadline:
                counts = ", ".join(f"{dag_id} {seen[dag_id]}/{wanted}" for dag_id, wanted in expected.items())
                raise PlatformError(f"runs were not done in {timeout_seconds:.0f} s: {counts}; see {self.api.url}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Ends every process of it, tasks and what they started included. A run that was cut off is retried later."""
        if self.home.exists():
            with self._exclusive():
                end_all(self.status().components, marker=(_MARKER, str(self.home)))
                self._write_record({**self._read_record(), "components": []})

    @property
    def _parts(self) -> Mapping[str, tuple[str, ...]]:
        if self.standalone:
            return _STANDALONE
        return _COMPONENTS | (_TRIGGERER if self.triggerer else {})

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with exclusive(self.home / "control.lock", timeout_seconds=120):
            yield

    def _configure(self, port: int) -> None:
        path = self.home / "airflow.cfg"
        # Not for other users: it holds the keys.
        path.touch(mode=0o600)
        path.write_text(
            render_config(
                home=self.home,
                dags=self.dags,
                host=_HOST,
                port=port,
                parallelism=self.parallelism,
                parse_seconds=self.parse_seconds,
            ),
            encoding="utf-8",
        )

    def _migrate(self, program: str, version: str, environment: Mapping[str, str]) -> None:
        done = self.home / "migrated"
        if done.exists() and done.read_text(encoding="utf-8") == version and (self.home / "airflow.db").exists():
            return
        command = [program, "db", "migrate"]
        result = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            told = "\n".join((result.stdout + result.stderr).splitlines()[-8:])
            raise PlatformError(f"Airflow could not make its database in {self.home}:\n{told}")
        done.write_text(version, encoding="utf-8")

    def _check_alive(self) -> None:
        components = self.status().components
        for component in components:
            if not component.runs():
                raise PlatformError(
                    f"Airflow's {component.name} ended; its last lines, of {self._log(component.name)}:\n"
                    f"{self._tail(component.name, 12)}"
                )
        if not components:
            raise PlatformError(f"the Airflow in {self.home} was stopped; start it again")

    def _check_imports(self, sound_at: float) -> float:
        """When no DAG file was broken last: now, or as given. Raises: PlatformError: that is too long ago."""
        now = time.monotonic()
        errors = read_import_errors(self.home)
        if not errors:
            return now
        # By the second parse an error of an earlier start, or of a moment, is gone.
        if now > sound_at + 2.5 * self.parse_seconds:
            told = "\n".join(f"{file}: {trace}" for file, trace in errors.items())
            raise PlatformError(f"Airflow cannot import its DAG files in {self.dags}:\n{told}".rstrip())
        return sound_at

    def _runs(self, dag_ids: Sequence[str]) -> Iterator[tuple[str, DagRunState]]:
        for dag_id, states in self.run_states(dag_ids).items():
            for run in states:
                yield dag_id, run

    def _failure(self, dag_id: str, run: DagRunState) -> FeatureStoreError:
        told = read_task_log(self.home, dag_id, run.run_id) or "no task of it was started"
        about = run.interval or run.run_id
        return FeatureStoreError(f"DAG {dag_id} failed for {about}; the end of its log:\n{told}")

    def _log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def _tail(self, name: str, lines: int) -> str:
        path = self._log(name)
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def _read_record(self) -> dict[str, Any]:
        try:
            content = json.loads((self.home / "processes.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return dict(content)

    def _write_record(self, content: Mapping[str, object]) -> None:
        passing = self.home / f"processes.json.{os.getpid()}"
        passing.write_text(json.dumps(content), encoding="utf-8")
        passing.replace(self.home / "processes.json")
