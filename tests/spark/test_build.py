"""Builds: what is appended, when it counts as known, and what is left alone."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from features import DType, Expect, Feature
from features.config import SparkSettings
from features.engine.session import open_session
from features.errors import (
    DuplicateRowsError,
    IntervalError,
    RefusedError,
    SourceError,
    StorageError,
    TimeError,
    TransformError,
)
from features.functions import F, Window
from features.materialization import build as building
from features.registry import Registry
from features.stores.delta import FeatureLog
from tests.builders import Workshop, at, make_view, passes_on, payments_source, write_payments
from tests.spark.test_quarantine import before

pytestmark = pytest.mark.spark

DAY1, DAY2, DAY3, DAY4 = "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"
FEBRUARY = at("2024-02-01")
PUT1 = ("a", f"{DAY1}T10:00:00", f"{DAY2}T00:30:00", "put", 1, f"{DAY2}T00:00:00", 1.0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two payments on the first day, at its first and last microsecond, and one on the second."""
    path = tmp_path / "payments"
    write_payments(
        path, [("a", f"{DAY1} 10:00", 1.0), ("b", f"{DAY1} 23:59:59.999999", 5.0), ("a", f"{DAY2} 00:00", 2.0)]
    )
    return path


def tree(folder: str) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def rolling_sum(payments: Any) -> Any:
    """The sum of each customer's payments over two days."""
    window = Window.partitionBy("customer").orderBy(F.unix_micros("paid_at")).rangeBetween(1 - 172_800_000_000, 0)
    return payments.select(
        "customer", F.col("paid_at").alias("event_timestamp"), F.sum("amount").over(window).alias("amount")
    )


def with_available(payments: Any) -> Any:
    """Every payment, as of when it was seen."""
    return payments.select("customer", F.col("paid_at").alias("event_timestamp"), "available_timestamp", "amount")


