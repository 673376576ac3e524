"""The one door to Airflow: plans become DAGs. A DAG file calls one function of this module.

Parsing reads the configuration and the registry, once; it imports no views, no Spark and no driver of a store.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from jinja2 import StrictUndefined

from features.config import load_settings
from features.orchestration.airflow_callbacks import MISSED_DEADLINE, Callback, check_paths
from features.orchestration.airflow_operators import JobOperator, WaitOperator
from features.orchestration.dag_plan import WAIT, DagPlan, TaskPlan
from features.orchestration.plan import maintenance_dags, training_set_dags, view_dags
from features.orchestration.published_views import open_registry
from features.orchestration.upstream_events import asset_name

# Whoever may trigger a DAG types these values, and they reach a shell: nothing but an instant passes.
INSTANT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})$"
# Airflow wants a start where none is meant: with no catch-up, the first run is that of the latest complete interval.
_NO_START = datetime(1970, 1, 1, tzinfo=UTC)


def find_conf(dag_file: str) -> str:
    """The configuration folder for a DAG file: $FEATURES_CONF, else `conf` beside the folder that holds the file."""
    return os.environ.get("FEATURES_CONF") or str(Path(dag_file).resolve().parents[1] / "conf")


def render_feature_views(conf: str | None = None, env: str | None = None) -> dict[str, DAG]:
    """A DAG for each view in the registry, by its id.

    Args:
        conf: the configuration folder, which lies in the project's root; None: $FEATURES_CONF, else ./conf.
        env: the environment; None: $FEATURES_ENV, else "local".

    Raises:
        ConfigError: the configuration is missing or not valid.
        RegistryError: the registry cannot be reached, or is not at the version of this code.
    """
    folder = _conf_folder(conf)
    settings = load_settings(folder, env=env)
    with open_registry(settings, folder.parent) as registry:
        views = registry.views()
    return render(view_dags(views, settings, conf=folder.name), folder)


def render_training_sets(conf: str | None = None, env: str | None = None) -> dict[str, DAG]:
    """A DAG for each training set in the configuration, by its id.

    Arguments and errors as of `render_feature_views`; the registry is not read.
    """
    folder = _conf_folder(conf)
    settings = load_settings(folder, env=env)
    return render(training_set_dags(settings, conf=folder.name), folder)


def render_maintenance(conf: str | None = None, env: str | None = None) -> dict[str, DAG]:
    """The DAG that maintains the logs of all views, by its id; none where its schedule is null.

    Arguments and errors as of `render_feature_views`; the registry is not read.
    """
    folder = _conf_folder(conf)
    settings = load_settings(folder, env=env)
    return render(maintenance_dags(settings, conf=folder.name), folder)


def _conf_folder(conf: str | None) -> Path:
    return Path(conf or os.environ.get("FEATURES_CONF") or "conf").resolve()


def render(plans: Sequence[DagPlan], conf: Path) -> dict[str, DAG]:
    """The DAGs of plans, by their ids; conf: the configuration folder, which lies in the project's root.

    Raises: ConfigError: a callback's package is not installed here.
    """
    for plan in plans[:1]:
        # The same for all DAGs of an environment.
        check_paths((*plan.on_failure, *plan.on_missed_deadline), "airflow.on_failure, airflow.on_missed_deadline")
    return {plan.dag_id: _render_dag(plan, conf) for plan in plans}


def _render_dag(plan: DagPlan, conf: Path) -> DAG:
    dag = DAG(
        plan.dag_id,
        # "@daily" would give intervals whose start equals their end.
        schedule=None if plan.cron is None else CronDataIntervalTimetable(plan.cron, timezone="UTC"),
        start_date=None if plan.cron is None else plan.start or _NO_START,
        # Airflow's bound is on the start of an interval, and inclusive.
        end_date=plan.last_start,
        catchup=plan.catchup,
        max_active_runs=plan.max_active_runs,
        params={name: _range_param(name, required=plan.cron is None) for name in ("start", "end") if plan.range_params},
        tags=list(plan.tags),
        doc_md=plan.doc,
        deadline=_deadline(plan),
        # A name that is misspelt fails with its name, not with an empty argument.
        template_undefined=StrictUndefined,
    )
    tasks = [*_wait(plan, dag, conf), *(_job(plan, task, dag, conf) for task in plan.tasks)]
    for before, after in pairwise(tasks):
        before >> after
    for task in tasks:
        # The bounds are for what the scheduler starts. Airflow would leave a task that has them out of a run by hand
        # beyond them, and call that run a success.
        task.start_date = task.end_date = None
    return dag


def _job(plan: DagPlan, task: TaskPlan, dag: DAG, conf: Path) -> JobOperator:
    return JobOperator(
        task_id=task.task_id,
        dag=dag,
        view=plan.view if task.builds else None,
        waited=task.builds and bool(plan.upstreams),
        outlets=[_asset(plan.dag_id)] if task.builds else [],
        bash_command=task.shell_command,
        cwd=str(conf.parent),
        env=dict(plan.env),
        append_env=True,
        # The default takes exit code 99 for "skipped", and such a run for a success.
        skip_on_exit_code=None,
        do_xcom_push=False,
        **({} if task.pool is None else {"pool": task.pool}),
        **_common(plan),
    )


def _wait(plan: DagPlan, dag: DAG, conf: Path) -> list[WaitOperator]:
    if not plan.upstreams:
        return []
    wait = WaitOperator(
        task_id=WAIT,
        dag=dag,
        upstreams=[(read.reference, read.cron, read.history.total_seconds()) for read in plan.upstreams],
        inlets=[_asset(upstream.name) for upstream in plan.upstreams],
        since=plan.start,
        give_up_after=plan.wait,
        conf=str(conf),
        environment=plan.env["FEATURES_ENV"],
        **_common(plan),
    )
    return [wait]


def _common(plan: DagPlan) -> dict[str, Any]:
    callbacks = [Callback(path) for path in plan.on_failure]
    return {
        "owner": plan.owner,
        "retries": plan.retries,
        "retry_delay": plan.retry_delay,
        **({"on_failure_callback": callbacks} if callbacks else {}),
    }


def _asset(view: str) -> Asset:
    return Asset(name=asset_name(view), uri=f"features://view/{view}", group="feature-view")


def _deadline(plan: DagPlan) -> DeadlineAlert | None:
    if plan.deadline is None:
        return None
    # A run's logical date is its interval's start.
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=plan.deadline,
        callback=AsyncCallback(MISSED_DEADLINE, kwargs={"paths": list(plan.on_missed_deadline)}),
    )


def _range_param(name: str, *, required: bool) -> Param:
    told = f"{name} of the range to materialize, as 2024-01-31T00:00:00+00:00"
    if required:
        return Param(type="string", format="date-time", pattern=INSTANT, description=told)
    told += "; with the other, instead of the run's data interval"
    return Param(None, type=["null", "string"], format="date-time", pattern=INSTANT, description=told)
