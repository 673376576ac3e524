"""What each DAG is and runs, as plain data: everything about orchestration that needs no orchestrator.

A task runs one command, which anyone can type: the data interval is an argument, no clock enters, and running it again
for an interval changes nothing.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta
from typing import Any

from features.config import AirflowSettings, Settings, TrainingSetSettings
from features.core.aggregations import longest_window
from features.core.applied import AppliedView
from features.core.schedule import longest_interval, parse_schedule
from features.core.upstreams import view_sources
from features.errors import ConfigError, DefinitionError
from features.orchestration.dag_docs import describe_commands, describe_view
from features.orchestration.dag_plan import DagPlan, TaskPlan, Upstream

# `ts` is Airflow's filter for ISO with offset; without it a space would stand between date and time. A range that
# someone gave replaces the data interval, which a run by hand may not have.
RANGE_START = "{{ params.start or data_interval_start | ts }}"
RANGE_END = "{{ params.end or data_interval_end | ts }}"
# A tag that is longer breaks the import of a DAG file.
MAX_TAG = 100
MAINTENANCE = "maintenance"
_TRAINING_SET_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")


def view_dags(views: Sequence[AppliedView], settings: Settings, *, conf: str = "conf") -> tuple[DagPlan, ...]:
    """A DAG for each view, named as the view: each run materializes one data interval.

    Without `airflow.start` in the settings nothing is caught up: a DAG begins with the latest complete interval.

    Args:
        views: one version of each.
        settings: of the environment that the DAGs are for.
        conf: the configuration folder, as the command finds it from its working directory.

    Raises:
        ConfigError: `airflow.spark_submit` is no command, or `airflow.end` is not after `airflow.start`.
        DefinitionError: two versions of one view would be one DAG.
    """
    _check_unique(views)
    crons = {view.name: None if view.schedule is None else parse_schedule(view.schedule) for view in views}
    return tuple(_view_dag(view, crons, settings, conf) for view in views)


def training_set_dags(settings: Settings, *, conf: str = "conf") -> tuple[DagPlan, ...]:
    """A DAG for each training set of the settings, `training_set__<name>`: each run extracts the set once more.

    They never catch up: a set is read as of today, so a past interval would only repeat it.

    Raises:
        ConfigError: a schedule or name is not valid, or as in `view_dags`.
    """
    return tuple(_training_set_dag(name, wanted, settings, conf) for name, wanted in settings.training_sets.items())


def maintenance_dags(settings: Settings, *, conf: str = "conf") -> tuple[DagPlan, ...]:
    """The DAG that maintains the logs of all views, `maintenance`; none where `airflow.maintenance_schedule` is null.

    It never catches up: logs are tidied as they are.

    Raises:
        ConfigError: the schedule is not valid, or as in `view_dags`.
    """
    schedule = settings.airflow.maintenance_schedule
    if schedule is None:
        return ()
    _check_schedule(schedule, "airflow.maintenance_schedule")
    command = (*spark_submit_command(settings.airflow), "jobs/maintain.py", "--conf", conf, "--env", settings.env)
    tasks = (TaskPlan(task_id="maintain", command=command, pool=settings.airflow.pools.spark),)
    about = "Maintains the offline logs of all views: compacts them, removes what no reader needs, and what is too old."
    plan = _plan(
        settings,
        dag_id=MAINTENANCE,
        tasks=tasks,
        schedule=schedule,
        catchup=False,
        # The bounds are of the views' data; their logs are there as long as they are.
        start=None,
        end=None,
        tags=("maintenance",),
        owner="features",
        doc="\n".join((about, *describe_commands(tasks))),
    )
    return (plan,)


def spark_submit_command(settings: AirflowSettings) -> tuple[str, ...]:
    """The program that runs jobs, and its own options. Raises: ConfigError: `airflow.spark_submit` is no command."""
    try:
        words = tuple(shlex.split(settings.spark_submit))
    except ValueError as exc:
        raise ConfigError(f"airflow.spark_submit: {settings.spark_submit!r} is no shell command: {exc}") from exc
    if not words:
        raise ConfigError("airflow.spark_submit is empty; name the program, such as spark-submit")
    return words


def _view_dag(view: AppliedView, crons: Mapping[str, str | None], settings: Settings, conf: str) -> DagPlan:
    upstreams = tuple(
        Upstream(
            reference=reference,
            cron=crons.get(reference.partition("@")[0]),
            history=max(read.history for read in view_sources(view) if read.view == reference)
            + longest_window(view.aggregations),
        )
        for reference in view.upstreams
    )
    tasks = _view_tasks(view, settings, conf)
    airflow = settings.airflow
    tags = ["feature-view", *(f"{key}:{value}" for key, value in view.tags.items())]
    alerts = airflow.on_missed_deadline if view.schedule is not None else ()
    return _plan(
        settings,
        dag_id=view.name,
        tasks=tasks,
        view=view.reference,
        upstreams=upstreams,
        wait=timedelta(hours=airflow.wait_hours),
        schedule=view.schedule,
        catchup=True,
        # Runs that read back into each other's intervals go one by one, or an order between them would mean nothing.
        **({"max_active_runs": 1} if _in_order(view) else {}),
        tags=tuple(tag for tag in tags if len(tag) <= MAX_TAG),
        owner=view.owner,
        doc=describe_view(view, tasks, upstreams),
        range_params=True,
        deadline=longest_interval(view.schedule) + view.delay if alerts and view.schedule else None,
        on_missed_deadline=alerts,
    )


def _view_tasks(view: AppliedView, settings: Settings, conf: str) -> tuple[TaskPlan, ...]:
    """One command, whose Spark builds and loads; two where loads are to take slots of their own pool."""
    submit, pools = spark_submit_command(settings.airflow), settings.airflow.pools
    where = ("--conf", conf, "--env", settings.env)
    build = (
        *submit,
        "jobs/materialize.py",
        *("--view", view.reference, "--start", RANGE_START, "--end", RANGE_END),
        *(("--reprocess", str(view.reprocess)) if view.reprocess else ()),
        *(("--in-order",) if _in_order(view) else ()),
    )
    if pools.cassandra is None:
        return (TaskPlan(task_id="materialize", command=(*build, *where), pool=pools.spark, builds=True),)
    load = (*submit, "jobs/load.py", "--view", view.reference, *where)
    return (
        TaskPlan(task_id="build", command=(*build, "--no-load", *where), pool=pools.spark, builds=True),
        TaskPlan(task_id="load", command=load, pool=pools.cassandra),
    )


def _in_order(view: AppliedView) -> bool:
    """Whether a run must not follow one that left its interval unpublished; see docs/decisions/order-of-runs.md."""
    return view.schedule is not None and bool(view.history)


def _training_set_dag(name: str, wanted: TrainingSetSettings, settings: Settings, conf: str) -> DagPlan:
    if not _TRAINING_SET_NAME.fullmatch(name):
        raise ConfigError(f"training_sets: {name!r} names a DAG, so it takes only letters, digits, _, . and -")
    if wanted.schedule is not None:
        _check_schedule(wanted.schedule, f"training_sets.{name}.schedule")
    command = (
        *spark_submit_command(settings.airflow),
        "jobs/training_set.py",
        *("--name", name, "--features", wanted.features, "--spine", wanted.spine),
        *("--conf", conf, "--env", settings.env),
    )
    tasks = (TaskPlan(task_id="extract", command=command, pool=settings.airflow.pools.spark),)
    about = (
        f"Extracts the training set `{name}`: the features `{wanted.features}` as they were known at the times"
        f" of `{wanted.spine}`."
    )
    return _plan(
        settings,
        dag_id=f"training_set__{name}",
        tasks=tasks,
        schedule=wanted.schedule,
        catchup=False,
        tags=("training-set",),
        owner="features",
        doc="\n".join((about, *describe_commands(tasks))),
    )


def _plan(settings: Settings, *, schedule: str | None, catchup: bool, **own: Any) -> DagPlan:
    """What all DAGs of one environment have in common; `own`: what a DAG has beside, or instead."""
    airflow = settings.airflow
    start, end = (None if bound is None else bound.astimezone(UTC) for bound in (airflow.start, airflow.end))
    if start is not None and end is not None and end <= start:
        raise ConfigError(f"airflow.end = {end.isoformat()} is not after airflow.start = {start.isoformat()}")
    common: dict[str, Any] = {
        "cron": None if schedule is None else parse_schedule(schedule),
        "start": None if schedule is None else start,
        "end": None if schedule is None else end,
        "catchup": catchup and schedule is not None and start is not None,
        "max_active_runs": airflow.max_active_runs,
        "retries": airflow.retries,
        "retry_delay": timedelta(seconds=airflow.retry_delay_seconds),
        "on_failure": airflow.on_failure,
        "env": {"FEATURES_ENV": settings.env},
    }
    return DagPlan(**(common | own))


def _check_unique(views: Sequence[AppliedView]) -> None:
    seen: dict[str, AppliedView] = {}
    for view in views:
        if view.name in seen:
            raise DefinitionError(
                f"{seen[view.name].reference} and {view.reference} would both be DAG {view.name!r}; pass one version"
            )
        seen[view.name] = view


def _check_schedule(schedule: str, setting: str) -> None:
    try:
        parse_schedule(schedule)
    except DefinitionError as exc:
        raise ConfigError(f"{setting}: {exc}") from exc
