"""The demo's two training sets, extracted by spark-submit: what was known at each time, and what leaks."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from features.core.request import compile_request
from features.demo.progress import Tell
from features.demo.spine import read_rows
from features.errors import FeatureStoreError, PlatformError
from features.registry import StoredManifest
from features.store import FeatureStore

SERVICE = "delay_model"
# By name, the rule of the as-of join.
SETS = {"delays_known": "created", "delays_leaky": "event"}
_LOGS = Path(".state/demo")


def extract_sets(store: FeatureStore, spine: Path, tell: Tell) -> int:
    """Extracts the sets that are missing, or were taken from other logs or rows; how many spark-submits it took.

    The jobs run side by side.

    Raises: FeatureStoreError: a job failed; it ends with the last lines of its log.
    """
    wanted = [name for name in SETS if not _is_current(store, name, spine)]
    for name in SETS.keys() - set(wanted):
        tell(f"{saved_set(store, name).reference} holds just this already")
    jobs = {name: _submit(store, name, spine) for name in wanted}
    codes = {name: job.wait() for name, job in jobs.items()}
    for name, code in codes.items():
        if code:
            last = "\n".join(_log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
            raise FeatureStoreError(f"extracting {name} failed with exit code {code}; the end of {_log(name)}:\n{last}")
        saved = saved_set(store, name)
        tell(f"{saved.reference}: {saved.content['rows']} rows, content hash {saved.content['content_hash'][:12]}")
    return len(jobs)


def saved_set(store: FeatureStore, name: str) -> StoredManifest:
    """The latest save of a set. Raises: NotFoundError."""
    return store.registry.manifest(name)


def _is_current(store: FeatureStore, name: str, spine: Path) -> bool:
    """Whether the latest save was taken from today's logs, and from just these rows."""
    if not any(manifest.name == name for manifest in store.registry.manifests()):
        return False
    content = saved_set(store, name).content
    pinned = {view["view"]: view["position"] for view in content["views"]}
    columns = [request.feature.name for request in store.registry.resolve(SERVICE)]
    if pinned != _positions(store) or list(content["columns"]) != columns or content["known_at"] != SETS[name]:
        return False
    try:
        saved = read_rows(content["spine_path"])
    except FileNotFoundError:
        return False
    order = list(saved.columns)
    rows = read_rows(spine)[order].sort_values(order, ignore_index=True)
    return rows.equals(saved.sort_values(order, ignore_index=True))


def _positions(store: FeatureStore) -> Mapping[str, int]:
    """The newest log position of each view that the service reads."""
    selections = compile_request(store.registry.resolve(SERVICE)).selections
    views = {selection.view.reference: selection.view for selection in selections}
    return {
        reference: max((commit.position for commit in store.registry.commits(view)), default=0)
        for reference, view in views.items()
    }


def _submit(store: FeatureStore, name: str, spine: Path) -> "subprocess.Popen[bytes]":
    settings = store.settings
    command = [
        *shlex.split(settings.airflow.spark_submit),
        "jobs/training_set.py",
        *("--name", name, "--features", SERVICE, "--spine", str(spine)),
        *("--known-at", SETS[name], "--env", settings.env),
    ]
    programs = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])}
    _log(name).parent.mkdir(parents=True, exist_ok=True)
    try:
        with _log(name).open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    except OSError as exc:
        raise PlatformError(f"cannot run {command[0]}: {exc}; run `make setup`") from exc


def _log(name: str) -> Path:
    return _LOGS / f"{name}.log"
