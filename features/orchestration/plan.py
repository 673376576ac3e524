"""What each DAG is and runs, as plain data: everything about orchestration that needs no orchestrator.

A DAG runs one command, which anyone can type: the data interval is an argument, no clock enters, and running it again
for an interval changes nothing.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from features.config import AirflowSettings, Settings, TrainingSetSettings
from features.core.applied import AppliedView
from features.core.definitions import Feature, Source
from features.core.schedule import parse_schedule, previous_tick
from features.core.times import MICROSECOND
from features.core.view_source import ViewSource
from features.errors import ConfigError, DefinitionError

# `ts` is Airflow's filter for ISO with offset; without it a space would stand between date and time.
INTERVAL_START = "{{ data_interval_start | ts }}"
INTERVAL_END = "{{ data_interval_end | ts }}"
# A tag that is longer breaks the import of a DAG file.
MAX_TAG = 100
_TRAINING_SET_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DagPlan:
    """One DAG with one task.

    cron: 5 fields, in UTC, of the ticks between which its data intervals lie; None: it is triggered by hand.
    start: no data interval starts before it; None: no bound.
    end: no data interval ends after it; None: no bound.
    catchup: whether every interval since `start` is run, or the latest complete one alone.
    retry_delay: the wait before a retry.
    params: names of the instants that whoever triggers it gives.
    doc: Markdown.
    command: program and arguments; Airflow fills in the data interval, or the params, where they hold `{{ }}`.
    env: what the command's environment has beside Airflow's own.
    """

    dag_id: str
    task_id: str
    cron: str | None
    start: datetime | None
    end: datetime | None
    catchup: bool
    max_active_runs: int
    retries: int
    retry_delay: timedelta
    tags: tuple[str, ...]
    owner: str
    doc: str
    command: tuple[str, ...]
    params: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def shell_command(self) -> str:
        """The command as one line for a POSIX shell, every argument quoted where it needs to be."""
        return shlex.join(self.command)

    @property
    def last_start(self) -> datetime | None:
        """The start of the last interval that ends by `end`: Airflow's end_date. None: no bound."""
        if self.cron is None or self.end is None:
            return None
        return previous_tick(self.cron, previous_tick(self.cron, self.end) - MICROSECOND)


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
    return tuple(_view_dag(view, settings, conf) for view in views)


def training_set_dags(settings: Settings, *, conf: str = "conf") -> tuple[DagPlan, ...]:
    """A DAG for each training set of the settings, `training_set__<name>`: each run extracts the set once more.

    They never catch up: a set is read as of today, so a past interval would only repeat it.

    Raises:
        ConfigError: a schedule or name is not valid, or as in `view_dags`.
    """
    return tuple(_training_set_dag(name, wanted, settings, conf) for name, wanted in settings.training_sets.items())


def _view_dag(view: AppliedView, settings: Settings, conf: str) -> DagPlan:
    scheduled = view.schedule is not None
    interval = (INTERVAL_START, INTERVAL_END) if scheduled else ("{{ params.start }}", "{{ params.end }}")
    command = (
        *_spark_submit(settings.airflow),
        "jobs/materialize.py",
        *("--view", view.reference, "--start", interval[0], "--end", interval[1]),
        *(("--reprocess", str(view.reprocess)) if view.reprocess else ()),
        *("--conf", conf, "--env", settings.env),
    )
    tags = ["feature-view", *(f"{key}:{value}" for key, value in view.tags.items())]
    return _plan(
        settings,
        dag_id=view.name,
        task_id="materialize",
        schedule=view.schedule,
        catchup=True,
        tags=tuple(tag for tag in tags if len(tag) <= MAX_TAG),
        owner=view.owner,
        doc=_describe_view(view, command),
        params=() if scheduled else ("start", "end"),
        command=command,
    )


