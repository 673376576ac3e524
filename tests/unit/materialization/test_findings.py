"""What doctor finds: each thing that does not fit together, once, and nothing where all is well."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties, Transaction, write_deltalake

from features.core.applied import AppliedView
from features.core.discovery import Definitions
from features.core.processes import ProcessId
from features.errors import StorageError
from features.materialization.findings.examiner import Examiner
from features.materialization.findings.finding import Finding
from features.materialization.findings.installed import find_jar_skew, find_package_skew, find_server_skew
from features.materialization.findings.runs import find_stuck_runs
from features.materialization.ledger import reconcile
from features.registry import Registry
from features.stores.log_state import LogState
from features.stores.memory import MemoryStore
from tests.builders import make_view
from tests.logs import log_schema, put

NOW = datetime.now(UTC)
EVENT = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Desk:
    """A registry with one view, its warehouse, and an online store in memory."""

    registry: Registry
    warehouse: Path
    online: MemoryStore
    leftovers: tuple[str, ...] = ()

    @property
    def view(self) -> AppliedView:
        return self.registry.view("last_payment")

    def commit(self, position: int, *, run_id: str | None = None, told: bool = True) -> None:
        """A commit of the log, as a build makes it, and the registry's record of it."""
        import json

        import pyarrow as pa

        run_id = run_id or f"run-{position}"
        row = put(EVENT, EVENT, seq=position, customer="a", amount=1.0)
        note = {"intervals": [], "stale": None}
        told_in_log = {"run_id": run_id, "position": position, "view": "last_payment@1", "note": note}
        path = self.warehouse / self.view.log_path
        properties = CommitProperties(
            custom_metadata={"userMetadata": json.dumps(told_in_log)},
            app_transactions=[Transaction("last_payment@1", position)],
        )
        table = pa.Table.from_pylist([row], schema=log_schema(self.view))
        write_deltalake(path, table, mode="append", commit_properties=properties)
        if told:
            self.record(position, run_id)

    def record(self, position: int, run_id: str) -> None:
        self.registry.record_commit(
            self.view, position=position, delta_version=position - 1, committed_at=EVENT, run_id=run_id
        )

    def load(self, position: int) -> None:
        self.online.create(self.view)
        self.registry.move_checkpoint(self.view, target=self.online.target, position=position)

    def examine(self, **options: Any) -> tuple[Finding, ...]:
        examiner = Examiner(
            registry=self.registry, warehouse=str(self.warehouse), online=self.online, keyspace="features",
            stuck_hours=24, leftovers=lambda: self.leftovers,
        )  # fmt: skip
        return examiner.examine(now=NOW, **options)

    def kinds(self, **options: Any) -> list[str]:
        return [finding.kind for finding in self.examine(**options)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as registry:
        registry.apply(Definitions(views={"last_payment": make_view()}, services={}))
        yield Desk(registry=registry, warehouse=tmp_path / "warehouse", online=MemoryStore())


def test_where_all_is_well_nothing_is_found(desk: Desk) -> None:
    assert desk.examine() == ()
    for position in (1, 2):
        desk.commit(position)
    desk.load(2)
    assert desk.examine() == ()


def test_a_log_from_an_older_backup_is_found_and_refused(desk: Desk) -> None:
    desk.commit(1)
    desk.record(2, "run-2")
    (found,) = desk.examine()
    assert (found.severity, found.kind, found.where) == ("error", "log behind registry", "last_payment@1")
    assert "ends at position 1" in found.what
    with pytest.raises(StorageError, match="ends at position 1, but the registry knows commits up to 2"):
        reconcile(desk.registry, LogState(str(desk.warehouse), desk.view), desk.view)


def test_a_log_that_is_gone_is_found(desk: Desk) -> None:
    desk.record(1, "run-1")
    desk.load(1)
    assert desk.kinds() == ["log behind registry", "checkpoint ahead"]


def test_the_log_of_another_registry_is_found(desk: Desk) -> None:
    desk.commit(1, told=False, run_id="somebody-else")
    desk.record(1, "run-1")
    assert desk.kinds() == ["replaced log"]


def test_a_damaged_log_is_found(desk: Desk) -> None:
    desk.commit(1)
    for entry in (desk.warehouse / desk.view.log_path / "_delta_log").glob("*.json"):
        entry.write_text("{")
    assert desk.kinds() == ["unreadable log"]


def test_a_checkpoint_ahead_of_its_log_and_a_table_that_is_gone_are_found(desk: Desk) -> None:
    desk.commit(1)
    desk.load(2)
    assert desk.kinds() == ["checkpoint ahead"]
    desk.commit(2)
    desk.online.drop(desk.view)
    (found,) = desk.examine()
    assert (found.kind, found.fix) == ("missing table", "features load last_payment@1")


def test_commits_that_a_killed_run_left_untold_are_told(desk: Desk) -> None:
    desk.commit(1)
    desk.commit(2, told=False)
    run = desk.registry.start_run(kind="build", view=desk.view, start=None, end=None, now=NOW)
    # It may be about to.
    assert desk.kinds() == []
    desk.registry.finish_run(run, status="failed")
    assert desk.kinds() == ["untold commits"]
    (fixed,) = desk.examine(fix=True)
    assert fixed.fixed
    assert desk.examine() == ()
    assert [commit.run_id for commit in desk.registry.commits(desk.view)] == ["run-1", "run-2"]


def test_folders_and_tables_of_no_version_are_found(desk: Desk, tmp_path: Path) -> None:
    desk.commit(1)
    for folder in ("last_payment/v2", "last_payment/quarantine_v1", "gone/v1", "gone/_staging", "training_sets/a/b"):
        (desk.warehouse / folder).mkdir(parents=True)
    gone = replace(desk.view, version=9)
    desk.online.create(gone)
    desk.leftovers = (f"{desk.warehouse}/training_sets/a/b",)
    found = desk.examine()
    assert [(one.kind, one.where.removeprefix(f"{desk.warehouse}/")) for one in found] == [
        ("orphan folder", "gone/v1"),
        ("orphan folder", "last_payment/v2"),
        ("orphan table", f"{desk.online.target}, last_payment__v9"),
        ("leftover save", "training_sets/a/b"),
    ]
    assert {one.severity for one in found} == {"warning"}
    assert f"rm -r {desk.warehouse}/gone/v1" in found[0].fix
    assert "DROP TABLE features.last_payment__v9;" in found[2].fix


def test_a_warehouse_that_cannot_be_listed_hides_nothing_else(desk: Desk) -> None:
    desk.leftovers = ("elsewhere",)
    desk.warehouse.write_text("a file")
    kinds = desk.kinds()
    assert "leftover save" in kinds
    assert "not examined" in kinds


def test_runs_whose_process_is_gone_are_found_and_failed(desk: Desk) -> None:
    own, dead, far, fresh = (
        desk.registry.start_run(kind="build", view=desk.view, start=None, end=None, now=NOW) for _ in range(4)
    )
    runs = {run.run_id: run for run in desk.registry.running()}
    assert set(runs) == {own, dead, far, fresh}
    me = runs[own].process
    assert me == ProcessId.own()
    elsewhere = ProcessId(host="another.example.com", pid=7, mark="boot:1")
    long_ago = NOW - timedelta(hours=25)
    found = {
        run.run_id: finding
        for run, finding in find_stuck_runs(
            [
                runs[own],
                replace(runs[dead], process=replace(me, mark="started at another time")),
                replace(runs[far], process=elsewhere, started_at=long_ago),
                replace(runs[fresh], process=elsewhere),
            ],
            now=NOW,
            hours=24,
        )
    }
    assert set(found) == {dead, far}
    assert found[dead].fix == "features doctor --fix"
    assert "another.example.com, as process 7" in found[far].what
    assert found[far].fix.endswith(f"features doctor --fail-run {far}")
    desk.examine(dead_runs=[far])
    assert {run.run_id for run in desk.registry.running()} == {own, dead, fresh}
    (ended,) = [run for run in desk.registry.runs(desk.view) if run.run_id == far]
    assert (ended.status, ended.message) == ("failed", "its process ended without a word")
    assert desk.registry.audit()[0].action == "fail runs"


def test_an_erasure_is_found_until_it_ends(desk: Desk) -> None:
    erasure = desk.registry.request_erasure(entity="customer", columns=["customer"], keys=[["a"], ["b"]])
    (found,) = desk.examine()
    assert (found.severity, found.kind, found.where) == ("warning", "open erasure", erasure.erasure_id)
    assert "2 keys of customer" in found.what
    assert f"features erase --resume {erasure.erasure_id} --yes" in found.fix
    desk.registry.finish_erasure(erasure.erasure_id, {})
    assert desk.examine() == ()


def test_packages_of_other_versions_are_found() -> None:
    asked = [
        "pyspark==4.2.0; extra == 'spark'",
        "deltalake>=1.6.6; extra == 'spark'",
        "pydantic>=2",
        "ruff>=9; extra == 'lint'",
    ]
    there = {"pyspark": "4.1.0", "deltalake": "1.6.6", "ruff": "0.1"}
    (found,) = find_package_skew(asked, installed=there.get)
    assert (found.severity, found.where, found.what) == (
        "error", "pyspark", "4.1.0 is installed, this release needs ==4.2.0",
    )  # fmt: skip
    # Of what is installed here.
    assert list(find_package_skew()) == []


def test_jars_that_are_not_of_the_packages_are_found() -> None:
    jar = "delta-spark_4.2_2.13-4.4.0.jar"
    assert list(find_jar_skew([jar, "delta-storage-4.4.0.jar"], delta="4.4.0", spark="4.2.0")) == []
    assert [one.what for one in find_jar_skew([jar], delta="4.4.1", spark="4.20.0")] == [
        "the package delta-spark is 4.4.1",
        "made for Spark 4.2, the package pyspark is 4.20.0",
    ]
    two = list(find_jar_skew([jar, "delta-spark_4.1_2.13-4.4.0.jar"], delta="4.4.0", spark="4.2.0"))
    assert "several Delta jars" in two[0].what


@pytest.mark.parametrize(("server", "count"), [("4.1.5", 1), ("5.0.9", 0), ("5.1-SNAPSHOT", 0), (None, 0)])
def test_servers_that_are_too_old_are_found(server: str | None, count: int) -> None:
    assert len(list(find_server_skew(server, target="cassandra://a"))) == count
