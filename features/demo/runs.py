"""Running every interval: the history by one backfill, the days after it by Airflow, as a team would."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from features.config import Settings
from features.core.applied import AppliedView
from features.core.schedule import Interval, cover
from features.demo.progress import Tell
from features.demo.spark import spark_store
from features.orchestration.local_airflow import LocalAirflow
from features.store import FeatureStore

_AIRFLOW = Path(".state/airflow")
_TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DagRuns:
    """Runs of all DAGs together, one spark-submit each. total: that there are to be; started: this time."""

    total: int
    started: int


def airflow_home(settings: Settings) -> Path:
    """The folder of the demo's Airflow: one for each environment, since their DAGs have the same names."""
    return _AIRFLOW if settings.env == "local" else _AIRFLOW.with_name(f"airflow-{settings.env}")


def airflow_homes() -> tuple[Path, ...]:
    """Those that there are."""
    return tuple(sorted(_AIRFLOW.parent.glob(f"{_AIRFLOW.name}*")))


def local_airflow(home: Path) -> LocalAirflow:
    """The demo's Airflow, running or not."""
    return LocalAirflow(home=home, dags=Path("dags"), parallelism=2)


def scheduled_views(store: FeatureStore) -> tuple[AppliedView, ...]:
    """The views that Airflow runs by itself, but for those of card payments, whose data is landed by hand."""
    return tuple(v for v in store.registry.views() if v.schedule is not None and v.tags.get("domain") != "payments")


def missing_intervals(store: FeatureStore, view: AppliedView, start: datetime, end: datetime) -> tuple[Interval, ...]:
    """The intervals of [start, end) that were not built, or are stale."""
    fresh = {entry.interval for entry in store.registry.ledger(view) if entry.built and not entry.stale}
    return tuple(interval for interval in cover(view.schedule, start, end) if interval not in fresh)


def backfill_missing(store: FeatureStore, start: datetime, end: datetime, tell: Tell, *, load: bool) -> int:
    """Builds what is missing of every scheduled view over [start, end), in one Spark session; how many intervals.

    Args:
        load: bring the online table up to it, where any interval of a view was missing.
    """
    missing = {view.name: len(missing_intervals(store, view, start, end)) for view in scheduled_views(store)}
    wanted = [name for name, count in missing.items() if count]
    if not wanted:
        return 0
    with spark_store(store.settings) as working:
        for name in wanted:
            results = working.backfill(name, start, end, load=load)
            rows, withheld = sum(r.rows for r in results), sum(r.quarantined for r in results)
            tell(f"{name}: {missing[name]} intervals, {rows} rows, {withheld} quarantined")
    return sum(missing.values())


def run_dags(
    airflow: LocalAirflow, views: Sequence[AppliedView], start: datetime, end: datetime, tell: Tell
) -> DagRuns:
    """Lets Airflow run each view's intervals of [start, end), and stops it, whatever happens.

    Raises:
        FeatureStoreError: a run failed for good; it ends with the last lines of its log.
        PlatformError: Airflow does not start, or does not finish in half an hour.
    """
    expected = {view.name: len(cover(view.schedule, start, end)) for view in views}
    done = {
        name: sum(run.state == "success" for run in runs) for name, runs in airflow.run_states(list(expected)).items()
    }
    total = sum(expected.values())
    left = total - sum(min(done[name], wanted) for name, wanted in expected.items())
    if not left:
        tell(f"Airflow has run all {total} already; it stays off")
        return DagRuns(total=total, started=0)
    try:
        tell("starting Airflow: scheduler, DAG processor and API server on this machine")
        status = airflow.start()
        airflow.wait_ready()
        tell(f"Airflow is up at {status.url}; {left} of {total} runs to go, two at a time")
        airflow.rerun_failed(list(expected))
        airflow.unpause(list(expected))
        airflow.wait_for_runs(expected, timeout_seconds=_TIMEOUT_SECONDS, progress=tell)
    finally:
        airflow.stop()
    tell("Airflow is stopped again")
    return DagRuns(total=total, started=left)
