"""Retention, compaction and VACUUM of logs: what goes, what stays, and what builds, loads and readers see of it."""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import FeatureView
from features.config import MaintenanceSettings
from features.core.applied import Selection
from features.engine.as_of import AsOf, JoinPlan, Pin, plan_join
from features.engine.spine import read_spine
from features.errors import IntervalError, StorageError
from features.materialization.backfill import rerun_past
from features.materialization.maintenance.maintain import Maintainer
from features.materialization.maintenance.results import Maintained
from features.stores.delta import FeatureLog
from features.stores.quarantine import Quarantine
from features.stores.vacuum import find_unneeded, vacuum_now
from tests.builders import UTC_MICROS, Workshop, at, make_view, payments_source, write_payments
from tests.killed_saves import PATIENT, PATIENT_FEATURES, ROWS, numbered_spine
from tests.spark.test_quarantine import before
from tests.spark.test_training_set_kills import saving_elsewhere
from tests.training_desk import Desk, open_desk

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

LOOKBACK, RETENTION = timedelta(days=2), timedelta(days=3)
PAYMENTS = [
    (key, f"2024-01-0{day} 10:00", float(value + day)) for day in range(1, 6) for key, value in (("a", 0), ("b", 10))
]
NOW = at("2024-01-06T12:00")
CUTOFF = NOW - RETENTION


@pytest.fixture
def view(workshop: Workshop, tmp_path: Path) -> FeatureView:
    """Five days of payments, in three commits."""
    write_payments(tmp_path / "source", PAYMENTS)
    made = make_view(
        sources=[payments_source(tmp_path / "source")], lookback=LOOKBACK, retention=RETENTION, delay=timedelta(0)
    )
    workshop.apply(made)
    for first, end in ((1, 4), (4, 5), (5, 6)):
        workshop.build(made, f"2024-01-0{first}", f"2024-01-0{end}")
    return made


def maintain(
    workshop: Workshop, *parts: str, present: datetime = NOW, now: datetime = NOW, **changes: Any
) -> Maintained:
    dry_run = changes.pop("dry_run", False)
    maintainer = Maintainer(
        session=lambda: workshop.spark,
        registry=workshop.registry,
        warehouse=workshop.warehouse,
        settings=MaintenanceSettings(**changes),
    )
    views = workshop.registry.view_versions()
    (done,) = maintainer.maintain(views, now=now, present=present, parts=parts, dry_run=dry_run)
    assert done.error is None
    return done


def plan(workshop: Workshop, view: FeatureView, times: Sequence[str], engine: str = "native") -> JoinPlan:
    applied, log = workshop.registry.view(view.name), workshop.log(view)
    snapshot = log.snapshot()
    assert snapshot is not None
    selection = Selection(view=applied, features=tuple(applied.features), columns=("amount",))
    pin = Pin(selection=selection, log=log, snapshot=snapshot, position=snapshot.position)
    spine = pa.table(
        {
            "customer": ["a"] * len(times),
            "event_timestamp": pa.array([at(time) for time in times], UTC_MICROS),
        }
    )
    frame = read_spine(workshop.spark, workshop.spark.createDataFrame(spine), keys=applied.join_keys)
    return plan_join(frame, [AsOf(pin=pin)], engine=engine)


def answers(planned: JoinPlan) -> list[float | None]:
    rows = planned.to_frame().collect()
    return [row["amount"] for row in sorted(rows, key=lambda row: row["event_timestamp"])]


def hold(workshop: Workshop, name: str, first: str, last: str, *, held: bool = True) -> None:
    """A saved training set of the view, of a spine between two times."""
    times = {"min": f"{first}+00:00", "max": f"{last}+00:00"}
    content = {
        "kind": "join",
        "rows": 1,
        "views": [{"view": "last_payment@1", "position": 3}],
        "statistics": {"event_timestamp": times},
    }
    workshop.registry.save_manifest(name, content, hold=held)


def events(workshop: Workshop, view: FeatureView) -> set[str]:
    return {row[1] for row in workshop.rows(view)}


def age_tombstones(path: str, hours: int) -> None:
    """Make a table's files be replaced so much longer ago."""
    for entry in Path(path, "_delta_log").glob("*.json"):
        # Spark remembers how long the file is.
        aged = re.sub(
            r'(?<="deletionTimestamp":)\d+', lambda found: str(int(found[0]) - hours * 3_600_000), entry.read_text()
        )
        entry.write_text(aged)
        # Hadoop's sum of what it was.
        entry.with_name(f".{entry.name}.crc").unlink(missing_ok=True)


