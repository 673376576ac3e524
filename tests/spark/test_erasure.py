"""An entity leaves everything: logs, quarantine, saved sets, the online store, what the registry tells of runs."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from features.cli import main
from features.core.applied import AppliedView
from features.erasure.results import ErasedSet
from features.erasure.sets import SetEraser
from features.erasure.tables import TableEraser
from features.errors import RefusedError, RegistryError, StorageError
from features.registry import Registry
from features.stores.base import Read, rows_of
from features.stores.delta import FeatureLog
from features.stores.keyed_rows import KeyedRows
from features.stores.log_files import list_files
from features.stores.memory import MemoryRow, MemoryStore
from features.training.content_hash import table_hash
from jobs import erase
from tests import training_desk
from tests.builders import UTC_MICROS, at
from tests.training_desk import CONF, DAYS, SPLIT, Desk, open_desk, read

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.training.manifest import Manifest

pytestmark = pytest.mark.spark
_ROOT = Path(__file__).parents[2]
# Customers with two keys, whose greatest amounts are withheld.
PAIRS = """
    from features import Expect
    def pair(payments):
        return payments.withColumnRenamed("paid_at", "event_timestamp").withColumn("shop", F.lit(7))
    PAIRS = FeatureView(name="pairs", entities=[CUSTOMER, SHOP], sources=[SOURCE], transform=pair, lookback=None,
        features=[Feature("amount", DType.FLOAT64, expect=[Expect.between(0, 100, severity="quarantine")])],
        schedule="@daily", delay=timedelta(minutes=30), description="payments", owner="t")
