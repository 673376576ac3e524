"""The two operators that views' DAGs are made of: one runs a job and tells how it ended, one waits for other views."""

import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from features.core.job_end import END_FILE, failure_of, read_end
from features.core.schedule import Interval
from features.core.times import format_instant
from features.errors import FeatureStoreError
from features.orchestration.airflow_trigger import UpstreamTrigger
from features.orchestration.dag_plan import WAIT, Upstream
from features.orchestration.published_views import PublishedViews
from features.orchestration.upstream_events import (
    Published,
    event_extra,
    missing,
    needed,
    newest_version,
)

# What may follow `--upstream` on a command line.
_PINNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*@\d+=\d+")
# As a shell ends where a program is missing, or is none.
_NO_PROGRAM = re.compile(r"exit code 12[67]\b")


class JobOperator(BashOperator):
    """Runs a job as a command, and ends as the job says that it ended.

    Where no retry cures what the job failed of, the task fails at once, in the job's own words. A job that wrote no
    end, as one that was killed does, is run again.

    Args:
        view: the reference of the view that it builds, whose asset event it then fills in; None: of none.
        waited: whether a task before it waited for other views, and knows which of their versions to read.
        options: of a BashOperator.
    """

    def __init__(self, *, view: str | None = None, waited: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.view = view
        self.waited = waited

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Fill in the command; a run that lacks a range is told so, rather than which variable is undefined."""
        if self.view is not None:
            run_range(context)
        super().render_template_fields(context, jinja_env)

    def execute(self, context: Any) -> Any:
        """Run the command. Raises: AirflowFailException, AirflowException: the job failed, for good or for now."""
        if self.waited:
            self.bash_command = f"{self.bash_command} {shlex.join(_pinned(context))}".rstrip()
        with tempfile.TemporaryDirectory(prefix="features-job-") as folder:
            path = Path(folder, "end.json")
            self.env = {**(self.env or {}), END_FILE: str(path)}
            try:
                super().execute(context)
            except AirflowFailException:
                raise
            except AirflowException as exc:
                failure = _failure(read_end(path), exc)
                self.log.error("%s", failure)
                raise failure from None
            end = read_end(path)
        if self.view is not None:
            extra = event_extra(self.view, run_range(context), end or {})
            for asset in self.outlets:
                context["outlet_events"][asset].extra = extra
            self.log.info("%s is published: %s", self.view, extra)


class WaitOperator(BaseOperator):
    """Waits until every view that is read covers the run's interval, and returns what is then read of each.

    What is built, and at which Delta version, the registry's ledger tells, by which jobs without Airflow count too, and
    nothing that a restored log lacks. Between looks it is deferred: it takes no slot of a worker, and the triggerer
    wakes it when a run of one of those views has succeeded.

    Args:
        upstreams: the views, each (`name@version`, cron or None, seconds of history that are read).
        since: no interval of theirs is scheduled that starts before it.
        give_up_after: of waiting.
        conf, environment: of the registry.
        options: of a BaseOperator.
    """

    def __init__(
        self,
        *,
        upstreams: Sequence[tuple[str, str | None, float]],
        since: datetime | None,
        give_up_after: timedelta,
        conf: str,
        environment: str,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.upstreams = list(upstreams)
        self.since = None if since is None else since.isoformat()
        self.give_up_seconds = give_up_after.total_seconds()
        self.conf = conf
        self.environment = environment

    def execute(self, context: Any) -> list[str]:
        """`name@version=<Delta version>` of each that has one. Raises: AirflowFailException: it waited in vain."""
        return self.look(context)

    def look(self, context: Any, event: object = None, until: str | None = None) -> list[str]:
        """The same, once more, woken by the trigger's event; until: ISO, when it gives up."""
        run = run_range(context)
        # Before the ledger is read: a run that ends in between must wake the trigger.
        seen = {upstream.name: _succeeded(context, upstream.name) for upstream in self._upstreams}
        looked = {upstream: self._look_at(upstream, run) for upstream in self._upstreams}
        lacking = {upstream: holes for upstream, (holes, _) in looked.items() if holes}
        if lacking:
            self._wait(run, lacking, {upstream.name: seen[upstream.name] for upstream in lacking}, until)
        pinned = [f"{read.reference}={version}" for read, (_, version) in looked.items() if version is not None]
        self.log.info("every view that is read covers %s: %s", run, ", ".join(pinned) or "none has rows yet")
        return pinned

    def _wait(
        self, run: Interval, lacking: Mapping[Upstream, Sequence[Interval]], seen: Mapping[str, int], until: str | None
    ) -> NoReturn:
        now = datetime.now(UTC)
        last = now + timedelta(seconds=self.give_up_seconds) if until is None else datetime.fromisoformat(until)
        told = "; ".join(f"{read.reference} lacks {', '.join(map(str, holes))}" for read, holes in lacking.items())
        if now >= last:
            raise AirflowFailException(
                f"{told}: {run} cannot be built from it. Look at the runs of {', '.join(sorted(seen))}; once they are "
                "done, clear this task (airflow.wait_hours says how long it waits)"
            )
        self.log.info("waiting until %s: %s", format_instant(last), told)
        trigger = UpstreamTrigger(seen=seen, until=last.isoformat())
        self.defer(trigger=trigger, method_name="look", kwargs={"until": last.isoformat()})

    @property
    def _upstreams(self) -> list[Upstream]:
        return [
            Upstream(reference=reference, cron=cron, history=timedelta(seconds=history))
            for reference, cron, history in self.upstreams
        ]

    def _look_at(self, upstream: Upstream, run: Interval) -> tuple[tuple[Interval, ...], int | None]:
        """The intervals that are missing, and the newest Delta version."""
        wanted = needed(upstream, run, since=None if self.since is None else datetime.fromisoformat(self.since))
        since = None if upstream.history else min((interval.start for interval in wanted), default=run.start)
        built = self._built(upstream, since=since, until=run.end)
        if upstream.history and built:
            # Of what it reads back into, what lies behind the first interval that was ever built.
            reach = Interval(run.start - upstream.history, run.start)
            wanted = (*needed(upstream, reach, since=built[0].interval.start), *wanted)
        return missing(wanted, built), newest_version(built)

    def _built(self, upstream: Upstream, *, since: datetime | None, until: datetime) -> list[Published]:
        try:
            return PublishedViews(self.conf, self.environment).read(upstream.reference, since=since, until=until)
        except FeatureStoreError as exc:
            error = AirflowException if exc.retry else AirflowFailException
            raise error(f"{type(exc).__name__}: {exc}") from None


def run_range(context: Mapping[str, Any]) -> Interval:
    """What a run is for: the range that someone gave as its params, else its data interval.

    Raises: AirflowFailException: it has neither, or half a range.
    """
    given = [context["params"].get(name) for name in ("start", "end")]
    if all(given):
        return Interval(*(datetime.fromisoformat(text).astimezone(UTC) for text in given))
    if any(given):
        raise AirflowFailException("start and end of a range go together: give both, or none for the data interval")
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None or start == end:
        raise AirflowFailException("this run has no data interval: trigger it with start and end of a range")
    # Airflow's own kind of datetime subtracts to another kind of timedelta.
    return Interval(*(datetime.fromisoformat(moment.isoformat()).astimezone(UTC) for moment in (start, end)))


def _succeeded(context: Mapping[str, Any], dag_id: str) -> int:
    return int(context["ti"].get_dr_count(dag_id=dag_id, states=["success"]))


def _pinned(context: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for pinned in context["ti"].xcom_pull(task_ids=WAIT) or ():
        if not _PINNED.fullmatch(str(pinned)):
            raise AirflowFailException(f"{pinned!r}, of task {WAIT!r}, is no version of a view; clear that task")
        words += ["--upstream", pinned]
    return words


def _failure(end: Mapping[str, Any] | None, exc: AirflowException) -> AirflowException:
    failure = None if end is None else failure_of(end)
    if failure is None and end is not None:
        return AirflowException(f"the job did a part of its work, see above what failed: {exc}")
    if failure is None and _NO_PROGRAM.search(str(exc)):
        return AirflowFailException(f"the command cannot be run here, see above; correct airflow.spark_submit: {exc}")
    if failure is None:
        return AirflowException(f"the job did not tell how it ended, as one that is killed: {exc}")
    if failure.retry:
        return AirflowException(str(failure))
    return AirflowFailException(f"{failure}\n(no retry: the same again would fail the same way)")