def test_retention_removes_old_histories_and_nobody_notices(
    workshop: Workshop, view: FeatureView, tmp_path: Path
) -> None:
    workshop.load(view)
    write_payments(tmp_path / "source", [("a", "2024-01-01 10:00", 100.0), *PAYMENTS[1:]])
    assert workshop.build(view, "2024-01-01", "2024-01-02", now=at("2024-01-06")).corrections == 1
    times = ["2024-01-05T12:00", "2024-01-06T00:00", "2024-01-06T12:00", "2024-01-07T10:00"]
    pinned, before = plan(workshop, view, times), answers(plan(workshop, view, times))
    hold(workshop, "held", "2024-01-03T12:00:00", "2024-01-03T18:00:00")
    hold(workshop, "free", "2024-01-01T12:00:00", "2024-01-05T12:00:00", held=False)

    told = maintain(workshop, "retain", dry_run=True)
    assert told.retain is not None
    assert (told.retain.rows, told.retain.delta_version) == (3, None)
    done = maintain(workshop, "retain")
    assert done.retain is not None
    # The first day's rows go, its correction too; two days before the held spine stay, the rest is not past retention.
    assert (done.retain.rows, done.retain.cutoff) == (3, CUTOFF)
    assert [(kept.training_set, kept.rows) for kept in done.retain.kept] == [("held@1", 4)]
    assert events(workshop, view) == {f"2024-01-0{day}T10:00:00" for day in (2, 3, 4, 5)}
    assert answers(pinned) == answers(plan(workshop, view, times)) == before

    assert maintain(workshop, "retain").retain.delta_version is None  # type: ignore[union-attr]
    ledger = workshop.registry.ledger(workshop.registry.view(view.name))
    assert all(entry.built and not entry.stale for entry in ledger)
    loaded = workshop.load(view)
    # The correction went before any load saw it.
    assert (loaded.rows, loaded.deleted) == (0, 0)


def test_reruns_neither_bring_expired_rows_back_nor_retract_them(
    workshop: Workshop, view: FeatureView, tmp_path: Path
) -> None:
    assert maintain(workshop, "retain").retain.rows == 6  # type: ignore[union-attr]
    kept = workshop.rows(view)
    with pytest.raises(IntervalError, match="start at 2024-01-03"):
        workshop.build(view, "2024-01-01", "2024-01-04")
    # The third day is past retention until noon: its rows of 10:00 are gone, and neither new nor missing.
    write_payments(tmp_path / "source", [*PAYMENTS, ("a", "2024-01-03 15:00", 33.0)])
    rebuilt = workshop.build(view, "2024-01-03", "2024-01-05", now=NOW)
    assert (rebuilt.rows, rebuilt.corrections, rebuilt.retractions) == (1, 0, 0)
    # What the source has lost of it since is no retraction either.
    write_payments(tmp_path / "source", [*PAYMENTS[6:], ("a", "2024-01-03 15:00", 33.0)])
    assert workshop.build(view, "2024-01-03", "2024-01-05", now=NOW).status == "unchanged"
    # A scheduled run that reprocesses more days than are kept does so for the kept ones.
    days = at("2024-01-05"), at("2024-01-06")
    again = rerun_past(workshop.builder, view, workshop.registry.view(view.name), *days, count=4)
    assert [build.status for build in again] == ["unchanged", "unchanged"]
    assert len(workshop.rows(view)) == len(kept) + 1


def test_loads_after_retention_converge(workshop: Workshop, view: FeatureView) -> None:
    # Loaded before the view had a retention: these rows have no end of their own.
    workshop.apply(replace(view, retention=None))
    assert workshop.load(view).rows == 2
    workshop.apply(view)
    maintain(workshop, "retain", now=at("2024-01-20"))
    assert workshop.rows(view) == []
    # No rewritten file passes for new rows.
    loaded = workshop.load(view)
    assert (loaded.rows, loaded.deleted) == (0, 0)
    assert workshop.load(view, full=True).deleted == 2
    assert workshop.served(view, ("a",), ("b",)) == [None, None]


