"""Compaction: the same rows in few sorted files, whoever reads or builds meanwhile."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from features import FeatureView
from features.core.applied import Selection
from features.engine.as_of import AsOf, JoinPlan, Pin, plan_join
from features.engine.spine import read_spine
from features.errors import StorageError
from features.materialization.compaction import Compactor
from features.materialization.results import CompactResult
from features.stores.delta import FeatureLog
from tests.builders import UTC_MICROS, Workshop, at, make_view, payments_source, write_payments
from tests.spark.test_quarantine import before

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAYS = 4
SPINE = pa.table(
    {
        "n": list(range(8)),
        "customer": ["a", "b", "a", "b", "a", "b", "c", None],
        "event_timestamp": pa.array([at(f"2024-01-0{d}T12:00") for d in (2, 2, 3, 3, 5, 5, 5, 5)], UTC_MICROS),
    }
)
ANSWERS = [1.0, 5.0, 2.0, 5.0, 4.0, 8.0, None, None]


@pytest.fixture
def view(workshop: Workshop, tmp_path: Path) -> FeatureView:
    """Four days of payments, each built by a run of its own."""
    rows = [
        (key, f"2024-01-0{d} 10:00", value + d) for d in range(1, DAYS + 1) for key, value in (("a", 0.0), ("b", 4.0))
    ]
    write_payments(tmp_path / "source", [row for row in rows if row[:2] != ("b", "2024-01-02 10:00")])
    made = make_view(sources=[payments_source(tmp_path / "source")])
    workshop.apply(made)
    for day in range(1, DAYS + 1):
        workshop.build(made, f"2024-01-0{day}", f"2024-01-0{day + 1}")
    return made


def compact(workshop: Workshop, view: FeatureView) -> CompactResult:
    compactor = Compactor(spark=workshop.spark, registry=workshop.registry, warehouse=workshop.warehouse)
    return compactor.compact(workshop.registry.view(view.name))


def plan(workshop: Workshop, view: FeatureView, engine: str = "native") -> JoinPlan:
    applied, log = workshop.registry.view(view.name), workshop.log(view)
    snapshot = log.snapshot()
    assert snapshot is not None
    selection = Selection(view=applied, features=tuple(applied.features), columns=("amount",))
    pin = Pin(selection=selection, log=log, snapshot=snapshot, position=snapshot.position)
    spine = read_spine(workshop.spark, workshop.spark.createDataFrame(SPINE), keys=applied.join_keys)
    return plan_join(spine, [AsOf(pin=pin)], engine=engine)


def answers(planned: JoinPlan) -> list[float | None]:
    return [row["amount"] for row in sorted(planned.to_frame().collect(), key=lambda row: row["n"])]


def vacuum(spark: "SparkSession", path: str) -> None:
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    spark.sql(f"VACUUM delta.`{path}` RETAIN 0 HOURS")
    spark.conf.unset("spark.databricks.delta.retentionDurationCheck.enabled")


def test_the_rows_stay_and_the_files_become_one(workshop: Workshop, view: FeatureView) -> None:
    rows = workshop.rows(view)
    result = compact(workshop, view)
    assert (result.files_before, result.files_after) == (DAYS, 1)
    assert workshop.rows(view) == rows
    log = workshop.log(view)
    snapshot = log.snapshot()
    assert snapshot is not None
    (file,) = log.files(snapshot).files
    keys = pq.read_table(file.path)["customer"].to_pylist()
    assert keys == sorted(keys)
    assert answers(plan(workshop, view)) == ANSWERS
    assert compact(workshop, view).delta_version == snapshot.version


def test_what_was_pinned_before_compaction_and_vacuum_reads_the_same_after(
    workshop: Workshop, view: FeatureView
) -> None:
    pinned = {engine: plan(workshop, view, engine) for engine in ("native", "spark")}
    compact(workshop, view)
    assert {engine: answers(planned) for engine, planned in pinned.items()} == {"native": ANSWERS, "spark": ANSWERS}
    vacuum(workshop.spark, workshop.log(view).path)
    # Its files are gone: tasks find the same rows in today's.
    assert answers(pinned["native"]) == ANSWERS


def test_a_log_that_is_gone_under_a_join_is_told(workshop: Workshop, view: FeatureView) -> None:
    planned = plan(workshop, view)
    for file in Path(workshop.log(view).path).glob("*.parquet"):
        file.unlink()
    with pytest.raises(Exception, match="vanish while they are read"):
        planned.to_frame().collect()


def test_builds_loads_and_reruns_go_on_behind_a_compaction(
    workshop: Workshop, view: FeatureView, tmp_path: Path
) -> None:
    workshop.load(view)
    compact(workshop, view)
    loaded = workshop.load(view)
    assert (loaded.rows, loaded.deleted) == (0, 0)
    assert workshop.build(view, "2024-01-02", "2024-01-03").status == "unchanged"
    write_payments(tmp_path / "source", [("a", "2024-01-02 10:00", 20.0), ("a", "2024-01-05 10:00", 5.0)])
    corrected = workshop.build(view, "2024-01-02", "2024-01-03")
    assert (corrected.corrections, corrected.retractions) == (1, 0)
    assert workshop.build(view, "2024-01-05", "2024-01-06").rows == 1
    assert workshop.load(view).rows == 1
    assert workshop.served(view, ("a",), ("b",)) == [(5.0,), (8.0,)]


@pytest.mark.parametrize("by_hand", [True, False], ids=["OPTIMIZE of Delta", "our own"])
def test_a_build_that_a_compaction_comes_upon_ends_as_if_alone(
    workshop: Workshop, view: FeatureView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    workshop.load(view)
    old, path = workshop.rows(view), workshop.log(view).path
    write_payments(
        tmp_path / "source",
        [("a", "2024-01-02 10:00", 20.0), ("a", "2024-01-03 10:00", 3.0), ("b", "2024-01-03 10:00", 7.0),
         ("a", "2024-01-05 10:00", 5.0)],
    )  # fmt: skip

    def come_upon() -> None:
        if by_hand:
            workshop.spark.sql(f"OPTIMIZE delta.`{path}`")
        else:
            assert compact(workshop, view).files_after == 1

    # It has compared with four files, and commits behind one.
    before(FeatureLog, "append", monkeypatch, come_upon)
    built = workshop.build(view, "2024-01-02", "2024-01-06", now=at("2024-02-01"))
    assert (built.status, built.rows, built.corrections, built.retractions) == ("built", 4, 1, 2)
    # OPTIMIZE takes no position of ours, a compaction does.
    position = 5 if by_hand else 6
    assert built.position == position
    late, first = "2024-02-01T00:30:00", "2024-01-06T00:30:00"
    added = [
        ("a", "2024-01-02T10:00:00", late, "put", position, "2024-01-03T00:00:00", 20.0),
        ("a", "2024-01-04T10:00:00", late, "retract", position, "2024-01-05T00:00:00", None),
        ("a", "2024-01-05T10:00:00", first, "put", position, "2024-01-06T00:00:00", 5.0),
        ("b", "2024-01-04T10:00:00", late, "retract", position, "2024-01-05T00:00:00", None),
    ]
    assert workshop.rows(view) == sorted([*old, *added], key=repr)
    snapshot = workshop.log(view).snapshot()
    assert snapshot is not None
    assert len(workshop.log(view).files(snapshot).files) == 2
    ledger = workshop.registry.ledger(workshop.registry.view(view.name))
    assert [(entry.status, entry.position) for entry in ledger] == [
        ("built", 1), ("built", position), ("built", 3), ("empty", position), ("built", position)
    ]  # fmt: skip
    assert workshop.build(view, "2024-01-02", "2024-01-06").status == "unchanged"
    # What was rewritten is nothing new to a load.
    assert workshop.load(view).rows == 2
    assert workshop.served(view, ("a",), ("b",)) == [(5.0,), (7.0,)]


def test_a_compaction_that_lost_its_position_to_a_build_changes_nothing(
    workshop: Workshop, view: FeatureView, tmp_path: Path
) -> None:
    log = workshop.log(view)
    snapshot = log.snapshot()
    assert snapshot is not None
    rows = log.read(snapshot).withColumn("amount", F.lit(-1.0))
    write_payments(tmp_path / "source", [("a", "2024-01-05 10:00", 5.0)])
    workshop.build(view, "2024-01-05", "2024-01-06")
    wanted = workshop.rows(view)
    lost = log.rewrite(rows, position=snapshot.position + 1, run_id="late", note={"intervals": [], "stale": None})
    assert lost is None
    assert workshop.rows(view) == wanted


def test_a_view_without_rows_has_nothing_to_compact(workshop: Workshop, tmp_path: Path) -> None:
    made = make_view(sources=[payments_source(tmp_path / "source")])
    workshop.apply(made)
    assert compact(workshop, made) == CompactResult(files_before=0, files_after=0, delta_version=None)


def test_a_damaged_log_is_told(workshop: Workshop, view: FeatureView) -> None:
    for entry in Path(workshop.log(view).path, "_delta_log").glob("*.json"):
        entry.write_text("{")
    with pytest.raises(StorageError, match="cannot read the log of last_payment@1"):
        compact(workshop, view)
