"""What is asked of the local Airflow: over its REST API where it must act, from its database where it is only read.

Reading the database needs no running Airflow: a second run of the demo sees at once that all is done.
"""

import json
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.core.schedule import Interval
from features.errors import PlatformError

# Loopback is never behind a proxy, whatever the environment says.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_HEALTHY = ("metadatabase", "scheduler", "dag_processor")


@dataclass(frozen=True, kw_only=True, slots=True)
class DagRunState:
    """One run: its state in Airflow's words (queued, running, success, failed) and its data interval, if it has one."""

    run_id: str
    state: str
    interval: Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AirflowApi:
    """The REST API of an Airflow that takes everyone on this machine for an administrator."""

    url: str

    def is_healthy(self) -> bool:
        """Whether database, scheduler and DAG processor all report to be well; False where nothing answers."""
        try:
            with _OPENER.open(f"{self.url}/api/v2/monitor/health", timeout=5) as answer:
                health = json.load(answer)
        except (OSError, ValueError):
            return False
        return all((health.get(part) or {}).get("status") == "healthy" for part in _HEALTHY)

    def dag_ids(self) -> frozenset[str]:
        """The DAGs that were parsed and are still in a DAG file."""
        return frozenset(dag["dag_id"] for dag in self._pages("dags", "dags"))

    def unpause(self, dag_id: str) -> None:
        """Lets a DAG run on its schedule."""
        self._call("PATCH", f"dags/{urllib.parse.quote(dag_id, safe='')}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, object]) -> str:
        """Starts a run that has no data interval, and returns its id."""
        body = {"logical_date": None, "conf": dict(conf)}
        run = self._call("POST", f"dags/{urllib.parse.quote(dag_id, safe='')}/dagRuns", body)
        return str(run["dag_run_id"])

    def clear(self, dag_id: str, run_id: str) -> None:
        """Lets the failed tasks of a run start again, with all their retries."""
        path = f"dags/{urllib.parse.quote(dag_id, safe='')}/dagRuns/{urllib.parse.quote(run_id, safe='')}/clear"
        self._call("POST", path, {"dry_run": False, "only_failed": True})

    def _pages(self, path: str, key: str) -> Iterable[Mapping[str, Any]]:
        offset = 0
        while True:
            answer = self._call("GET", f"{path}?limit=100&offset={offset}")
            yield from answer[key]
            offset += len(answer[key])
            if offset >= answer["total_entries"] or not answer[key]:
                return

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        return self._send(urllib.request.Request(f"{self.url}/api/v2/{path}", _encode(body), headers, method=method))

    def _token(self) -> str:
        return str(self._send(urllib.request.Request(f"{self.url}/auth/token"))["access_token"])

    def _send(self, request: urllib.request.Request) -> Any:
        try:
            with _OPENER.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            told = exc.read().decode(errors="replace")[:500]
            raise PlatformError(
                f"Airflow refused {request.get_method()} {request.full_url}: {exc.code} {told}"
            ) from exc
        except (OSError, ValueError) as exc:
            raise PlatformError(f"no answer from Airflow to {request.get_method()} {request.full_url}: {exc}") from exc


def read_runs(home: Path, dag_ids: Sequence[str]) -> dict[str, tuple[DagRunState, ...]]:
    """The runs of each DAG in the order of their data intervals, also of one that never ran, running Airflow or not.

    Raises: PlatformError: the database cannot be read.
    """
    runs: dict[str, list[DagRunState]] = {dag_id: [] for dag_id in dag_ids}
    query = (
        "SELECT dag_id, run_id, state, data_interval_start, data_interval_end FROM dag_run"
        f" WHERE dag_id IN ({', '.join('?' * len(runs))}) ORDER BY data_interval_start, id"
    )
    for dag_id, run_id, state, start, end in _query(home, query, tuple(runs)):
        interval = None if start is None else Interval(_instant(start), _instant(end))
        runs[dag_id].append(DagRunState(run_id=run_id, state=state, interval=interval))
    return {dag_id: tuple(states) for dag_id, states in runs.items()}


def read_import_errors(home: Path) -> dict[str, str]:
    """Why DAG files could not be imported when they were last parsed, by file. Raises: PlatformError."""
    return dict(_query(home, "SELECT filename, stacktrace FROM import_error ORDER BY filename", ()))


def read_task_log(home: Path, dag_id: str, run_id: str, *, lines: int = 25) -> str:
    """The last lines that a run's newest attempt logged, without Airflow's frame around each; empty where none did."""
    folder = home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
    logs = sorted(folder.rglob("attempt=*.log"), key=lambda path: path.stat().st_mtime)
    if not logs:
        return ""
    text = logs[-1].read_text(encoding="utf-8", errors="replace")
    return "\n".join(_message(line) for line in text.splitlines()[-lines:])


def _query(home: Path, query: str, values: Sequence[str]) -> list[Any]:
    database = home / "airflow.db"
    if not database.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.Error as exc:
        raise PlatformError(f"cannot read {database}: {exc}; stop Airflow and delete {home}") from exc


def _message(line: str) -> str:
    try:
        told = json.loads(line)
        # What was raised stands beside the event.
        return "\n".join([str(told["event"]), *(str(one["exc_value"]) for one in told.get("error_detail") or ())])
    except (ValueError, KeyError, TypeError):
        return line


def _encode(body: Mapping[str, object] | None) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _instant(text: str) -> datetime:
    # SQLite has no zones: Airflow writes UTC.
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