def test_vacuum_spares_what_runs_and_joins_that_are_under_way(workshop: Workshop, view: FeatureView) -> None:
    log = workshop.log(view)
    times = ["2024-01-03T12:00", "2024-01-06T00:00"]
    pinned = {engine: plan(workshop, view, times, engine) for engine in ("native", "spark")}
    before = answers(pinned["native"])
    applied = workshop.registry.view(view.name)
    run = workshop.registry.start_run(kind="load", view=applied, start=None, end=None, now=NOW)
    began = workshop.registry.running()[0].started_at
    assert maintain(workshop, "compact").compact.files_after == 3  # type: ignore[union-attr]
    compacted = maintain(workshop, "compact", compact_files=2)
    assert (compacted.compact.files_before, compacted.compact.files_after) == (3, 1)  # type: ignore[union-attr]
    age_tombstones(log.path, hours=20)

    # A load that began before that, a day ago by VACUUM's clock, still needs them.
    spared = maintain(workshop, "vacuum", vacuum_hours=1, present=began + timedelta(hours=30))
    assert (spared.vacuum.files, spared.vacuum.hours) == (0, 32)  # type: ignore[union-attr]
    assert (spared.vacuum.spared_for or "").startswith("load of last_payment@1")  # type: ignore[union-attr]
    assert answers(pinned["spark"]) == before
    workshop.registry.finish_run(run, status="loaded")

    version = log.snapshot()
    told = maintain(workshop, "vacuum", vacuum_hours=1, dry_run=True)
    done = maintain(workshop, "vacuum", vacuum_hours=1)
    assert done.vacuum == told.vacuum
    assert (done.vacuum.files, done.vacuum.spared_for) == (3, None)  # type: ignore[union-attr]
    assert maintain(workshop, "vacuum", vacuum_hours=1).vacuum.files == 0  # type: ignore[union-attr]
    assert log.snapshot() == version
    assert answers(pinned["native"]) == before
    with pytest.raises(Exception, match=r"does not exist|FILE_NOT_EXIST|FAILED_READ_FILE"):
        answers(pinned["spark"])