"""
# Each test erases some of its own.
VICTIMS = [f"victim-{number}" for number in range(16)]
VIEWS = ("last@1", "pairs@1")


def payments() -> list[tuple[str, str, float | None]]:
    """Two days of all customers, and a third without victims."""
    rows: list[tuple[str, str, float | None]] = []
    for customer in ("keeper", "witness", *VICTIMS):
        rows += [(customer, "2024-01-01 10:00", 1.0), (customer, "2024-01-02 10:00", 2.0)]
        rows += [(customer, "2024-01-02 11:00", 500.0)]
    return [*rows, ("keeper", "2024-01-03 10:00", 3.0)]


@pytest.fixture(scope="module")
def desk(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Two views with three days each, in a log of one file a day, loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_desk, "PAYMENTS", payments())
        patch.setattr(training_desk, "DEFINITIONS", training_desk.DEFINITIONS + PAIRS)
        for made in open_desk(tmp_path_factory.mktemp("erasure"), views=("last", "pairs")):
            for view in ("last", "pairs"):
                made.store.build(view, DAYS[2], DAYS[3])
                made.store.load(view)
            yield made


def spine(*customers: str) -> pa.Table:
    times = pa.array([at("2024-01-06")] * len(customers), UTC_MICROS)
    labels = list(range(len(customers)))
    return pa.table({"customer": list(customers), "event_timestamp": times, "label": labels})


def view_of(desk: Desk, name: str) -> AppliedView:
    return desk.store.registry.view(name)


def log_of(desk: Desk, name: str) -> FeatureLog:
    return FeatureLog(desk.store.spark, str(desk.folder / "warehouse"), view_of(desk, name))


def logged(desk: Desk, name: str = "last") -> list[tuple[Any, ...]]:
    log = log_of(desk, name)
    snapshot = log.snapshot()
    assert snapshot is not None
    columns = ("customer", "event_timestamp", "created_timestamp", "_op", "_seq", "_interval", "amount")
    return sorted(tuple(row) for row in log.read(snapshot).select(*columns).collect())


def served(desk: Desk, name: str, customer: str) -> Any:
    view = view_of(desk, name)
    key = (customer, 7)[: len(view.join_keys)]
    (row,) = rows_of(*desk.store.online.read([Read(view=view, features=("amount",), keys=(key,))]))
    return None if row is None else row.values[0]


def position(desk: Desk, name: str = "last") -> int:
    snapshot = log_of(desk, name).snapshot()
    return 0 if snapshot is None else snapshot.position


def put(desk: Desk, name: str, customer: str, *, position: int) -> None:
    """What a load of a position writes."""
    view = view_of(desk, name)
    values = {feature.name: 9.0 for feature in view.features}
    key = (customer, 7)[: len(view.join_keys)]
    row = MemoryRow(key=key, event_micros=1, created_micros=1, values=values)
    assert isinstance(desk.store.online, MemoryStore)
    desk.store.online.apply_rows(view.online_table, [row], position=position)


def withheld(desk: Desk) -> list[str]:
    path = str(desk.folder / "warehouse" / "pairs" / "quarantine_v1")
    return sorted(row[0] for row in desk.store.spark.read.format("delta").load(path).select("customer").collect())


def parquet_files(desk: Desk, name: str) -> set[str]:
    return {file.name for file in desk.log(name).glob("*.parquet")}


def test_rows_leave_logs_quarantine_and_online_tables_and_nobody_else_is_touched(desk: Desk) -> None:
    victims = VICTIMS[:2]
    before = {name: logged(desk, name) for name in ("last", "pairs")}
    kept = [customer for customer in withheld(desk) if customer not in victims]
    files, erasures = parquet_files(desk, "last"), desk.store.erasures()
    last = position(desk)
    keys = [{"customer": victim} for victim in victims]
    planned = desk.store.plan_erasure(keys)
    assert [(t.view, t.offline, t.quarantined, t.online) for t in planned.tables] == [
        ("last@1", 6, 0, 2), ("pairs@1", 4, 2, 2), ("recent@1", 0, 0, None),
    ]  # fmt: skip
    assert (logged(desk), desk.store.erasures(), planned.erasure_id) == (before["last"], erasures, None)

    result = desk.store.erase(keys)

    assert [(t.view, t.offline, t.quarantined, t.online) for t in result.tables] == [
        (t.view, t.offline, t.quarantined, t.online) for t in planned.tables
    ]
    assert result.gone_after is not None
    assert "sources may still hold the entity" in " ".join(result.remaining)
    for name in ("last", "pairs"):
        assert logged(desk, name) == [row for row in before[name] if row[0] not in victims]
        assert [served(desk, name, victim) for victim in victims] == [None, None]
        assert served(desk, name, "keeper") == 3.0
        assert position(desk, name) == last + 1
    assert withheld(desk) == kept
    # Two files hold victims; the third day's is none of them.
    assert len(parquet_files(desk, "last") - files) == 2
    newest = max(desk.log("last").glob("_delta_log/0*.json"))
    told = newest.read_text()
    assert victims[0] not in told
    assert json.loads(json.loads(told.splitlines()[0])["commitInfo"]["userMetadata"])["note"]["rows"] == 6

    check_loads(desk, victims[0], position=last + 1)
    erasure = desk.store.erasures()[0]
    assert (erasure.is_done, erasure.keys, erasure.progress["tables"]["pairs@1"]["quarantined"]) == (True, (), 2)


def check_loads(desk: Desk, victim: str, *, position: int) -> None:
    """An older load brings nothing back; the next one needs no full load; a later build's rows are served."""
    for name in ("last", "pairs"):
        put(desk, name, victim, position=position - 1)
        assert served(desk, name, victim) is None
        loaded = desk.store.load(name)
        assert (loaded.rows, loaded.deleted) == (0, 0)
        assert desk.store.registry.checkpoint(view_of(desk, name), target=desk.store.online.target) == position
    desk.pay([*payments(), (victim, "2024-01-04 10:00", 7.0)])
    assert desk.store.build("last", DAYS[3], DAYS[4]).rows == 1
    assert desk.store.load("last").rows == 1
    assert served(desk, "last", victim) == 7.0


