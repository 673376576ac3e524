"""The soak: days of flights by catch-up, two kinds of kills, and a refused interval that a person repairs."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from features.orchestration.airflow_client import DagRunState
from tests.soak.outcome import find_differences, find_holes, find_untold_versions
from tests.soak.project import FlightsProject
from tests.soak.standalone import Standalone, Submit

# Those of the demo.
VIEWS = ("carrier_delay", "origin_delay", "plane", "route_delay", "weather")
_POLL_SECONDS = 0.5
_SECONDS_PER_RUN = 90.0
_NO_RETRY = "no retry: the same again would fail the same way"
_RUNS_PER_SUBMIT_KILL, _RUNS_PER_SCHEDULER_KILL = 25, 60


@dataclass(kw_only=True)
class Report:
    """What was done to it, and what came of that; the lists tell what is wrong."""

    days: int
    views: Sequence[str]
    submits: int = 0
    submit_kills: int = 0
    scheduler_kills: int = 0
    scheduler_ends: int = 0
    refused: list[str] = field(default_factory=list)
    clears: int = 0
    seconds: float = 0.0
    holes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    untold_versions: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not (self.holes or self.differences or self.untold_versions)


def soak(
    folder: Path,
    *,
    port: int,
    days: int,
    views: Sequence[str] = VIEWS,
    parallelism: int = 2,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Run it in an empty folder, over the Cassandra at a port. The day in the middle is refused.

    Args:
        folder: for both projects.
        port: Cassandra's.
        days: two or more, from the first of March on.
        views: one of them reads flights.
        parallelism: spark-submits at once.
        tell: takes a line of progress.
    """
    began = time.monotonic()
    clean = FlightsProject(root=folder / "clean", port=port, keyspace="clean", days=days)
    soaked = FlightsProject(root=folder / "soaked", port=port, keyspace="soaked", days=days)
    clean.make()
    soaked.make(landed=clean.landing)
    tell(f"{days} days of flights are landed twice")
    standalone = Standalone.of(soaked, parallelism=parallelism)
    watch = _Watch(standalone=standalone, clean=clean, views=views, tell=tell)
    with ThreadPoolExecutor(1) as beside:
        building = beside.submit(lambda: [clean.backfill(view) for view in views])
        try:
            standalone.start()
            tell(f"airflow standalone is up at {standalone.airflow.status().url}")
            standalone.airflow.unpause(views, timeout_seconds=300)
            watch.until_done(building)
        finally:
            standalone.airflow.stop()
        building.result()
    report = watch.report
    report.submits = standalone.attempts()
    report.holes = find_holes(soaked, views)
    report.differences = find_differences(soaked, clean, views)
    report.untold_versions = find_untold_versions(standalone, views)
    report.seconds = round(time.monotonic() - began, 1)
    return report


