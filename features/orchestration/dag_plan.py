"""What a DAG is, as plain data: tasks one after another, each a command that anyone can type."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from features.core.schedule import previous_tick
from features.core.times import MICROSECOND

# What a run waits in, for the views that its own reads.
WAIT = "wait"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPlan:
    """One command.

    command: program and arguments; Airflow fills in the data interval, or the params, where they hold `{{ }}`.
    pool: Airflow's, of which it takes a slot; None: the default one.
    builds: whether what it writes is the run's asset event; it gets the versions of the views that were waited for.
    """

    task_id: str
    command: tuple[str, ...]
    pool: str | None = None
    builds: bool = False

    @property
    def shell_command(self) -> str:
        """The command as one line for a POSIX shell, every argument quoted where it needs to be."""
        return shlex.join(self.command)


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """A view that is read by the one that a DAG builds.

    reference: `name@version`. cron: of its own intervals, if any. history: how far before its range a run reads it.
    """

    reference: str
    cron: str | None
    history: timedelta = timedelta(0)

    @property
    def name(self) -> str:
        """The view's name, which is its DAG's."""
        return self.reference.partition("@")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class DagPlan:
    """One DAG: its tasks run in their order.

    view: the reference of what it builds, whose asset its runs update; None: of no view.
    upstreams: views that a run waits for, until they cover its range.
    cron: 5 fields, in UTC, of the ticks between which its data intervals lie; None: it is triggered by hand.
    start: no data interval starts before it; None: no bound.
    end: no data interval ends after it; None: no bound.
    catchup: whether every interval since `start` is run, or the latest complete one alone.
    retry_delay: the wait before a retry.
    range_params: whether whoever triggers it may give the start and end of a range: must, where there is no cron.
    deadline: after the start of an interval, its values are expected to be online; None: nobody asked for an alert.
    on_failure, on_missed_deadline: paths of what is called.
    doc: Markdown.
    env: what the commands' environment has beside Airflow's own.
    """

    dag_id: str
    tasks: tuple[TaskPlan, ...]
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
    view: str | None = None
    upstreams: tuple[Upstream, ...] = ()
    wait: timedelta = timedelta(hours=24)
    range_params: bool = False
    deadline: timedelta | None = None
    on_failure: tuple[str, ...] = ()
    on_missed_deadline: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def last_start(self) -> datetime | None:
        """The start of the last interval that ends by `end`: Airflow's end_date. None: no bound."""
        if self.cron is None or self.end is None:
            return None
        return previous_tick(self.cron, previous_tick(self.cron, self.end) - MICROSECOND)
