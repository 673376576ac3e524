"""Projects for tests of DAGs: configuration, a registry with views, and a recorder instead of spark-submit."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from features import FeatureView
from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.registry import IntervalOutcome, Registry
from tests.builders import make_view

DAGS = Path(__file__).resolve().parents[2] / "dags"

CONF = """\
registry: sqlite:///.state/registry.db
airflow:
  start: 2013-03-09T00:00:00+00:00
  end: 2013-03-12T00:00:00+00:00
  retries: 1
  retry_delay_seconds: 1
  spark_submit: ./record.sh
training_sets:
  delays:
    features: delay_model
    spine: data/spine
"""

# Notes its arguments, and tells its end as a job does. Of some starts it fails: once, with the code that Airflow takes
# for a skip and no word, of the one in a file; 1999: of what no retry cures; 1997: of what one may cure; 1996: of what
# nothing cures. A view named `tardy` takes until someone was told that it is late.
RECORDER = """\
#!/bin/sh
echo "$FEATURES_ENV $*" >> calls.txt
fail() {
  echo "{\\"error\\": {\\"type\\": \\"$1\\", \\"message\\": \\"$2\\", \\"retry\\": $3}}" > "$FEATURES_JOB_END_FILE"
  exit 1
}
case "$*" in
  *"--start $(cat fails-once.txt 2>/dev/null || echo never)"*) rm fails-once.txt; exit 99 ;;
  *"--start 1999-"*) test -e repaired || fail SourceError "no folder data/payments" false ;;
  *"--start 1998-"*) sleep 600 ;;
  *"--start 1997-"*) fail StorageError "the warehouse does not answer" true ;;
  *"--start 1996-"*) fail SourceError "no folder data/refunds" false ;;
  *"--view tardy@"*) for second in $(seq 90); do test -e late.txt && break; sleep 1; done ;;
esac
echo '{"build": {"status": "built", "delta_version": 7, "position": 8, "run_id": "r1"}}' > "$FEATURES_JOB_END_FILE"
"""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder like a checkout, without code: Airflow finds it by FEATURES_CONF."""

    root: Path

    def apply(self, *views: FeatureView) -> None:
        """Makes the registry hold these views alone."""
        with Registry.open(f"sqlite:///{self.root}/.state/registry.db") as registry:
            registry.apply(Definitions(views={view.name: view for view in views}, services={}))

    def record(self, view: str, days: Sequence[str], *, delta_version: int) -> None:
        """Makes the ledger know days of a view as built, up to the last of them, at one Delta version."""
        with Registry.open(f"sqlite:///{self.root}/.state/registry.db") as registry:
            bounds = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days]
            outcomes = [
                IntervalOutcome(
                    interval=Interval(*both), status="built", rows=1, position=8, delta_version=delta_version
                )
                for both in pairwise(bounds)
            ]
            registry.record_intervals(registry.view(view), "r1", outcomes)

    def calls(self, view: str) -> list[str]:
        """What was run of a view: the environment's name and the arguments of each run, sorted."""
        path = self.root / "calls.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return sorted(line for line in lines if f" {view}@" in line)

    def call(self, view: str, start: str, end: str) -> str:
        """What a run of a view for a range should have been."""
        return (
            f"local jobs/materialize.py --view {view}@1 --start {start}T00:00:00+00:00 --end {end}T00:00:00+00:00"
            " --conf conf --env local"
        )


def make_project(folder: Path) -> Project:
    """A project below a folder, with a daily view and one that is run by hand."""
    root = folder / "a project"
    (root / "conf").mkdir(parents=True)
    (root / "conf/base.yaml").write_text(CONF, encoding="utf-8")
    (root / "conf/local.yaml").write_text("", encoding="utf-8")
    recorder = root / "record.sh"
    recorder.write_text(RECORDER, encoding="utf-8")
    recorder.chmod(0o755)
    project = Project(root=root)
    project.apply(make_view(name="daily"), make_view(name="by_hand", schedule=None))
    return project


@dataclass(frozen=True, kw_only=True)
class AirflowHome:
    """A home with a database, for commands that need no running Airflow."""

    home: Path

    def run(self, project: Project, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a program of this environment with the project's configuration, somewhere else than in its root."""
        environment = self.environment() | {"FEATURES_CONF": str(project.root / "conf"), "FEATURES_ENV": "local"}
        return subprocess.run(words, cwd=self.home, env=environment, capture_output=True, text=True, check=False)

    def environment(self) -> Mapping[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        return inherited | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        }