def test_a_rerun_that_a_vacuum_comes_upon_ends_as_if_alone_or_publishes_nothing(
    workshop: Workshop, view: FeatureView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, days = workshop.log(view).path, ("2024-01-04", "2024-01-06")
    # Each file names what it has replaced: OPTIMIZE leaves one file of all.
    optimize = f"OPTIMIZE delta.`{path}`"

    def rebuild(value: float) -> tuple[int, int, int]:
        write_payments(tmp_path / "source", [*PAYMENTS[:-2], ("a", "2024-01-05 10:00", value), PAYMENTS[-1]])
        built = workshop.build(view, *days, now=NOW)
        return built.rows, built.corrections, built.retractions

    def spare() -> None:
        workshop.spark.sql(optimize)
        age_tombstones(path, hours=20)
        (run,) = workshop.registry.running()
        done = maintain(workshop, "vacuum", vacuum_hours=1, present=run.started_at + timedelta(hours=30)).vacuum
        assert done is not None
        assert (done.files, (done.spared_for or "")[:21]) == (0, "build of last_payment")

    def remove() -> None:
        workshop.spark.sql(optimize)
        gone = len(find_unneeded(path, hours=0))
        vacuum_now(path)
        assert gone >= 2

    def amounts() -> list[tuple[int, float]]:
        """Position and amount of the row that is corrected."""
        return sorted((row[4], row[6]) for row in workshop.rows(view) if row[:2] == ("a", "2024-01-05T10:00:00"))

    # `maintain` waits for a build, which has yet to read the log that it compares with.
    before(Quarantine, "compare", monkeypatch, spare)
    assert rebuild(50.0) == (1, 1, 0)
    # `erase --vacuum` does not: after the comparison nothing of the old files is needed.
    before(FeatureLog, "append", monkeypatch, remove)
    assert rebuild(51.0) == (1, 1, 0)
    # Before it, the build fails, and is run again.
    before(Quarantine, "compare", monkeypatch, remove)
    with pytest.raises(StorageError, match=r"files of the log of last_payment@1 .* vacuumed meanwhile, run it again"):
        rebuild(52.0)
    assert amounts() == [(3, 5.0), (4, 50.0), (5, 51.0)]
    assert rebuild(52.0) == (1, 1, 0)
    assert amounts() == [(3, 5.0), (4, 50.0), (5, 51.0), (6, 52.0)]
    assert len(workshop.rows(view)) == len(PAYMENTS) + 3


def test_a_range_past_the_retention_is_refused_and_the_ledger_stays(workshop: Workshop, view: FeatureView) -> None:
    maintain(workshop, "retain")
    applied = workshop.registry.view(view.name)
    before_it = workshop.registry.ledger(applied)
    with pytest.raises(IntervalError, match=r"lies past the retention of last_payment@1.* start at 2024-01-03"):
        workshop.build(view, "2024-01-01", "2024-01-06")
    assert workshop.registry.ledger(applied) == before_it


def test_the_maintenance_of_a_log_that_is_gone_is_an_error(workshop: Workshop, view: FeatureView) -> None:
    shutil.rmtree(workshop.log(view).path)
    maintainer = Maintainer(
        session=lambda: workshop.spark,
        registry=workshop.registry,
        warehouse=workshop.warehouse,
        settings=MaintenanceSettings(),
    )
    (done,) = maintainer.maintain(workshop.registry.view_versions(), now=NOW, present=NOW)
    assert done.error is not None
    assert "but the registry knows commits up to 3" in done.error


def test_a_join_whose_rows_were_removed_and_vacuumed_fails_and_answers_nothing_else(
    workshop: Workshop, view: FeatureView
) -> None:
    pinned = plan(workshop, view, ["2024-01-02T12:00"])
    maintain(workshop, "retain")
    assert answers(pinned) == [1.0]
    age_tombstones(workshop.log(view).path, hours=20)
    assert maintain(workshop, "vacuum", vacuum_hours=1).vacuum.files > 0  # type: ignore[union-attr]
    with pytest.raises(Exception, match="were removed while it was read, by retention"):
        answers(pinned)


@pytest.fixture
def desk(spark: "SparkSession", tmp_path: Path) -> Iterator[Desk]:
    """A store that another process can open too."""
    yield from open_desk(tmp_path, views=("last",), more=PATIENT)


@pytest.mark.parametrize("removes", [False, True], ids=["compaction", "a deletion"])
def test_a_process_that_reads_beside_a_vacuum_gets_its_rows_or_is_told_that_they_went(
    desk: Desk, spark: "SparkSession", removes: bool
) -> None:
    path, log = desk.folder / "spine.parquet", str(desk.log())
    pq.write_table(numbered_spine(), path)
    wanted = None if removes else desk.ask(PATIENT_FEATURES, str(path)).save("undisturbed").content_hash
    maintainer = Maintainer(
        session=lambda: spark,
        registry=desk.store.registry,
        warehouse=str(desk.store.settings.warehouse),
        settings=MaintenanceSettings(vacuum_hours=1, compact_files=1),
    )

    def maintain_log(part: str) -> Maintained:
        present = datetime.now(UTC)
        (done,) = maintainer.maintain([desk.store.registry.view("last")], now=present, present=present, parts=[part])
        return done

    with saving_elsewhere(desk, path, "elsewhere") as (save, folder, hold):
        written = list((folder / "data").glob("*.parquet"))
        if removes:
            spark.sql(f"DELETE FROM delta.`{log}` WHERE customer = 'b'")
        else:
            assert maintain_log("compact").compact.files_after == 1  # type: ignore[union-attr]
        age_tombstones(log, hours=20)
        assert maintain_log("vacuum").vacuum.files == (1 if removes else 2)  # type: ignore[union-attr]
        hold.unlink()
        code = save.wait(120)
    told = (desk.folder / "save.log").read_text()
    if removes:
        assert code == 1
        assert re.search(
            r"StorageError: rows of last@1 .* removed while it was read, by a DELETE .*run this again", told
        )
        assert "elsewhere" not in [manifest.name for manifest in desk.store.training_sets()]
    else:
        assert code == 0, told[-3000:]
        found = desk.store.training_set("elsewhere@1")
        assert (found.content_hash, found.rows) == (wanted, ROWS)
        assert len(written) < len(found.files())


def test_a_view_without_retention_or_rows_needs_nothing(workshop: Workshop, tmp_path: Path) -> None:
    workshop.apply(make_view(sources=[payments_source(tmp_path / "source")]))
    done = maintain(workshop, "retain", "compact", "vacuum")
    assert done.retain is not None
    assert done.compact is not None
    assert done.vacuum is not None
    assert (done.retain.cutoff, done.compact.files_before, done.vacuum.files) == (None, 0, 0)
    assert workshop.registry.runs(workshop.registry.view("last_payment")) == ()
