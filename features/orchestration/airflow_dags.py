"""The one door to Airflow: plans become DAGs. A DAG file calls one function of this module.

Parsing reads the configuration and the registry, once; it imports no views, no Spark and no driver of a store.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronDataIntervalTimetable, Param
from jinja2 import StrictUndefined

from features.config import Settings, load_settings
from features.core.applied import AppliedView
from features.orchestration.plan import DagPlan, training_set_dags, view_dags
from features.registry import Registry

# Whoever may trigger a DAG types these values, and they reach a shell: nothing but an instant passes.
INSTANT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})$"
# Airflow wants a start where none is meant: with no catch-up, the first run is that of the latest complete interval.
_NO_START = datetime(1970, 1, 1, tzinfo=UTC)
_SQLITE = "sqlite:///"


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
    return _render(view_dags(_read_views(settings, folder.parent), settings, conf=folder.name), folder.parent)


def render_training_sets(conf: str | None = None, env: str | None = None) -> dict[str, DAG]:
    """A DAG for each training set in the configuration, by its id.

    Arguments and errors as of `render_feature_views`; the registry is not read.
    """
    folder = _conf_folder(conf)
    settings = load_settings(folder, env=env)
    return _render(training_set_dags(settings, conf=folder.name), folder.parent)


def _conf_folder(conf: str | None) -> Path:
    return Path(conf or os.environ.get("FEATURES_CONF") or "conf").resolve()


def _read_views(settings: Settings, root: Path) -> Sequence[AppliedView]:
    url = settings.registry
    if url.startswith(_SQLITE):
        # Jobs run in the project's root, Airflow elsewhere: a relative path must mean one file for both.
        url = _SQLITE + str(root / url.removeprefix(_SQLITE))
    with Registry.open(url, password=settings.registry_password()) as registry:
        return registry.views()


def _render(plans: Sequence[DagPlan], root: Path) -> dict[str, DAG]:
    return {plan.dag_id: _render_dag(plan, root) for plan in plans}


def _render_dag(plan: DagPlan, root: Path) -> DAG:
    dag = DAG(
        plan.dag_id,
        # "@daily" would give intervals whose start equals their end.
        schedule=None if plan.cron is None else CronDataIntervalTimetable(plan.cron, timezone="UTC"),
        start_date=None if plan.cron is None else plan.start or _NO_START,
        # Airflow's bound is on the start of an interval, and inclusive.
        end_date=plan.last_start,
        catchup=plan.catchup,
        # Airflow leaves the task out of a manual run beyond the bound, and calls such a run a success.
        allowed_run_types=None if plan.last_start is None else ["scheduled", "backfill"],  # type: ignore[list-item]  # names are converted
        max_active_runs=plan.max_active_runs,
        params={name: _instant_param(name) for name in plan.params},
        tags=list(plan.tags),
        doc_md=plan.doc,
        # A run without a data interval fails with its name, not with an empty argument.
        template_undefined=StrictUndefined,
    )
    BashOperator(
        task_id=plan.task_id,
        dag=dag,
        owner=plan.owner,
        retries=plan.retries,
        retry_delay=plan.retry_delay,
        bash_command=plan.shell_command,
        cwd=str(root),
        env=dict(plan.env),
        append_env=True,
        # The default takes exit code 99 for "skipped", and such a run for a success.
        skip_on_exit_code=None,
        do_xcom_push=False,
    )
    return dag


def _instant_param(name: str) -> Param:
    return Param(
        type="string",
        format="date-time",
        pattern=INSTANT,
        description=f"{name} of the range to materialize, as 2024-01-31T00:00:00+00:00",
    )