def _training_set_dag(name: str, wanted: TrainingSetSettings, settings: Settings, conf: str) -> DagPlan:
    if not _TRAINING_SET_NAME.fullmatch(name):
        raise ConfigError(f"training_sets: {name!r} names a DAG, so it takes only letters, digits, _, . and -")
    if wanted.schedule is not None:
        try:
            parse_schedule(wanted.schedule)
        except DefinitionError as exc:
            raise ConfigError(f"training_sets.{name}.schedule: {exc}") from exc
    command = (
        *_spark_submit(settings.airflow),
        "jobs/training_set.py",
        *("--name", name, "--features", wanted.features, "--spine", wanted.spine),
        *("--conf", conf, "--env", settings.env),
    )
    return _plan(
        settings,
        dag_id=f"training_set__{name}",
        task_id="extract",
        schedule=wanted.schedule,
        catchup=False,
        tags=("training-set",),
        owner="features",
        doc="\n".join(
            (
                f"Extracts the training set `{name}`: the features `{wanted.features}` as they were known at the times"
                f" of `{wanted.spine}`.",
                *_describe_command(command),
            )
        ),
        params=(),
        command=command,
    )


def _plan(
    settings: Settings,
    *,
    dag_id: str,
    task_id: str,
    schedule: str | None,
    catchup: bool,
    tags: tuple[str, ...],
    owner: str,
    doc: str,
    params: tuple[str, ...],
    command: tuple[str, ...],
) -> DagPlan:
    """What all DAGs of one environment have in common."""
    airflow = settings.airflow
    start, end = (None if bound is None else bound.astimezone(UTC) for bound in (airflow.start, airflow.end))
    if start is not None and end is not None and end <= start:
        raise ConfigError(f"airflow.end = {end.isoformat()} is not after airflow.start = {start.isoformat()}")
    return DagPlan(
        dag_id=dag_id,
        task_id=task_id,
        cron=None if schedule is None else parse_schedule(schedule),
        start=None if schedule is None else start,
        end=None if schedule is None else end,
        catchup=catchup and schedule is not None and start is not None,
        max_active_runs=airflow.max_active_runs,
        retries=airflow.retries,
        retry_delay=timedelta(seconds=airflow.retry_delay_seconds),
        tags=tags,
        owner=owner,
        doc=doc,
        params=params,
        command=command,
        env={"FEATURES_ENV": settings.env},
    )


def _check_unique(views: Sequence[AppliedView]) -> None:
    seen: dict[str, AppliedView] = {}
    for view in views:
        if view.name in seen:
            raise DefinitionError(
                f"{seen[view.name].reference} and {view.reference} would both be DAG {view.name!r}; pass one version"
            )
        seen[view.name] = view


def _spark_submit(settings: AirflowSettings) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(settings.spark_submit))
    except ValueError as exc:
        raise ConfigError(f"airflow.spark_submit: {settings.spark_submit!r} is no shell command: {exc}") from exc
    if not words:
        raise ConfigError("airflow.spark_submit is empty; name the program, such as spark-submit")
    return words


def _describe_view(view: AppliedView, command: Sequence[str]) -> str:
    keys = ", ".join(f"`{name}` {dtype}" for name, dtype in view.join_keys.items())
    lines = [
        view.description,
        "",
        f"- **version** {view.reference}, hash `{view.definition_hash[:12]}`",
        f"- **entities** {', '.join(entity.name for entity in view.entities)} ({keys})",
        *(f"- **source** {source.name}: {_describe_source(source)}" for source in view.sources),
        f"- **online by** {view.delay} after the end of an interval",
        f"- **lookback** {view.lookback or 'no limit'}",
        f"- **owner** {view.owner}",
        "",
        *_table(("feature", "type", "unit", "description", "expected"), map(_feature_row, view.features)),
        *_describe_command(command),
    ]
    return "\n".join(lines)


def _describe_source(source: Source) -> str:
    if isinstance(source, ViewSource):
        return f"the feature view {source.view}"
    return f"`{source.location}` ({source.kind})"


def _feature_row(feature: Feature) -> tuple[str, ...]:
    rules = ", ".join(f"{rule} ({rule.severity})" for rule in feature.expectations)
    return feature.name, str(feature.dtype), feature.unit or "", feature.description, rules


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *([_cell(text) for text in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _describe_command(command: Sequence[str]) -> list[str]:
    readable = [re.sub(r"\{\{.*?_?(start|end)\b.*?\}\}", r"<\1>", word) for word in command]
    line = " ".join(word if re.fullmatch(r"<\w+>", word) else shlex.quote(word) for word in readable)
    return ["", "Each run, from the project's root:", "```sh", line, "```"]