def test_vacuumed_at_once_no_file_holds_the_rows_and_writers_keep_theirs(desk: Desk) -> None:
    uncommitted = desk.log("last") / "part-of-a-writer.parquet"
    pq.write_table(pa.table({"customer": ["x"]}), uncommitted)
    result = desk.store.erase([{"customer": VICTIMS[2]}], vacuum=True)
    assert result.gone_after is None
    held = [path for name in ("last", "pairs") for path in (desk.folder / "warehouse" / name).rglob("*.parquet")]
    assert uncommitted in held
    uncommitted.unlink()
    held.remove(uncommitted)
    assert not [path for path in held if VICTIMS[2] in pq.read_table(path)["customer"].to_pylist()]


def test_saved_sets_lose_the_rows_and_refuse_to_be_rebuilt_whoever_holds_them(desk: Desk) -> None:
    victim = VICTIMS[3]
    asked = spine("keeper", victim, "witness", victim)
    sets = {
        "held": desk.ask(["last:amount"], asked).save("held", hold=True),
        "table": desk.ask(["last:amount"], asked).save("table", hold=True, format="delta", splits=SPLIT),
        "rows": desk.store.get_feature_rows(features="pairs", start=DAYS[0], end=DAYS[3]).save("rows", hold=False),
        "apart": desk.ask(["last:amount"], spine("keeper", "witness")).save("apart"),
    }
    late = desk.ask(["last:amount"], asked)
    dry = desk.store.plan_erasure([{"customer": victim}]).training_sets
    assert (set(dry), read(sets["held"]).num_rows) == (
        {ErasedSet(training_set=f"{name}@1", rows=2, held=name != "rows") for name in ("held", "table", "rows")}, 4
    )  # fmt: skip

    result = desk.store.erase([{"customer": victim}])

    assert set(result.training_sets) == set(dry)
    for name in ("held", "table", "rows"):
        manifest = desk.store.training_set(name)
        assert (manifest.erasure, manifest.rows) == (result.erasure_id, sets[name].rows - 2)
        check_set(desk, manifest, victim)
        with pytest.raises(StorageError, match=f"erasure {result.erasure_id} removed rows of an entity"):
            desk.store.rebuild(name)
    assert desk.store.training_set("table").parts == {"train": 0, "test": 2}
    assert desk.store.rebuild("apart").content_hash == sets["apart"].content_hash == table_hash(read(sets["apart"]))
    with pytest.raises(RegistryError, match="removed rows of last@1 while the set was made"):
        late.save("late")
    assert desk.ask(["last:amount"], asked).save("new").rows == 4
    assert desk.store.training_set_leftovers() == ()


def check_set(desk: Desk, manifest: "Manifest", victim: str) -> None:
    """Neither the files nor the manifest of a set tell of a customer."""
    frame = desk.store.spark.read.format(manifest.format).load(manifest.path)
    kept = frame.collect()
    assert (len(kept), victim in {row["customer"] for row in kept}) == (manifest.rows, False)
    folder = Path(manifest.path).parent
    files = [path for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts]
    assert not [file for file in files if victim in pq.read_table(file, columns=["customer"])["customer"].to_pylist()]
    assert {str(path) for path in files if "spine" not in path.parts} == set(manifest.files())
    assert sum(file["rows"] for file in manifest.content["files"]) == manifest.rows
    assert victim not in json.dumps(dict(manifest.content))


class Killed(BaseException):
    """Ends a step as a kill does: what was done stays, and nobody tidies up."""


BOUNDARIES: list[tuple[Any, str, bool]] = [
    (Registry, "request_erasure", True),
    (FeatureLog, "erase", True),
    (Registry, "record_erasure", False),
    (TableEraser, "erase_quarantine", True),
    (TableEraser, "erase_online", False),
    (Registry, "change_erased", True),
    (SetEraser, "_run", True),
    (Registry, "finish_erasure", False),
]


