"""The whole platform on real data: `python -m features.demo`, from the project's root. docs/demo.md describes it.

Every step finds what an earlier run has done, and does the rest.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from features.config import Settings, load_settings
from features.demo.landing import DEFAULT_ROOT, land_flights
from features.demo.model import Scores, read_set, score
from features.demo.progress import Progress, tell
from features.demo.reading import choose_rows, read_back
from features.demo.report import describe_scores, describe_values, summarize
from features.demo.runs import airflow_home, airflow_homes, backfill_missing, local_airflow, run_dags, scheduled_views
from features.demo.sets import SERVICE, SETS, extract_sets, saved_set
from features.demo.spine import read_flights, spine_of, write_spine
from features.demo.transactions import land_transactions
from features.embedded.local_cluster import stop_default_cluster
from features.embedded.serving import embedded_cassandra, stop_embedded
from features.errors import ConfigError, FeatureStoreError, OnlineStoreError
from features.store import FeatureStore

STATE = Path(".state")
SPINE = STATE / "demo" / "spine.parquet"
# Two weeks to train on, before the days that Airflow runs.
BACKFILLED = timedelta(days=14)
_STEPS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The demo's days: history is built by a backfill, then Airflow runs the intervals of [start, end)."""

    history: datetime
    start: datetime
    end: datetime


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, or values that should be equal are not, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m features.demo", description=__doc__)
    parser.add_argument("--stop", action="store_true", help="stop what the demo left running, and keep its data")
    parser.add_argument("--clean", action="store_true", help="stop it, and remove .state with all that was made")
    args = parser.parse_args(argv)
    try:
        settings = load_settings()
        if args.stop or args.clean:
            stop(settings, clean=args.clean)
        else:
            run(settings)
    except FeatureStoreError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; run it again to go on from here, or `make stop`", file=sys.stderr)
        return 130
    return 0


def run(settings: Settings) -> None:
    """All steps, in order.

    Raises: FeatureStoreError: a step failed; OnlineStoreError: online and offline values differ.
    """
    span, progress = span_of(settings), Progress(total=_STEPS)
    with FeatureStore(settings) as store:
        with progress.step("Landing real flights, hourly weather and planes, as an upstream system would"):
            _land(span)
        with progress.step("Starting Cassandra"):
            _start_cassandra(settings)
        with progress.step("Applying the definitions in features/views"):
            _apply(store)
        with progress.step(f"Backfilling {_days(span.history, span.start)}, as its runs would have"):
            backfilled = backfill_missing(store, span.history, span.start, tell, load=False)
            if not backfilled:
                tell("every interval is built already")
        with progress.step(f"Airflow: {_days(span.start, span.end)}, each run one spark-submit"):
            airflow = local_airflow(airflow_home(settings))
            runs = run_dags(airflow, scheduled_views(store), span.start, span.end, tell)
            _catch_up(store, span)
        with progress.step("Extracting two training sets by spark-submit: as known, and leaky"):
            _write_spine(store, span)
            submitted = extract_sets(store, SPINE, tell)
        with progress.step("Training a model on each"):
            scores = _train(store, span)
        with progress.step("Reading back: online by Python, online by CQL, offline"):
            _read_back(store, span)
    lines = summarize(progress.seconds, runs.started + submitted, scores, moment=span.end, running=_running(settings))
    print("\n".join(lines), flush=True)


def span_of(settings: Settings) -> Span:
    """The days of conf. Raises: ConfigError: airflow.start or airflow.end is missing."""
    start, end = settings.airflow.start, settings.airflow.end
    if start is None or end is None:
        raise ConfigError("the demo runs from airflow.start to airflow.end: set both in conf/local.yaml")
    return Span(history=start - BACKFILLED, start=start, end=end)


def stop(settings: Settings, *, clean: bool = False) -> None:
    """Stops Airflow, the embedded Cassandra and a cluster of this machine; with clean, removes .state."""
    for home in airflow_homes():
        local_airflow(home).stop()
    if settings.online.embedded:
        stop_embedded()
    print("Airflow and Cassandra are stopped")
    if stop_default_cluster(delete=clean):
        print("Spark and PostgreSQL are stopped")
    if clean and STATE.exists():
        shutil.rmtree(STATE)
        print(f"{STATE}/ is removed")


