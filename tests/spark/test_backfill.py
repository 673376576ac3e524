"""Backfills: what they build, side by side and in order, and what is left when a part of it is refused."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from features import Expect, Feature, FeatureView
from features.core.dtypes import DType
from features.core.schedule import Interval, iterate_intervals
from features.errors import IntervalError, RefusedError, UsageError
from features.materialization.backfill import Backfill, BackfillError, backfill
from features.materialization.chunks import Chunk, ChunkWork
from features.materialization.results import BuildResult
from features.registry import IntervalOutcome
from tests.builders import Workshop, at, make_view, passes_on, payments_source, write_payments

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

PAYMENTS = [("a", f"2024-01-{day:02} 10:00", float(day)) for day in (1, 2, 3, 5)]
START, END = at("2024-01-01"), at("2024-01-06")
DAY = timedelta(days=1)
CALLS: list[datetime] = []


def counts_calls(payments: Any) -> Any:
    CALLS.append(at("2024-01-01"))
    return passes_on(payments)


def make_payments(folder: Path) -> FeatureView:
    write_payments(folder, PAYMENTS)
    limits = Expect.between(0, 100, severity="refuse")
    return make_view(
        sources=[payments_source(folder)],
        features=[Feature("amount", DType.FLOAT64, expect=[limits])],
        transform=counts_calls,
    )


def content(workshop: Workshop, view: FeatureView) -> list[tuple[Any, ...]]:
    """The log's rows, save for the positions, which say in which order they were committed."""
    place = workshop.log(view).columns.index("_seq")
    return sorted(row[:place] + row[place + 1 :] for row in workshop.rows(view))


def test_chunks_side_by_side_give_what_one_build_gives(spark: "SparkSession", tmp_path: Path) -> None:
    view = make_payments(tmp_path / "payments")
    together, apart = Workshop(spark, tmp_path / "together"), Workshop(spark, tmp_path / "apart")
    for workshop in (together, apart):
        workshop.apply(view)
    together.build(view, "2024-01-01", "2024-01-06")
    applied = apart.registry.view(view.name)
    CALLS.clear()
    results = backfill(apart.builder, view, applied, START, END, chunk=1, parallel=4)
    assert [(r.start.day, r.status) for r in results] == [(d, "empty" if d == 4 else "built") for d in range(1, 6)]
    assert content(apart, view) == content(together, view)
    # Whoever commits last does not compute again, and no position is taken twice.
    assert len(CALLS) == 5
    assert [c.position for c in apart.registry.commits(applied)] == [1, 2, 3, 4]
    assert [e.status for e in apart.registry.ledger(applied)] == [e.status for e in together.registry.ledger(applied)]
    assert backfill(apart.builder, view, applied, START, END, parallel=2) == ()
    for workshop in (together, apart):
        workshop.registry.close()


def test_intervals_that_are_not_over_are_refused_and_left_out_of_backfills(workshop: Workshop, tmp_path: Path) -> None:
    view = make_payments(tmp_path / "payments")
    applied = workshop.apply(view)
    # Not that midnight comes between.
    today = (datetime.now(UTC) + timedelta(minutes=5)).replace(hour=0, minute=0, second=0, microsecond=0)
    with pytest.raises(IntervalError, match=r"of last_payment@1 has not ended.*; wait for its end"):
        workshop.builder.build(view, applied, today, today + DAY)
    with pytest.raises(IntervalError, match=f"has not ended.*; end at {today:%Y-%m-%d}T00:00"):
        workshop.builder.build(view, applied, today - DAY, today + 2 * DAY)
    assert (workshop.registry.ledger(applied), workshop.registry.runs(applied)) == ((), ())
    wanted = Backfill(registry=workshop.registry, applied=applied, start=today - 2 * DAY, end=today + 9 * DAY).plan()
    assert [chunk.interval for chunk in wanted.chunks] == [Interval(today - 2 * DAY, today)]


def test_a_refused_chunk_ends_the_backfill_and_what_remains_is_told(workshop: Workshop, tmp_path: Path) -> None:
    view = make_payments(tmp_path / "payments")
    applied = workshop.apply(view)
    bad = [(name, when, 5000.0 if "-03 " in str(when) else value) for name, when, value in PAYMENTS]
    write_payments(tmp_path / "payments", bad)
    with pytest.raises(BackfillError, match=r"between\(0, 100\)(.|\n)*still to build: 3 intervals") as caught:
        backfill(workshop.builder, view, applied, START, END, chunk=1)
    assert [result.start.day for result in caught.value.built] == [1, 2]
    assert [interval.start.day for interval, _ in caught.value.failures] == [3]
    assert [interval.start.day for interval in caught.value.remaining] == [3, 4, 5]
    # Of a chunk that is refused for one interval the others are built.
    with pytest.raises(BackfillError, match="still to build: 1 intervals") as caught:
        backfill(workshop.builder, view, applied, START, END)
    assert [(result.start.day, result.intervals) for result in caught.value.built] == [(4, 2)]
    assert [interval.start.day for interval, _ in caught.value.failures] == [3]
    write_payments(tmp_path / "payments", PAYMENTS)
    plan = Backfill(registry=workshop.registry, applied=applied, start=START, end=END, parallel=2).plan()
    assert [(c.interval.start.day, c.interval.end.day, c.reruns) for c in plan.chunks] == [(3, 4, False)]
    assert (plan.rows, plan.seconds is not None) == (1, True)
    assert [r.intervals for r in backfill(workshop.builder, view, applied, START, END, parallel=2)] == [1]
    assert [entry.status for entry in workshop.registry.ledger(applied)] == [*["built"] * 3, "empty", "built"]


