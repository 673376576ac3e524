"""How long Airflow takes to parse the DAGs of many views: `python -m benchmarks.dags [--views 200]`.

In a process that has Airflow imported already, as each parse of its DAG processor is a fork of one, DagBag reads the
DAG file: configuration, registry (SQLite) and rendering, all of it, again and again. `plain` is a file that makes as
many DAGs of one BashOperator each, knowing nothing: what Airflow itself takes. `cold` is `ours` with the start of
Python and the import of Airflow; `serialized` the same parse with what the DAG processor does after it. No parse
imports pyspark, or the benchmark fails.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.dags.project import make_project

LIMIT_SECONDS = 2.0
REPEATS = 7
DAGS = Path(__file__).resolve().parents[2] / "dags"
PLAIN = """\
from datetime import datetime, timezone
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronDataIntervalTimetable
for number in range({views}):
    schedule = CronDataIntervalTimetable("0 0 * * *", timezone="UTC")
    dag = DAG(f"view_{{number}}", schedule=schedule, start_date=datetime(2024, 1, 1, tzinfo=timezone.utc))
    BashOperator(task_id="run", dag=dag, bash_command="spark-submit job.py --start '{{{{ data_interval_start }}}}'")
    globals()[dag.dag_id] = dag
"""
PARSE = """\
import json, sys, time
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
def parse(file, serialize=False):
    started = time.perf_counter()
    bag = DagBag(dag_folder=file)
    if serialize:
        for dag in bag.dags.values():
            DagSerialization.to_dict(dag)
    seconds = time.perf_counter() - started
    assert len(bag.dags) == {views} and not bag.import_errors, bag.import_errors
    return seconds
files = dict(ours=({ours!r}, False), plain=({plain!r}, False), serialized=({ours!r}, True))
first = {{name: parse(*file) for name, file in files.items()}}
taken = {{name: [] for name in files}}
for _ in range({repeats}):
    for name, file in files.items():
        taken[name].append(parse(*file))
heavy = sorted({{"pyspark", "pyarrow", "pandas", "delta", "deltalake", "cassandra"}} & set(sys.modules))
print(json.dumps({{"taken": taken, "heavy": heavy}}))
"""
COLD = """\
from airflow.dag_processing.dagbag import DagBag
assert len(DagBag(dag_folder={ours!r}).dags) == {views}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse again and again, print medians and their spread; 1 where the limit is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dags", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--views", type=int, default=200)
    views = parser.parse_args(argv).views
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_project(root, views)
        plain = root / "plain.py"
        plain.write_text(PLAIN.format(views=views), encoding="utf-8")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "AIRFLOW_HOME": str(root / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "FEATURES_CONF": str(root / "conf"),
        }
        airflow = str(Path(sys.executable).with_name("airflow"))
        subprocess.run([airflow, "db", "migrate"], env=environment, capture_output=True, check=True)
        names = {"views": views, "ours": str(DAGS / "feature_views.py"), "plain": str(plain), "repeats": REPEATS}
        told = json.loads(_run(PARSE.format(**names), environment).splitlines()[-1])
        taken: dict[str, list[float]] = told["taken"]
        taken["cold"] = [_seconds(COLD.format(**names), environment) for _ in range(3)]
    medians = {name: statistics.median(values) for name, values in taken.items()}
    for name, values in taken.items():
        print(f"{name}: {medians[name]:.3f} s ({min(values):.3f} to {max(values):.3f})", file=sys.stderr)
    figures = {
        "views": views,
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "spread": {name: [round(min(values), 4), round(max(values), 4)] for name, values in taken.items()},
        "speedup": {"plain": round(medians["plain"] / medians["ours"], 2)},
        "imported": told["heavy"],
        "limit_seconds": LIMIT_SECONDS,
    }
    print(json.dumps(figures))
    return 1 if told["heavy"] or min(taken["ours"]) > LIMIT_SECONDS else 0


def _run(code: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def _seconds(code: str, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    _run(code, environment)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