def test_a_first_build_is_known_at_the_interval_end_plus_delay(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    result = workshop.build(view, DAY1, DAY2)
    assert (result.status, result.rows, result.corrections, result.retractions, result.delta_version) == (
        "built",
        2,
        0,
        0,
        0,
    )
    assert workshop.rows(view) == [
        PUT1,
        ("b", f"{DAY1}T23:59:59.999999", f"{DAY2}T00:30:00", "put", 1, f"{DAY2}T00:00:00", 5.0),
    ]


def test_one_run_over_a_range_gives_the_rows_of_one_run_per_interval(workshop: Workshop, tmp_path: Path) -> None:
    days = [f"2024-01-{day:02d}" for day in range(1, 9)]
    payments = [
        (key, f"{day} {hour}:00", float(place))
        for place, day in enumerate(days[:-1])
        for key in "ab"
        for hour in ("00", "13")
    ]
    write_payments(tmp_path / "payments", [p for p in payments if "01-05" not in str(p[1])])
    source = payments_source(tmp_path / "payments", history=timedelta(days=2))
    together, apart = (make_view(name=name, sources=[source], transform=rolling_sum) for name in ("together", "apart"))
    workshop.apply(together)
    workshop.apply(apart)
    workshop.build(together, days[0], days[-1])
    statuses = [workshop.build(apart, start, end).status for start, end in pairwise(days)]
    assert statuses == ["built"] * 4 + ["empty"] + ["built"] * 2
    seq = 4
    assert [(*r[:seq], *r[seq + 1 :]) for r in workshop.rows(together)] == [
        (*r[:seq], *r[seq + 1 :]) for r in workshop.rows(apart)
    ]


def test_a_rerun_without_a_change_makes_no_commit_and_changes_no_byte(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    before = tree(workshop.warehouse)
    result = workshop.build(view, DAY1, DAY2)
    assert (result.status, result.rows, result.delta_version) == ("unchanged", 0, 0)
    assert tree(workshop.warehouse) == before


def test_a_correction_appends_exactly_the_changed_row_known_from_the_rerun_on(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    write_payments(
        source, [("a", f"{DAY1} 10:00", 9.0), ("b", f"{DAY1} 23:59:59.999999", 5.0), ("a", f"{DAY2} 00:00", 2.0)]
    )
    result = workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    assert (result.status, result.rows, result.corrections, result.retractions) == ("built", 1, 1, 0)
    appended = [row for row in workshop.rows(view) if row[4] == 2]
    assert appended == [("a", f"{DAY1}T10:00:00", "2024-02-01T00:30:00", "put", 2, f"{DAY2}T00:00:00", 9.0)]


def test_a_correction_is_later_than_all_that_was_known_of_its_row(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    write_payments(source, [("a", f"{DAY1} 10:00", 9.0), ("b", f"{DAY1} 23:59:59.999999", 5.0)])
    workshop.build(view, DAY1, DAY2, now=at(DAY1))  # a clock that lags
    assert [row[2] for row in workshop.rows(view) if row[4] == 2] == [f"{DAY2}T00:30:00.000001"]


def test_an_interval_whose_rows_have_gone_is_empty_and_retracted(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    write_payments(source, [("a", f"{DAY2} 00:00", 2.0)])
    result = workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    assert (result.status, result.rows, result.corrections, result.retractions) == ("empty", 2, 0, 2)
    again = workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    assert (again.status, again.rows) == ("empty", 0)
    write_payments(source, [("a", f"{DAY1} 10:00", 1.0), ("a", f"{DAY2} 00:00", 2.0)])
    back = workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    assert (back.status, back.rows, back.corrections) == ("built", 1, 0)


def test_an_interval_without_rows_is_empty_before_the_first_commit(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    result = workshop.build(view, "2023-01-01", "2023-01-02")
    assert (result.status, result.rows, result.delta_version) == ("empty", 0, None)
    assert not Path(workshop.warehouse).exists()


def test_rows_found_later_for_an_interval_that_was_empty_count_as_known_from_the_rerun_on(
    workshop: Workshop, source: Path
) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY3, DAY4)
    write_payments(source, [("a", f"{DAY3} 08:00", 4.0)])
    workshop.build(view, DAY3, DAY4, now=FEBRUARY)
    assert [row[2] for row in workshop.rows(view)] == ["2024-02-01T00:30:00"]


def test_a_run_that_was_killed_after_its_commit_is_found_again(
    workshop: Workshop, source: Path, tmp_path: Path
) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    before = tree(workshop.warehouse)
    # A registry that knows nothing of the commit: what a kill between the two leaves.
    workshop.registry.close()
    workshop.registry = Registry.open(f"sqlite:///{tmp_path / 'other.db'}")
    applied = workshop.apply(view)
    result = workshop.build(view, DAY1, DAY2)
    assert (result.status, tree(workshop.warehouse)) == ("unchanged", before)
    assert [c.position for c in workshop.registry.commits(applied)] == [1]
    assert [e.status for e in workshop.registry.ledger(applied)] == ["built"]


def test_a_killed_first_run_does_not_make_changed_rows_known_in_the_past(
    workshop: Workshop, source: Path, tmp_path: Path
) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    workshop.registry.close()
    workshop.registry = Registry.open(f"sqlite:///{tmp_path / 'other.db'}")
    workshop.apply(view)
    write_payments(source, [("a", f"{DAY1} 10:00", 9.0), ("b", f"{DAY1} 23:59:59.999999", 5.0)])
    workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    assert [row[2] for row in workshop.rows(view) if row[4] == 2] == ["2024-02-01T00:30:00"]


def forget_last_commit(workshop: Workshop) -> None:
    """Leave the registry as a kill does that comes right behind the commit in Delta: it was told nothing of it."""
    engine = create_engine(workshop.registry_url)
    last_run = "(SELECT run_id FROM runs ORDER BY started_at DESC LIMIT 1)"
    with engine.begin() as connection:
        connection.execute(text(f"DELETE FROM commits WHERE run_id = {last_run}"))
        connection.execute(text(f"DELETE FROM ledger WHERE run_id = {last_run}"))
        connection.execute(text("UPDATE ledger SET stale = 0"))
    engine.dispose()


def test_a_kill_right_after_a_commit_loses_no_stale_mark(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "payments"
    write_payments(path, [("a", f"2024-01-{day:02d} 10:00", 1.0) for day in range(1, 5)])
    view = make_view(sources=[payments_source(path, history=timedelta(days=2))], transform=rolling_sum)
    applied = workshop.apply(view)
    workshop.build(view, DAY1, "2024-01-05")
    write_payments(path, [("a", f"2024-01-{day:02d} 10:00", 1.0 if day > 1 else 7.0) for day in range(1, 5)])
    workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    forget_last_commit(workshop)
    assert workshop.build(view, DAY1, DAY2, now=FEBRUARY).status == "unchanged"
    stale = [e.interval.start for e in workshop.registry.ledger(applied) if e.stale]
    assert stale == [at(DAY2), at(DAY3)]


def test_a_kill_right_after_a_commit_does_not_let_a_range_overlap_it(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)], schedule=None)
    workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    forget_last_commit(workshop)
    with pytest.raises(IntervalError, match="overlaps"):
        workshop.build(view, DAY2, DAY4)


def test_two_builds_of_one_interval_at_once_append_its_rows_once(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    with ThreadPoolExecutor(3) as pool:
        results = [f.result() for f in [pool.submit(workshop.build, view, DAY1, DAY2) for _ in range(3)]]
    assert sorted(r.status for r in results) == ["built", "unchanged", "unchanged"]
    assert len(workshop.rows(view)) == 2


def test_builds_of_different_intervals_at_once_all_land(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(workshop.build, view, *days) for days in ((DAY1, DAY2), (DAY2, DAY3))]
    assert [f.result().status for f in futures] == ["built", "built"]
    assert sorted(row[4] for row in workshop.rows(view)) in ([1, 1, 2], [1, 2, 2])


def test_the_session_time_zone_and_partitions_change_no_row(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    other = make_view(name="other", sources=[payments_source(source)])
    workshop.apply(view)
    workshop.apply(other)
    workshop.build(view, DAY1, DAY3)
    conf = workshop.spark.conf
    kept = {
        name: conf.get(name)
        for name in ("spark.sql.session.timeZone", "spark.sql.shuffle.partitions", "spark.sql.adaptive.enabled")
    }
    try:
        conf.set("spark.sql.session.timeZone", "America/New_York")
        conf.set("spark.sql.shuffle.partitions", "7")
        conf.set("spark.sql.adaptive.enabled", "false")
        workshop.build(other, DAY1, DAY3)
        assert workshop.rows(other) == workshop.rows(view)
    finally:
        for name, value in kept.items():
            conf.set(name, value)


def test_a_refused_interval_refuses_the_range_and_changes_no_byte(workshop: Workshop, source: Path) -> None:
    strict = [Feature("amount", DType.FLOAT64, expect=[Expect.between(0, 3)])]
    view = make_view(sources=[payments_source(source)], features=strict)
    applied = workshop.apply(view)
    workshop.build(view, DAY2, DAY3)
    before = tree(workshop.warehouse)
    with pytest.raises(
        RefusedError, match=r"last_payment@1(.|\n)*amount: between\(0, 3\)(.|\n)*1 of 2 rows(.|\n)*customer='b'"
    ):
        workshop.build(view, DAY1, DAY3)
    assert tree(workshop.warehouse) == before
    ledger = {e.interval.start: (e.status, e.built) for e in workshop.registry.ledger(applied)}
    assert ledger == {at(DAY1): ("refused", False), at(DAY2): ("refused", True)}


def test_quarantined_rows_are_withheld_once_and_published_when_repaired(workshop: Workshop, source: Path) -> None:
    rule = Expect.between(0, 3, severity="quarantine")
    view = make_view(sources=[payments_source(source)], features=[Feature("amount", DType.FLOAT64, expect=[rule])])
    workshop.apply(view)
    result = workshop.build(view, DAY1, DAY2)
    assert (result.status, result.rows, result.quarantined) == ("built", 1, 1)
    assert workshop.rows(view) == [PUT1]
    quarantine = workshop.spark.read.format("delta").load(f"{workshop.warehouse}/last_payment/quarantine_v1")
    assert [(r["customer"], r["_reasons"]) for r in quarantine.collect()] == [("b", ["amount: between(0, 3)"])]
    before = tree(workshop.warehouse)
    assert workshop.build(view, DAY1, DAY2).status == "unchanged"
    assert tree(workshop.warehouse) == before
    write_payments(source, [("a", f"{DAY1} 10:00", 1.0), ("b", f"{DAY1} 23:59:59.999999", 2.5)])
    repaired = workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    assert (repaired.rows, repaired.quarantined) == (1, 0)
    assert (
        quarantine.sparkSession.read.format("delta").load(f"{workshop.warehouse}/last_payment/quarantine_v1").count()
        == 0
    )


def test_later_intervals_within_history_become_stale_when_a_rerun_appends(workshop: Workshop, tmp_path: Path) -> None:
    write_payments(tmp_path / "payments", [("a", f"2024-01-{day:02d} 10:00", 1.0) for day in range(1, 7)])
    source = payments_source(tmp_path / "payments", history=timedelta(days=2))
    view = make_view(sources=[source], transform=rolling_sum)
    applied = workshop.apply(view)
    workshop.build(view, DAY1, "2024-01-07")
    write_payments(
        tmp_path / "payments", [("a", f"2024-01-{day:02d} 10:00", 1.0 if day > 1 else 7.0) for day in range(1, 7)]
    )
    workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    stale = [e.interval.start for e in workshop.registry.ledger(applied) if e.stale]
    assert stale == [at(DAY2), at(DAY3)]


def test_a_late_row_belongs_to_the_interval_in_which_it_arrived(workshop: Workshop, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "payments"
    write_payments(path, [("a", f"{DAY1} 10:00", 1.0), ("a", f"{DAY1} 11:00", 2.0), ("a", f"{DAY1} 11:00", 3.0)])
    table = pq.read_table(path / "payments.parquet")
    seen = [at(f"{DAY1} 10:05"), at(f"{DAY2} 09:00"), at(f"{DAY2} 09:30")]
    pq.write_table(
        table.append_column("seen_at", pa.array(seen, pa.timestamp("us", tz="UTC"))), path / "payments.parquet"
    )
    source = payments_source(path, created_timestamp_field="seen_at")
    view = make_view(sources=[source], transform=with_available)
    workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    assert workshop.rows(view) == [
        PUT1,
        # Of the two versions of the late row, the one that arrived last counts.
        ("a", f"{DAY1}T11:00:00", f"{DAY3}T00:30:00", "put", 1, f"{DAY3}T00:00:00", 3.0),
    ]


def late_rolling_sum(payments: Any) -> Any:
    """The sum over (t - 1 h, t], of what was seen by the time that the payment itself was."""
    window = Window.partitionBy("customer").orderBy(F.unix_micros("paid_at")).rangeBetween(1 - 3_600_000_000, 0)
    return payments.select(
        "customer",
        F.col("paid_at").alias("event_timestamp"),
        "available_timestamp",
        F.sum("amount").over(window).alias("amount"),
    )


def test_a_late_row_finds_the_history_of_its_own_time(workshop: Workshop, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "payments"
    write_payments(path, [("a", f"{DAY1} 09:00", 1.0), ("a", f"{DAY1} 09:45", 10.0)])
    table = pq.read_table(path / "payments.parquet")
    seen = pa.array([at(f"{DAY1} 09:00"), at(f"{DAY4} 12:00")], pa.timestamp("us", tz="UTC"))
    pq.write_table(table.append_column("seen_at", seen), path / "payments.parquet")
    source = payments_source(path, created_timestamp_field="seen_at", history=timedelta(hours=1))
    view = make_view(sources=[source], transform=late_rolling_sum)
    workshop.apply(view)
    workshop.build(view, DAY4, "2024-01-05")
    assert [(row[1], row[6]) for row in workshop.rows(view)] == [(f"{DAY1}T09:45:00", 11.0)]


def imports(payments: Any) -> Any:
    """An imported log keeps the created time that another system gave."""
    return payments.select(
        "customer",
        F.col("paid_at").alias("event_timestamp"),
        "available_timestamp",
        F.col("seen_at").alias("created_timestamp"),
        "amount",
    )


def test_an_imported_log_keeps_its_created_times_and_refuses_to_change(workshop: Workshop, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "payments"

    def write(amount: float) -> None:
        write_payments(path, [("a", f"{DAY1} 10:00", 1.0), ("a", f"{DAY1} 10:00", amount)])
        table = pq.read_table(path / "payments.parquet")
        seen = pa.array([at(f"{DAY1} 10:05"), at(f"{DAY1} 10:06")], pa.timestamp("us", tz="UTC"))
        pq.write_table(table.append_column("seen_at", seen), path / "payments.parquet")

    write(2.0)
    source = payments_source(path, created_timestamp_field="seen_at")
    view = make_view(sources=[source], transform=imports, available="source")
    workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    assert [(row[2], row[6]) for row in workshop.rows(view)] == [(f"{DAY1}T10:05:00", 1.0), (f"{DAY1}T10:06:00", 2.0)]
    assert workshop.build(view, DAY1, DAY2).status == "unchanged"
    before = tree(workshop.warehouse)
    write(3.0)
    with pytest.raises(
        RefusedError, match=r"last_payment@1 is an imported log.*1 rows in the interval that ends 2024-01-02"
    ):
        workshop.build(view, DAY1, DAY2)
    assert tree(workshop.warehouse) == before


def test_without_a_schedule_the_range_is_the_interval_and_may_not_cut_a_built_one(
    workshop: Workshop, source: Path
) -> None:
    view = make_view(sources=[payments_source(source)], schedule=None)
    applied = workshop.apply(view)
    assert workshop.build(view, DAY1, DAY3).rows == 3
    assert workshop.build(view, DAY1, DAY3).status == "unchanged"
    with pytest.raises(IntervalError, match=r"overlaps \[2024-01-01.*last_payment@1"):
        workshop.build(view, DAY2, DAY4)
    # Who asks for what cannot be has done nothing to any interval.
    assert [entry.status for entry in workshop.registry.ledger(applied)] == ["built"]
    assert workshop.registry.runs(applied, limit=1)[0].status == "failed"


@pytest.mark.parametrize(("owner", "method"), [(building, "judge"), (FeatureLog, "append")], ids=["before", "amid"])
def test_of_ranges_that_overlap_and_are_built_at_once_one_is_refused(
    workshop: Workshop, source: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, method: str
) -> None:
    view = make_view(sources=[payments_source(source)], schedule=None)
    applied = workshop.apply(view)
    before(owner, method, monkeypatch, lambda: workshop.build(view, DAY2, DAY4))
    with pytest.raises(IntervalError, match="overlaps"):
        workshop.build(view, DAY1, DAY3)
    (entry,) = workshop.registry.ledger(applied)
    assert (entry.interval.start, entry.built) == (at(DAY2), True)
    assert [row[1] for row in workshop.rows(view)] == ["2024-01-02T00:00:00"]


def test_identical_rows_of_one_key_and_time_collapse(workshop: Workshop, source: Path) -> None:
    write_payments(source, [("a", f"{DAY1} 10:00", float("nan")), ("a", f"{DAY1} 10:00", float("nan"))])
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    assert workshop.build(view, DAY1, DAY2).rows == 1


def divides_by_zero(payments: Any) -> Any:
    divide = F.udf(lambda value: value / 0, "double")
    return passes_on(payments).withColumn("amount", divide("amount"))


def bad_transforms() -> dict[str, tuple[Any, str]]:
    return {
        "raises": (lambda payments: 1 / 0, r"transform of 'last_payment' failed: ZeroDivisionError: division by zero"),
        "exits": (lambda payments: sys.exit(0), r"transform of 'last_payment' failed: SystemExit: 0"),
        "fails in a Python worker": (divides_by_zero, r"failed: ZeroDivisionError: float division by zero"),
        "renamed source column": (
            lambda payments: payments.select("paid"),
            r"transform of 'last_payment' failed: .*`paid`",
        ),
        "None": (lambda payments: None, r"returned NoneType, not a DataFrame"),
        "no feature": (lambda payments: passes_on(payments).drop("amount"), r"no column 'amount'.*every feature"),
        "no key": (
            lambda payments: passes_on(payments).withColumnRenamed("customer", "custmer"),
            r"did you mean 'custmer'",
        ),
        "another type": (
            lambda payments: passes_on(payments).withColumn("amount", F.lit("x")),
            r"'amount' is string, but float64",
        ),
        "a whole number for a fraction": (
            lambda payments: passes_on(payments).withColumn("amount", F.lit(1).cast("bigint")),
            r"'amount' is bigint, but float64",
        ),
        "two columns of one name": (
            lambda payments: passes_on(payments).select("*", F.lit(1.0).alias("amount")),
            r"returned 'amount' and 'amount', columns of one name to Spark",
        ),
        "two names that differ by case alone": (
            lambda payments: passes_on(payments).select("*", F.lit(1.0).alias("Amount")),
            r"returned 'amount' and 'Amount', columns of one name to Spark",
        ),
        "a naive event": (
            lambda payments: passes_on(payments).withColumn(
                "event_timestamp", F.col("event_timestamp").cast("timestamp_ntz")
            ),
            r"'event_timestamp' is timestamp_ntz, but timestamp",
        ),
        "twice the rows, with other values": (
            lambda payments: passes_on(payments).union(passes_on(payments).withColumn("amount", F.col("amount") + 1)),
            r"times different rows of one key and time",
        ),
        "a null event": (
            lambda payments: passes_on(payments).withColumn("event_timestamp", F.lit(None)),
            r"null event_timestamp",
        ),
        "fails while it runs": (
            lambda payments: passes_on(payments).withColumn("amount", F.raise_error(F.lit("boom")).cast("double")),
            r"transform of 'last_payment@1' failed: .*boom",
        ),
        "an event after its interval": (
            lambda payments: passes_on(payments).withColumn(
                "event_timestamp", F.col("event_timestamp") + F.expr("interval 2 days")
            ),
            r"after the end of their interval",
        ),
        "a time that Python cannot hold": (
            lambda payments: passes_on(payments).withColumn("event_timestamp", F.timestamp_micros(F.lit(-(2**60)))),
            r"outside the years 1 to 9999",
        ),
        "wrong parameter": (lambda flights: flights, r"a source is named 'payments'"),
    }


@pytest.mark.parametrize("case", bad_transforms())
def test_a_wrong_transform_is_told_by_view_and_cause(workshop: Workshop, source: Path, case: str) -> None:
    transform, message = bad_transforms()[case]
    view = make_view(sources=[payments_source(source)], transform=transform)
    workshop.apply(view)
    with pytest.raises(TransformError, match=message) as told:
        workshop.build(view, DAY1, DAY2)
    assert "at org.apache" not in str(told.value)
    assert not Path(workshop.warehouse).exists()
    assert workshop.registry.runs(workshop.registry.view("last_payment"))[0].status == "failed"


def test_two_different_rows_of_one_key_and_time_are_refused(workshop: Workshop, source: Path) -> None:
    write_payments(source, [("a", f"{DAY1} 10:00", 1.0), ("a", f"{DAY1} 10:00", 2.0)])
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    with pytest.raises(DuplicateRowsError, match=r"customer='a' at 2024-01-01T10:00:00\+00:00"):
        workshop.build(view, DAY1, DAY2)


def test_a_wrong_path_is_told(workshop: Workshop, tmp_path: Path) -> None:
    view = make_view(sources=[payments_source(tmp_path / "nowhere")])
    workshop.apply(view)
    with pytest.raises(SourceError, match=r"source 'payments': nothing at '.*nowhere'"):
        workshop.build(view, DAY1, DAY2)


def test_a_missing_time_column_is_told_with_a_near_match(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source, timestamp_field="payed_at")])
    workshop.apply(view)
    with pytest.raises(SourceError, match=r"no column 'payed_at'; did you mean 'paid_at'"):
        workshop.build(view, DAY1, DAY2)


def test_a_time_column_that_holds_no_times_is_told(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source, timestamp_field="amount")])
    workshop.apply(view)
    with pytest.raises(SourceError, match=r"column 'amount' is double"):
        workshop.build(view, DAY1, DAY2)


def test_a_damaged_file_is_told(workshop: Workshop, source: Path) -> None:
    whole = (source / "payments.parquet").read_bytes()
    (source / "payments.parquet").write_bytes(whole[:40] + bytes(60) + whole[100:])
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    with pytest.raises(SourceError, match=r"cannot be read"):
        workshop.build(view, DAY1, DAY2)


def test_naive_times_are_refused_unless_the_source_declares_a_zone(workshop: Workshop, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "payments"
    path.mkdir()
    naive = pa.array([at("2024-07-01 10:00").replace(tzinfo=None)], pa.timestamp("us"))
    pq.write_table(pa.table({"customer": ["a"], "paid_at": naive, "amount": [1.0]}), path / "payments.parquet")
    refused = make_view(name="refused", sources=[payments_source(path)])
    berlin = make_view(name="berlin", sources=[payments_source(path, timezone="Europe/Berlin")])
    workshop.apply(refused)
    with pytest.raises(TimeError, match=r"source 'payments': times in 'paid_at' are naive.*timezone="):
        workshop.build(refused, "2024-07-01", "2024-07-02")
    workshop.views.clear()
    workshop.apply(berlin)
    workshop.build(berlin, "2024-07-01", "2024-07-02")
    assert [row[1] for row in workshop.rows(berlin)] == ["2024-07-01T08:00:00"]


def test_null_times_are_refused_or_dropped_as_the_source_says(workshop: Workshop, source: Path) -> None:
    write_payments(source, [("a", f"{DAY1} 10:00", 1.0), ("b", None, 5.0)])
    refusing = make_view(name="refusing", sources=[payments_source(source)])
    workshop.apply(refusing)
    with pytest.raises(TimeError, match=r"1 rows have a null 'paid_at'"):
        workshop.build(refusing, DAY1, DAY2)
    workshop.views.clear()
    dropping = make_view(name="dropping", sources=[payments_source(source, null_timestamp="drop")])
    workshop.apply(dropping)
    assert workshop.build(dropping, DAY1, DAY2).rows == 1


def test_a_day_is_midnight_in_the_zone_of_its_source(workshop: Workshop, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "payments").mkdir()
    days = pa.array([at("2024-07-01").date()], pa.date32())
    table = pa.table({"customer": ["a"], "paid_at": days, "amount": [1.0]})
    pq.write_table(table, tmp_path / "payments" / "days.parquet")
    view = make_view(sources=[payments_source(tmp_path / "payments", timezone="America/New_York")])
    workshop.apply(view)
    workshop.build(view, "2024-07-01", "2024-07-02")
    assert [row[1] for row in workshop.rows(view)] == ["2024-07-01T04:00:00"]


@pytest.mark.parametrize(
    ("written", "zone", "read"),
    [
        ("2024-07-01T10:00:00Z", None, "2024-07-01T10:00:00"),
        ("2024-07-01T10:00:00.123456+02:00", None, "2024-07-01T08:00:00.123456"),
        ("2024-07-01 10:00:00", "America/New_York", "2024-07-01T14:00:00"),
        ("2024-07-01", "America/New_York", "2024-07-01T04:00:00"),
        ("2024-07-01T05:00Z", None, "2024-07-01T05:00:00"),
    ],
)
def test_times_in_csv_are_read_as_text_and_judged(
    workshop: Workshop, tmp_path: Path, written: str, zone: str | None, read: str
) -> None:
    path = tmp_path / "payments.csv"
    path.write_text(f"customer,paid_at,amount\na,{written},1.5\n")
    view = make_view(sources=[payments_source(path, format="csv", timezone=zone)])
    workshop.apply(view)
    workshop.build(view, "2024-07-01", "2024-07-02")
    assert [row[1] for row in workshop.rows(view)] == [read]


@pytest.mark.parametrize("naive", ["2024-07-01 10:00:00", "2024-07-01"])
def test_naive_times_in_csv_are_refused(workshop: Workshop, tmp_path: Path, naive: str) -> None:
    path = tmp_path / "payments.csv"
    path.write_text(f"customer,paid_at,amount\na,{naive},1.5\n")
    view = make_view(sources=[payments_source(path, format="csv")])
    workshop.apply(view)
    with pytest.raises(TimeError, match="naive"):
        workshop.build(view, "2024-07-01", "2024-07-02")


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (DAY2, DAY1, "ends at or before its start"),
        (f"{DAY1} 06:00", DAY2, "does not cover whole intervals"),
    ],
)
def test_a_wrong_interval_is_refused_before_anything_is_read(
    workshop: Workshop, start: str, end: str, message: str
) -> None:
    view = make_view(sources=[payments_source("nowhere")])
    workshop.apply(view)
    with pytest.raises(IntervalError, match=message):
        workshop.build(view, start, end)


def test_a_position_that_others_always_take_first_fails_the_run_and_publishes_nothing(
    workshop: Workshop, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    asked = []
    with monkeypatch.context() as never:
        never.setattr(FeatureLog, "append", lambda self, rows, *, position, **_: asked.append(position))
        with pytest.raises(
            StorageError, match="other runs of last_payment@1 committed first, 5 times in a row; run it again, alone"
        ):
            workshop.build(view, DAY1, DAY3)
    assert asked == [1] * 5
    assert not Path(workshop.warehouse).exists()
    (run,) = workshop.registry.runs(applied)
    assert (run.status, "committed first" in (run.message or "")) == ("failed", True)
    assert [(entry.status, entry.built) for entry in workshop.registry.ledger(applied)] == [("failed", False)] * 2
    assert workshop.load(view).delta_version is None
    assert workshop.build(view, DAY1, DAY3).rows == 3


def test_two_processes_that_build_one_interval_at_once_append_its_rows_once(
    workshop: Workshop, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    code = "import sys; from tests.spark.test_build import build_elsewhere; build_elsewhere(sys.argv[1])"
    with (tmp_path / "elsewhere.log").open("wb") as out:
        elsewhere = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], stdout=out, stderr=out
        )
    try:
        for turn, values in enumerate((1.0, 7.0)):
            write_payments(source, [("a", f"{DAY1} 10:00", values), ("b", f"{DAY1} 11:00", 5.0)])
            (tmp_path / f"start{turn}").touch()
            # Both have compared with the same state of the log, at first with none, when they commit.
            before(FeatureLog, "append", monkeypatch, lambda turn=turn: meet(tmp_path, turn, elsewhere))
            here = workshop.build(view, DAY1, DAY2, now=FEBRUARY)
            there = await_file(tmp_path / f"status{turn}", elsewhere).read_text()
            assert sorted([here.status, there]) == ["built", "unchanged"]
        assert elsewhere.wait(60) == 0
    finally:
        elsewhere.kill()
        elsewhere.wait(60)
    assert [(row[0], row[4], row[6]) for row in workshop.rows(view)] == [("a", 1, 1.0), ("a", 2, 7.0), ("b", 1, 5.0)]
    (entry,) = workshop.registry.ledger(applied)
    assert (entry.status, entry.rows, entry.position, entry.stale) == ("built", 1, 2, False)
    assert [commit.position for commit in workshop.registry.commits(applied)] == [1, 2]
    assert sorted(run.status for run in workshop.registry.runs(applied)) == ["built", "built", "unchanged", "unchanged"]


def build_elsewhere(folder: str) -> None:
    """Build twice in a process of its own, each time from when the test starts it, and commit when the test does."""
    session = open_session(SparkSettings(master="local[1]", driver_memory="800m"), app="elsewhere")
    workshop = Workshop(session, Path(folder))
    view = make_view(sources=[payments_source(Path(folder) / "payments")])
    append = FeatureLog.append

    for turn in (0, 1):

        def append_together(*args: Any, turn: int = turn, **options: Any) -> Any:
            FeatureLog.append = append  # type: ignore[method-assign]
            Path(folder, f"ready{turn}").touch()
            await_file(Path(folder, f"go{turn}"))
            return append(*args, **options)

        FeatureLog.append = append_together  # type: ignore[method-assign]
        await_file(Path(folder, f"start{turn}"))
        Path(folder, "telling").write_text(workshop.build(view, DAY1, DAY2, now=FEBRUARY).status)
        Path(folder, "telling").rename(Path(folder, f"status{turn}"))
    session.stop()


def meet(folder: Path, turn: int, elsewhere: "subprocess.Popen[bytes]") -> None:
    """Let the other process commit, once it is about to."""
    await_file(folder / f"ready{turn}", elsewhere)
    (folder / f"go{turn}").touch()


def await_file(path: Path, process: "subprocess.Popen[bytes] | None" = None) -> Path:
    """The file, once a process has made it."""
    deadline = time.monotonic() + 120
    while not path.exists():
        gone = process is not None and process.poll() is not None and not path.exists()
        assert not gone and time.monotonic() < deadline, (path.parent / "elsewhere.log").read_text()[-3000:]  # noqa: PT018
        time.sleep(0.005)
    return path