def test_reruns_come_before_what_was_never_built_and_a_refused_rerun_again(workshop: Workshop, tmp_path: Path) -> None:
    view = make_payments(tmp_path / "payments")
    applied = workshop.apply(view)
    workshop.build(view, "2024-01-02", "2024-01-04")
    workshop.registry.mark_stale(applied, after=at("2024-01-02"), until=at("2024-01-03"))
    refused = Interval(at("2024-01-03"), at("2024-01-04"))
    write_payments(tmp_path / "payments", [("a", "2024-01-03 10:00", 5000.0)])
    with pytest.raises(RefusedError):
        workshop.build(view, "2024-01-03", "2024-01-04")
    write_payments(tmp_path / "payments", PAYMENTS)
    plan = Backfill(registry=workshop.registry, applied=applied, start=START, end=END, chunk=1).plan()
    assert [(c.interval.start.day, c.reruns) for c in plan.chunks] == [
        (2, True), (3, True), (1, False), (4, False), (5, False),
    ]  # fmt: skip
    results = backfill(workshop.builder, view, applied, START, END)
    assert [(r.start.day, r.end.day, r.status) for r in results] == [
        (1, 2, "built"), (2, 4, "unchanged"), (4, 6, "built"),
    ]  # fmt: skip
    entries = {entry.interval: entry for entry in workshop.registry.ledger(applied)}
    assert entries[refused].status == "built"
    assert not any(entry.stale for entry in entries.values())
    everything = backfill(workshop.builder, view, applied, START, END, every=True, chunk=4)
    assert [(r.intervals, r.status) for r in everything] == [(4, "unchanged"), (1, "unchanged")]


@pytest.mark.parametrize("wrong", [{"parallel": 0}, {"parallel": 5}, {"chunk": 0}])
def test_limits_are_kept(workshop: Workshop, tmp_path: Path, wrong: dict[str, int]) -> None:
    applied = workshop.apply(make_payments(tmp_path / "payments"))
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Backfill(registry=workshop.registry, applied=applied, start=START, end=END, **wrong)


def test_an_interrupt_ends_what_runs_and_begins_nothing_more(spark: "SparkSession") -> None:
    begun: list[int] = []

    def build(start: datetime, end: datetime) -> BuildResult:
        begun.append(start.day)
        if len(begun) == 2:
            threading.Thread(target=interrupt, daemon=True).start()
        spark.range(1).rdd.foreach(lambda _: time.sleep(600))
        raise AssertionError("the job was not cancelled")

    def interrupt() -> None:
        while len(spark.sparkContext.statusTracker().getActiveJobsIds()) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    work = ChunkWork(build=build, view="v@1", total=6, spark=spark)
    chunks = [Chunk(intervals=(interval,), reruns=False) for interval in iterate_intervals("@daily", START, END)]
    with interruptible(), pytest.raises(KeyboardInterrupt):
        work.do_all(chunks, parallel=2)
    assert (sorted(begun), work.results, work.failures) == ([1, 2], [], [])


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C as a terminal sends it: a process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_chunks_of_a_view_that_holds_many_rows_are_small(workshop: Workshop, tmp_path: Path) -> None:
    applied = workshop.apply(make_payments(tmp_path / "payments"))
    plan = Backfill(registry=workshop.registry, applied=applied, start=at("2020-01-01"), end=at("2024-01-01")).plan()
    assert {len(chunk.intervals) for chunk in plan.chunks[:-1]} == {31}
    assert (plan.seconds, plan.rows) == (None, None)
    _record(workshop, applied, rows=2_000_000)
    plan = Backfill(registry=workshop.registry, applied=applied, start=at("2020-01-01"), end=at("2021-01-01")).plan()
    assert {len(chunk.intervals) for chunk in plan.chunks} == {2}
    _record(workshop, applied, rows=10)
    wide = Backfill(registry=workshop.registry, applied=applied, start=at("2010-01-01"), end=at("2024-01-01")).plan()
    assert max(len(chunk.intervals) for chunk in wide.chunks) == 366


def _record(workshop: Workshop, applied: Any, *, rows: int) -> None:
    outcome = IntervalOutcome(interval=Interval(START, at("2024-01-02")), status="built", rows=rows, position=1)
    workshop.registry.record_intervals(applied, "run", [outcome])