def killing(original: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def step(*args: Any, **named: Any) -> Any:
        if after:
            original(*args, **named)
        raise Killed

    return step


def test_killed_at_any_step_and_resumed_it_leaves_what_a_clean_one_leaves(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    victims = VICTIMS[4:12]
    saved = desk.ask(["last:amount"], spine("keeper", *victims)).save("all")
    registry = desk.store.registry
    wanted, old = logged(desk), position(desk)
    for (owner, name, after), victim in zip(BOUNDARIES, victims, strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killing(getattr(owner, name), after=after))
            with pytest.raises(Killed):
                desk.store.erase([{"customer": victim}])
        erasure = registry.erasures()[0]
        with pytest.raises(RefusedError, match=erasure.erasure_id):
            desk.store.erase([{"customer": "witness"}])
        # A load that began before all of this ends now.
        for view in ("last", "pairs"):
            put(desk, view, victim, position=old)

        result = desk.store.resume_erasure(erasure.erasure_id)

        found = {t.view: (t.offline, t.quarantined, t.online) for t in result.tables}
        assert [found[view] for view in VIEWS] == [(3, 0, 1), (2, 1, 1)], (name, after)
        assert ("all@1", 1) in {(s.training_set, s.rows) for s in result.training_sets}, (name, after)
        assert [served(desk, view, victim) for view in ("last", "pairs")] == [None, None], (name, after)
        wanted = [row for row in wanted if row[0] != victim]
        assert logged(desk) == wanted, (name, after)
    assert read(saved)["customer"].to_pylist() == ["keeper"]
    assert not set(withheld(desk)) & set(victims)
    assert all(erasure.is_done for erasure in registry.erasures())
    assert desk.store.load("last").rows == 0


def test_of_a_build_and_an_erasure_at_once_one_wins_and_the_other_looks_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FeatureLog.erase
    raced = []

    def build_first(log: FeatureLog, *args: Any, **named: Any) -> Any:
        if not raced:
            raced.append(log)
            desk.pay([*payments(), ("keeper", "2024-01-05 10:00", 4.0)])
            desk.store.build("last", DAYS[4], DAYS[5])
        return original(log, *args, **named)

    log, wanted = log_of(desk, "last"), [row for row in logged(desk) if row[0] != VICTIMS[12]]
    snapshot = log.snapshot()
    assert snapshot is not None
    rows = log.read(snapshot).where("customer = 'keeper'")
    monkeypatch.setattr(FeatureLog, "erase", build_first)
    result = desk.store.erase([{"customer": VICTIMS[12]}])
    after = snapshot.position + 2
    assert next((t.offline, t.position) for t in result.tables) == (3, after)
    assert [row for row in logged(desk) if row[4] <= snapshot.position] == wanted
    assert len(logged(desk)) == len(wanted) + 1
    # And a build that was compared before the erasure cannot commit at its position.
    assert log.append(rows, position=after, run_id="late", note={"intervals": [], "stale": None}) is None


def test_what_is_built_and_loaded_during_an_erasure_stays_and_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, victim = TableEraser.erase_online, VICTIMS[15]
    raced = []

    def load_first(eraser: TableEraser, view: AppliedView, *args: Any, **named: Any) -> Any:
        if view.name == "last" and not raced:
            raced.append(view)
            desk.pay([*payments(), (victim, "2024-01-06 10:00", 6.0)])
            desk.store.build("last", DAYS[5], DAYS[6])
            desk.store.load("last")
        return original(eraser, view, *args, **named)

    monkeypatch.setattr(TableEraser, "erase_online", load_first)
    result = desk.store.erase([{"customer": victim}])
    assert (served(desk, "last", victim), served(desk, "pairs", victim)) == (6.0, None)
    assert "1 rows of last@1 were built again meanwhile" in " ".join(result.remaining)


def test_the_command_also_takes_back_what_runs_told_of_a_key(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    registry, view = desk.store.registry, view_of(desk, "last")
    run_id = registry.start_run(kind="build", view=view, start=None, end=None, now=at("2024-01-01"))
    registry.finish_run(run_id, status="refused", message="1 row fails, such as customer='witness'")
    registry.record_validation(run_id, [{"rule": "between(0, 1)", "keys": ["customer='witness'", "customer='keeper'"]}])
    keys = desk.folder / "keys.csv"
    keys.write_text("customer\nwitness\n")
    settings = desk.store.settings
    names = ("views", "warehouse", "registry")
    common = [word for name in names for word in ("--set", f"{name}={getattr(settings, name)}")]
    common += ["--conf", str(CONF), "--env", "local", "--set", "online.type=memory", "--keys-file", str(keys)]

    assert main(["erase", *common, "--yes"]) == 0
    told = capsys.readouterr().out
    assert erase.main([*common, "--dry-run"]) == 0
    dry = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert "last@1" in told
    assert {(table["offline"], table["online"]) for table in dry["tables"]} == {(0, None)}
    assert "witness" not in told + repr(registry.runs(view)) + repr(registry.audit())
    assert registry.validations(run_id)[0]["keys"] == ["customer=<erased>", "customer='keeper'"]


def test_killed_by_the_system_behind_its_commit_it_goes_on_where_it_was(desk: Desk) -> None:
    settings = desk.store.settings
    overrides = {"views": settings.views, "warehouse": str(settings.warehouse), "registry": str(settings.registry),
                 "online.type": "memory", "spark.driver_memory": "800m"}  # fmt: skip
    last = position(desk)
    script = (
        "import json, os, signal, sys\n"
        "from features.erasure.tables import TableEraser\n"
        "from features.store import FeatureStore\n"
        "from features.stores.delta import FeatureLog\n"
        "def kill(self, *_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "FeatureLog._own_commit = kill\n"
        f"store = FeatureStore.from_conf({str(CONF)!r}, env='local', overrides=json.loads(sys.argv[1]))\n"
        f"store.erase([{{'customer': {VICTIMS[13]!r}}}])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(desk.folder), str(_ROOT)])}
    done = subprocess.run([sys.executable, "-c", script, json.dumps(overrides)], env=environment, cwd=desk.folder,
                          capture_output=True, check=False, timeout=300)  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-3000:]
    assert position(desk) == last + 1

    result = desk.store.resume_erasure(desk.store.erasures()[0].erasure_id)

    assert next((t.offline, t.position) for t in result.tables) == (3, last + 1)
    assert desk.store.registry.commits(view_of(desk, "last"))[-1].position == last + 1
    assert not [row for row in logged(desk) if row[0] == VICTIMS[13]]


def test_a_file_that_a_killed_task_left_unfinished_is_removed(desk: Desk) -> None:
    saved = desk.ask(["last:amount"], spine("keeper", VICTIMS[14])).save("s")
    left = Path(saved.path) / "_erasing-1-part.parquet"
    left.write_bytes(b"half")
    desk.store.erase([{"customer": VICTIMS[14]}])
    assert (left.exists(), read(saved).num_rows) == (False, 1)


def test_files_whose_bounds_exclude_the_keys_are_neither_read_nor_replaced(
    spark: "SparkSession", tmp_path: Path
) -> None:
    path = str(tmp_path / "table")
    for position, keys in enumerate(("abc", "def", "ghi"), start=1):
        write_deltalake(path, pa.table({"k": list(keys), "at": [position] * 3, "n": [0, 1, 2]}), mode="append")
    files = {file.path for file in list_files(path, ["k"]).files}
    rows = KeyedRows(spark, path, pa.table({"k": ["d", "f"]}), positions="at")
    assert rows.found == (2, (2,))
    rows.erase("{}")
    kept = [row[0] for row in spark.read.format("delta").load(path).select("k").orderBy("k").collect()]
    assert ("".join(kept), len(files - {file.path for file in list_files(path, []).files})) == ("abceghi", 1)
    predicate = DeltaTable(path).history(1)[0]["operationParameters"]["predicate"]
    assert re.findall(r"[<>] (\w)\b", predicate) == ["c", "g"]
    assert KeyedRows(spark, path, pa.table({"k": ["d0", "zz"]})).found == (0, ())
    Path(next(file.path for file in list_files(path, ["k"]).files if file.bounds["k"][0] == "a")).unlink()
    assert KeyedRows(spark, path, pa.table({"k": ["g"]})).found[0] == 1
    assert KeyedRows(spark, path, pa.table({"k": ["x"]})).found == (0, ())
