"""Writes what Airflow makes of the DAG files, as JSON: a program, so that no test imports Airflow with its warnings."""

import json
import sys
from itertools import islice
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

MOST_RUNS = 1000


def describe(dag):
    # What the scheduler works on: the DAG after it went through the database.
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    return {
        "intervals": list(islice(intervals(stored), MOST_RUNS)),
        "timezone": str(dag.timezone),
        "tasks": {task.task_id: describe_task(task) for task in dag.topological_sort()},
        "owner": dag.owner,
        "tags": sorted(dag.tags),
        "doc": dag.doc_md,
        "deadlines": [alert.interval.total_seconds() for alert in dag.deadline or ()],
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "allowed_run_types": sorted(kind.value for kind in stored.allowed_run_types or ()),
    }


def describe_task(task):
    return {
        "command": getattr(task, "bash_command", None),
        "cwd": getattr(task, "cwd", None),
        "retries": task.retries,
        "retry_delay": task.retry_delay.total_seconds(),
        "pool": task.pool,
        "before": sorted(task.upstream_task_ids),
        "outlets": [asset.name for asset in task.outlets],
        "inlets": [asset.name for asset in task.inlets],
        "on_failure": [callback.path for callback in task.on_failure_callback or ()],
        "bounds": [task.start_date, task.end_date],
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
