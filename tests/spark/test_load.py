"""Loads: what is online is a function of (key, log position), whatever was loaded before."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import DType, Entity, Feature
from features.core.applied import AppliedView
from features.engine.latest import plan_latest
from features.engine.latest.plan import _frame
from features.errors import OnlineStoreError, StorageError
from features.materialization.compaction import Compactor
from features.stores.base import Written
from features.stores.delta import FeatureLog
from features.stores.log_state import Snapshot
from features.stores.memory import MemoryStore
from features.stores.winner_rows import moment_of
from tests.builders import Workshop, apply_view, at, make_view, payments_source, write_payments
from tests.logs import write_log
from tests.strategies import logs

if TYPE_CHECKING:
    import pyarrow as pa

pytestmark = pytest.mark.spark

DAY1, DAY2, DAY3, DAY4 = "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"
FEBRUARY = at("2024-02-01")
PAYMENTS = [("a", f"{DAY1} 10:00", 1.0), ("b", f"{DAY1} 11:00", 5.0), ("a", f"{DAY2} 09:00", 2.0)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "payments"
    write_payments(path, PAYMENTS)
    return path


def test_a_load_takes_only_the_keys_that_were_touched_since_the_last(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    assert (workshop.load(view).rows, workshop.served(view, ("a",), ("b",))) == (2, [(1.0,), (5.0,)])
    workshop.build(view, DAY2, DAY3)
    assert (workshop.load(view).rows, workshop.served(view, ("a",), ("b",))) == (1, [(2.0,), (5.0,)])
    assert workshop.load(view).rows == 0
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 2


def test_an_older_interval_built_later_never_overwrites_a_newer_value(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY2, DAY3)
    workshop.load(view)
    workshop.build(view, DAY1, DAY2)
    workshop.load(view)
    assert workshop.served(view, ("a",), ("b",)) == [(2.0,), (5.0,)]


def test_a_retraction_brings_back_the_row_before_it_and_then_none(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    workshop.load(view)
    write_payments(source, PAYMENTS[:2])
    workshop.build(view, DAY2, DAY3, now=FEBRUARY)
    assert (workshop.load(view).rows, workshop.served(view, ("a",))) == (1, [(1.0,)])
    write_payments(source, PAYMENTS[1:2])
    workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    result = workshop.load(view)
    assert (result.rows, result.deleted, workshop.served(view, ("a",), ("b",))) == (0, 1, [None, (5.0,)])


def test_a_full_load_writes_every_winner_and_deletes_what_the_log_lacks(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    stray = workshop.spark.createDataFrame(
        [("stray", at(DAY1), at(DAY1), 9.0, False, None)],
        "customer string, event_timestamp timestamp, created_timestamp timestamp, amount double, "
        "_delete boolean, _ttl_seconds int",
    )
    workshop.online.create(applied)
    workshop.online.write(applied, stray, position=1)
    result = workshop.load(view, full=True)
    assert (result.rows, result.deleted) == (2, 1)
    assert workshop.served(view, ("a",), ("b",), ("stray",)) == [(1.0,), (5.0,), None]


def test_a_load_before_the_first_build_makes_the_table_and_writes_nothing(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    result = workshop.load(view)
    assert (result.rows, result.delta_version) == (0, None)
    assert workshop.served(view, ("a",)) == [None]


def test_a_row_past_its_retention_is_deleted_not_written(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)], lookback=timedelta(days=1), retention=timedelta(days=2))
    workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    result = workshop.load(view)
    assert (result.rows, result.deleted) == (0, 2)


def test_a_log_that_ends_before_the_checkpoint_is_another_log(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    workshop.load(view)
    workshop.registry.move_checkpoint(applied, target=workshop.online.target, position=7)
    with pytest.raises(OnlineStoreError, match=r"loaded up to position 7, but the log .* ends at 1"):
        workshop.load(view)


def test_a_row_that_someone_else_wrote_over_keeps_the_checkpoint_where_it_was(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    foreign = workshop.spark.createDataFrame(
        [("a", at(DAY1), at(DAY1), 9.0, False, None)],
        "customer string, event_timestamp timestamp, created_timestamp timestamp, amount double, "
        "_delete boolean, _ttl_seconds int",
    )
    workshop.online.create(applied)
    workshop.online.write(applied, foreign, position=99)
    with pytest.raises(OnlineStoreError, match="holds another row of customer='a'"):
        workshop.load(view)
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 0


def test_a_table_that_was_dropped_is_filled_again(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    workshop.load(view)
    workshop.online._tables.clear()
    workshop.online._columns.clear()
    assert (workshop.load(view).rows, workshop.served(view, ("a",), ("b",))) == (2, [(2.0,), (5.0,)])


class Failing(MemoryStore):
    """Tables can be made; rows cannot be written while it is told to fail."""

    fails = True

    def write(self, *args: Any, **options: Any) -> Written:
        if self.fails:
            raise OnlineStoreError("no node answers")
        return super().write(*args, **options)


def test_a_lost_table_is_filled_by_the_load_after_one_that_failed(workshop: Workshop, source: Path) -> None:
    workshop.online = Failing()
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    workshop.online.fails = False
    workshop.load(view)
    workshop.online.drop(applied)
    assert workshop.loader.plan(applied).rows == 2
    workshop.online.fails = True
    with pytest.raises(OnlineStoreError, match="no node answers"):
        workshop.load(view)
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 0
    workshop.online.fails = False
    assert (workshop.load(view).rows, workshop.served(view, ("a",), ("b",))) == (2, [(2.0,), (5.0,)])


def test_a_kill_before_the_table_is_made_again_leaves_no_checkpoint(workshop: Workshop, source: Path) -> None:
    class Killed(MemoryStore):
        dies = False

        def create(self, view: AppliedView) -> bool:
            if self.dies:
                raise KeyboardInterrupt
            return super().create(view)

    workshop.online = Killed()
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    workshop.load(view)
    workshop.online.drop(applied)
    workshop.online.dies = True
    with pytest.raises(KeyboardInterrupt):
        workshop.load(view)
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 0


def test_a_first_load_is_no_reset_for_the_audit_log(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    workshop.load(view)
    assert not [entry for entry in workshop.registry.audit() if entry.action == "reset checkpoint"]


def test_rows_lost_while_the_log_moves_on_are_loaded_by_the_next_load(workshop: Workshop, source: Path) -> None:
    class Losing(MemoryStore):
        loses = True

        def write(self, *args: Any, **options: Any) -> Written:
            written = super().write(*args, **options)
            if self.loses:
                for slots in self._tables.values():
                    slots.clear()
                workshop.build(view, DAY2, DAY3)
            return written

    workshop.online = Losing()
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    assert workshop.load(view).rows == 2
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 0
    workshop.online.loses = False
    assert (workshop.load(view).rows, workshop.served(view, ("a",), ("b",))) == (2, [(2.0,), (5.0,)])
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 2


def test_a_load_behind_another_one_that_runs_at_once_is_no_error(workshop: Workshop, source: Path) -> None:
    class Overtaken(MemoryStore):
        overtakes = True

        def write(self, *args: Any, **options: Any) -> Written:
            written = super().write(*args, **options)
            if self.overtakes:
                self.overtakes = False
                workshop.build(view, DAY2, DAY3)
                workshop.load(view)
            return written

    workshop.online = Overtaken()
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    workshop.load(view)
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 2
    assert workshop.served(view, ("a",), ("b",)) == [(2.0,), (5.0,)]


def test_files_without_statistics_are_loaded_not_skipped(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    workshop.load(view)
    log = workshop.log(view)
    workshop.spark.conf.set("spark.databricks.delta.stats.collect", "false")
    try:
        workshop.build(view, DAY2, DAY3)
    finally:
        workshop.spark.conf.unset("spark.databricks.delta.stats.collect")
    assert None in [file.rows for file in log.files(log.snapshot()).files]
    assert (workshop.load(view).rows, workshop.served(view, ("a",))) == (1, [(2.0,)])


def test_a_plan_counts_rows_past_their_retention_as_deleted(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)], lookback=timedelta(days=1), retention=timedelta(days=2))
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    plan = workshop.loader.plan(applied)
    assert (plan.rows, plan.deleted) == (0, 2)


def test_a_log_that_tasks_cannot_read_is_told_in_a_sentence(
    workshop: Workshop, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)

    def plan_then_vacuum(*args: Any, **options: Any) -> Any:
        latest = plan_latest(*args, **options)
        for file in Path(workshop.log(view).path).glob("*.parquet"):
            file.unlink()
        return latest

    monkeypatch.setattr("features.materialization.load.plan_latest", plan_then_vacuum)
    told = r"^the log of last_payment@1 cannot be read: .*\.parquet.*; if its files were vacuumed .*, load again$"
    with pytest.raises(StorageError, match=told):
        workshop.load(view)
    monkeypatch.undo()
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 0


def test_what_spark_cannot_count_is_told_in_a_sentence(
    workshop: Workshop, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)

    def plan_broken(*args: Any, **options: Any) -> Any:
        latest = plan_latest(*args, **options)
        return replace(latest, keys=latest.keys.selectExpr("raise_error('no disk left') AS _delete"))

    monkeypatch.setattr("features.materialization.load.plan_latest", plan_broken)
    with pytest.raises(StorageError, match=r"^counting the keys of last_payment@1 failed: .*no disk left"):
        workshop.loader.plan(applied)


def test_a_plan_counts_keys_and_writes_nothing(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    loader = workshop.loader
    plan = loader.plan(applied)
    assert (plan.rows, plan.deleted, plan.files, plan.position, plan.checkpoint) == (2, 0, 1, 1, 0)
    assert (plan.path, plan.engine, plan.bytes > 0) == ("memory", "native", True)
    workshop.load(view)
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 1
    again = loader.plan(applied)
    assert (again.rows, again.path, again.reason) == (0, None, "everything in the log is online")
    assert loader.plan(applied, full=True).rows == 2


def test_a_compaction_brings_nothing_to_load_and_the_checkpoint_follows(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    workshop.build(view, DAY2, DAY3)
    workshop.load(view)
    Compactor(spark=workshop.spark, registry=workshop.registry, warehouse=workshop.warehouse).compact(applied)
    assert workshop.load(view).rows == 0
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 3
    write_payments(source, [*PAYMENTS, ("b", f"{DAY3} 09:00", 7.0)])
    workshop.build(view, DAY3, DAY4)
    assert (workshop.load(view).rows, workshop.served(view, ("a",), ("b",))) == (1, [(2.0,), (7.0,)])


KEYS = [(1, "a"), (1, "ab"), (2, "a"), (3, "")]


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_tasks_that_read_files_find_the_rows_that_spark_finds(
    workshop: Workshop, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    entity = Entity(name="pair", join_keys={"number": DType.INT64, "name": DType.STRING})
    view = apply_view(make_view(entities=[entity], features=[Feature("amount", DType.FLOAT64)]))
    # Many keys, each with a history of its own, in one log.
    drawn = [
        ((number + 4 * place, name), row)
        for place in range(25)
        for row in data.draw(logs(KEYS))
        for number, name in [row.key]
    ]
    start = at(DAY1)
    rows = [
        {
            "number": key[0],
            "name": key[1],
            "event_timestamp": start + timedelta(hours=row.event),
            "created_timestamp": start + timedelta(hours=row.created),
            "_op": "put" if row.is_put else "retract",
            "_seq": row.seq,
            "_interval": start + timedelta(hours=row.interval),
            "amount": row.value,
        }
        for key, row in drawn
    ]
    warehouse = tmp_path_factory.mktemp("warehouse")
    parts = [[r for r in rows if r["_seq"] % 3 == part] for part in range(3)]
    write_log(warehouse, view, [sorted(p, key=lambda r: (r["number"], r["name"])) for p in parts], rows_per_group=4)
    log = FeatureLog(workshop.spark, str(warehouse), view)
    pinned = log.snapshot()
    assert pinned is not None
    snapshot = Snapshot(version=pinned.version, position=data.draw(st.integers(1, 9)))
    after = data.draw(st.integers(0, 8))
    now = at("2024-01-05")

    native = plan_latest(workshop.spark, log, snapshot, view, after=after, now=now)
    spark = _frame(log, snapshot, view, after=after, now=now)

    columns = ["number", "name", "_delete", "event_timestamp", "created_timestamp", "amount"]
    found = {
        tuple(row[:3]): None if row[2] else tuple(row[3:]) for row in native.rows.to_frame().select(*columns).collect()
    }
    wanted = {tuple(row[:3]): None if row[2] else tuple(row[3:]) for row in spark.select(*columns).collect()}
    assert native.engine == "native"
    assert found == wanted

    # Of the test itself, for workers know nothing of its module.
    def only_keys(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        yield from (batch.select(["number", "name"]) for batch in batches)

    tasks, context = replace(native.rows, are_few=False), workshop.spark.sparkContext
    jobs = []
    for rows in (native.rows, tasks):
        context.setJobGroup(group := uuid4().hex, "")
        found_keys = {tuple(row.values()) for row in rows.run(only_keys, "number bigint, name string")}
        assert found_keys == {key[:2] for key in wanted}
        jobs.append(len(context.statusTracker().getJobIdsForGroup(group)))
    for name in ("spark.jobGroup.id", "spark.job.description"):
        context.setLocalProperty(name, None)  # type: ignore[arg-type]  # as if never set, for the tests behind this one
    # Of few rows none.
    assert jobs == [0, 1]

    def fails(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        raise OSError("no space left")

    with pytest.raises(StorageError, match=r"loading last_payment@1 failed: OSError: no space left; run it again"):
        native.rows.run(fails, "number bigint")
    assert moment_of(native.rows) == now.timestamp()