def _land(span: Span) -> None:
    # A week before, for the windows; a day after, for flights of the last evening and whether they were late.
    start, end = (span.history - timedelta(days=7)).date(), (span.end + timedelta(days=1)).date()
    landed = land_flights(DEFAULT_ROOT, start, end)
    tell(
        f"{landed.flights} flights, {landed.weather} weather rows, {landed.planes} planes under {DEFAULT_ROOT}: "
        f"{landed.written} files written"
    )
    # For a second example, docs/windows.md: nothing of the demo reads them.
    tell(f"{land_transactions()} made-up card transactions")


def _start_cassandra(settings: Settings) -> None:
    if settings.online.embedded:
        embedded_cassandra(settings).start(tell)
    else:
        tell(f"conf names a cluster: {', '.join(settings.online.hosts)}")


def _apply(store: FeatureStore) -> None:
    plan = store.plan()
    if plan.is_empty:
        tell("the registry holds them already")
        return
    for change in plan.changes:
        tell(f"{change.kind}: {change.object} {change.name}, version {change.version}")
    store.apply()


def _days(start: datetime, end: datetime) -> str:
    return f"{start:%d %b} to {end - timedelta(days=1):%d %b %Y}"


def _catch_up(store: FeatureStore, span: Span) -> None:
    """Builds the intervals that Airflow ran for another version of a view: to it, they are done."""
    late = backfill_missing(store, span.start, span.end, tell, load=True)
    if late:
        tell(f"{late} intervals of new versions were backfilled")


def _known_from(store: FeatureStore, span: Span) -> datetime:
    """When the first values of all views could be read."""
    return span.history + timedelta(days=1) + _delay(store)


def _delay(store: FeatureStore) -> timedelta:
    return max(view.delay for view in scheduled_views(store))


def _last_known(store: FeatureStore) -> datetime:
    """When the last of what was built could be read: from then on, what is online is what was known."""
    built = [(entry, view) for view in scheduled_views(store) for entry in store.registry.ledger(view) if entry.built]
    return max(entry.interval.end + view.delay for entry, view in built)


def _write_spine(store: FeatureStore, span: Span) -> None:
    spine = spine_of(read_flights(DEFAULT_ROOT, _known_from(store, span), span.end))
    write_spine(spine, SPINE)
    tell(f"{SPINE}: {len(spine)} flights at their scheduled departure, {spine['late'].mean():.0%} of them late")


def _train(store: FeatureStore, span: Span) -> Scores:
    manifests = [saved_set(store, name) for name in SETS]
    known, leaky = (read_set(manifest.content["path"]) for manifest in manifests)
    columns = [request.feature.name for request in store.registry.resolve(SERVICE)]
    scores = score(known, leaky, columns, split=span.start + timedelta(days=1))
    tell("\n".join(describe_scores(scores)))
    return scores


def _read_back(store: FeatureStore, span: Span) -> None:
    flights = read_flights(DEFAULT_ROOT, span.end - timedelta(days=1), span.end)
    rows = choose_rows(flights[flights["landed_at"] < span.end])
    read = read_back(store, scheduled_views(store), rows, _last_known(store))
    tell("\n".join(describe_values(read)))
    if read.differences:
        raise OnlineStoreError(
            f"{len(read.differences)} of {read.values} values differ: {'; '.join(read.differences[:5])}; "
            "`features load VIEW --full` writes a view's online table anew"
        )


def _running(settings: Settings) -> list[str]:
    if not settings.online.embedded:
        return []
    found = embedded_cassandra(settings).status()
    nodes = found if isinstance(found, tuple) else (found,)
    where = ", ".join(f"{node.host}:{node.port} (pid {node.pid})" for node in nodes)
    return [f"Cassandra keeps running on {where}; Airflow does not."]
