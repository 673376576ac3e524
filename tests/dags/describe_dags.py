"""Writes what Airflow makes of the DAG files, as JSON: a program, so that no test imports Airflow with its warnings."""

import json
import sys
from itertools import islice
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

MOST_RUNS = 100


def describe(dag):
    # What the scheduler works on: the DAG after it went through the database.
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    (task,) = dag.tasks
    return {
        "intervals": list(islice(intervals(stored), MOST_RUNS)),
        "timezone": str(dag.timezone),
        "command": task.bash_command,
        "cwd": task.cwd,
        "retries": task.retries,
        "retry_delay": task.retry_delay.total_seconds(),
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "allowed_run_types": sorted(kind.value for kind in stored.allowed_run_types or ()),
    }


def intervals(dag):
    info = None
    while info := dag.next_dagrun_info(last_automated_run_info=info):
        yield [info.data_interval.start.isoformat(), info.data_interval.end.isoformat()]


bag = DagBag(dag_folder=sys.argv[1])
described = {
    "errors": {Path(file).name: error for file, error in bag.import_errors.items()},
    "dags": {name: describe(dag) for name, dag in bag.dags.items()},
    "modules": sorted(sys.modules),
}
Path(sys.argv[2]).write_text(json.dumps(described), encoding="utf-8")