class _Watch:
    """Whoever looks at Airflow: does the damage, and attends to what fails of it."""

    def __init__(
        self, *, standalone: Standalone, clean: FlightsProject, views: Sequence[str], tell: Callable[[str], None]
    ) -> None:
        self.report = Report(days=clean.days, views=views)
        self._standalone, self._clean, self._views, self._tell = standalone, clean, views, tell
        self._project = standalone.project
        self._total = len(views) * clean.days
        self._bad_day = clean.start + timedelta(days=clean.days // 2)
        self._project.damage(self._bad_day)
        self._repaired = False
        submit_kills = -(-self._total // _RUNS_PER_SUBMIT_KILL)
        scheduler_kills = -(-self._total // _RUNS_PER_SCHEDULER_KILL)
        # How many runs are done when each is due.
        self._submit_kills = [1 + number * self._total // submit_kills for number in range(submit_kills)]
        self._scheduler_kills = [
            (2 * number + 1) * self._total // (2 * scheduler_kills) for number in range(scheduler_kills)
        ]
        self._killed: list[tuple[str, datetime]] = []

    def until_done(self, building: "Future[object]") -> None:
        """Return when every interval of every view has a run that succeeded, and all that was to happen has."""
        deadline = time.monotonic() + 600 + self._total * _SECONDS_PER_RUN
        before = -1
        while True:
            runs = self._standalone.airflow.run_states(self._views)
            done = sum(run.state == "success" for states in runs.values() for run in states)
            if done != before:
                self._tell(f"{done}/{self._total} runs: {_counts(runs)}")
            before = done
            if done == self._total:
                break
            assert time.monotonic() < deadline, "\n".join([_counts(runs), *self._standalone.unfinished()])
            if building.done():
                building.result()
            if not self._standalone.is_scheduling():
                # Of itself, as where its database was locked for too long.
                self._tell("the scheduler has ended: airflow standalone is started again")
                self._standalone.restart()
                self.report.scheduler_ends += 1
            self._attend({view: [run for run in states if run.state == "failed"] for view, states in runs.items()})
            self._disturb(done)
            time.sleep(_POLL_SECONDS)
        assert self._repaired, "the gate refused nothing"
        assert self._submit_kills + self._scheduler_kills == [], "it was over before all was killed that was to be"
        assert all(self._tries(view, start) > 1 for view, start in self._killed), self._killed

    def _disturb(self, done: int) -> None:
        """Kill what is due, but nothing that the gate is about to refuse."""
        wanted = [due for due in (self._submit_kills[:1], self._scheduler_kills[:1]) if due and due[0] <= done]
        if not wanted:
            return
        submits = list(self._standalone.submits())
        if not submits or (not self._repaired and any(submit.start == self._bad_day for submit in submits)):
            return
        if self._submit_kills and self._submit_kills[0] <= done:
            self._kill(submits[0])
        else:
            self._scheduler_kills.pop(0)
            self._tell(f"kill -9 of the scheduler amid {', '.join(f'{s.view} {s.start:%d %b}' for s in submits)}")
            self._standalone.kill_scheduler()
            self.report.scheduler_kills += 1
            self._tell("airflow standalone is up again")

    def _kill(self, submit: Submit) -> None:
        if not submit.kill():
            return
        self._tell(f"kill -9 of the spark-submit of {submit.view} {submit.start:%d %b}")
        self._submit_kills.pop(0)
        self._killed.append((submit.view, submit.start))
        self.report.submit_kills += 1

    def _attend(self, failed: dict[str, list[DagRunState]]) -> None:
        """Repair the source when the gate has refused it, then clear what failed of that."""
        for view, runs in failed.items():
            for run in runs:
                self._examine(view, run)
        views = [view for view, runs in failed.items() if runs]
        if views and not self._repaired:
            self._project.repair(self._bad_day, self._clean.landing)
            self._repaired = True
            self._tell(f"the flights of {self._bad_day:%d %b} are landed again")
        for view in views:
            self._standalone.clear(view, self._bad_day)
            self.report.clears += 1
            self._tell(f"airflow tasks clear {view} --start-date {self._bad_day:%Y-%m-%d} --only-failed")

    def _examine(self, view: str, run: DagRunState) -> None:
        """A run that failed is that of the refused interval, or one behind it; and nothing tried it again in vain."""
        log = self._standalone.log(view, run.run_id)
        assert run.interval is not None
        assert run.interval.start >= self._bad_day, f"{view} {run.interval}: {log[-3000:]}"
        assert all(words in log for words in ("RefusedError", _NO_RETRY)), f"{view} {run.interval}: {log[-3000:]}"
        number, most = self._standalone.tries(view, run.run_id)
        assert number <= most, f"{view} {run.interval}: try {number}, {most} retries"
        if run.interval.start == self._bad_day:
            with self._project.open_registry() as registry:
                (entry,) = registry.ledger(registry.view(view), since=run.interval.start, until=run.interval.end)
            assert (entry.status, entry.built) == ("refused", False)
            self.report.refused.append(f"{view} {run.interval.start.date()}")
            self._tell(f"{view} {run.interval.start:%d %b} was refused")

    def _tries(self, view: str, start: datetime) -> int:
        (run,) = (
            run
            for run in self._standalone.airflow.run_states([view])[view]
            if run.interval and run.interval.start == start
        )
        return self._standalone.tries(view, run.run_id)[0]


def _counts(runs: dict[str, tuple[DagRunState, ...]]) -> str:
    done = {view: sum(run.state == "success" for run in states) for view, states in runs.items()}
    return ", ".join(f"{view} {count}" for view, count in done.items())
