"""Backups of tables that were written without Spark: what is taken, kept and refused, on disks and in object stores."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from moto.server import ThreadedMotoServer

from features.core.discovery import Definitions
from features.core.times import to_micros
from features.errors import NotFoundError, StorageError, UsageError
from features.materialization.backup import Backup
from features.materialization.backup_folder import BackupFolder, BackupResult
from features.materialization.restore import Restore, RestoreResult
from features.registry import Registry
from features.stores.filesystems import native_uri, open_filesystem
from features.stores.table_files import list_table
from tests.builders import at, make_view

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOG, QUARANTINE = "last_payment/v1", "last_payment/quarantine_v1"
SET = "training_sets/churn/0a1b"


class Environment:
    """A registry and a warehouse of one view."""

    def __init__(self, folder: Path, warehouse: str) -> None:
        self.registry = Registry.open(f"sqlite:///{folder}/registry.db")
        self.warehouse = warehouse

    def fill(self) -> None:
        """Two commits, withheld rows, and a saved set with the mark of a save that was killed late."""
        view = make_view()
        self.registry.apply(Definitions(views={view.name: view}, services={}))
        self.commit([1, 2])
        self.commit([3])
        self.write(QUARANTINE, [9])
        for name in ("data/part.parquet", "spine/part.parquet", "_saving"):
            self.put(f"{SET}/{name}", name)
        paths = {"path": f"{self.warehouse}/{SET}/data", "spine_path": f"{self.warehouse}/{SET}/spine"}
        self.registry.save_manifest("churn", paths, hold=True)

    def commit(self, values: list[int], *, mode: str = "append", told: bool = True) -> None:
        """Append to the log, as a build would of a day of its own, and tell the registry."""
        view = self.registry.view("last_payment")
        position = self.registry.position_at(view, at("2100-01-01")) + 1
        run_id = self.registry.start_run(kind="build", view=view, start=None, end=None, now=at("2024-01-02"))
        day = to_micros(at("2024-01-01")) + position * 86_400_000_000
        note = {"intervals": [[day, day + 86_400_000_000, "built", len(values), None]], "stale": None, "late": []}
        metadata = {"run_id": run_id, "position": position, "view": view.reference, "note": note}
        self.write(LOG, values, mode=mode, position=position, metadata=metadata)
        if told:
            commit = {"position": position, "delta_version": position - 1, "committed_at": at("2024-01-02")}
            self.registry.record_commit(view, **commit, run_id=run_id)
            self.registry.finish_run(run_id, status="built")

    def write(
        self, path: str, values: list[int], *, mode: str = "append", position: int = 0, metadata: Any = None
    ) -> None:
        properties = CommitProperties(
            custom_metadata={"userMetadata": json.dumps(metadata)} if metadata else None,
            app_transactions=[Transaction("last_payment@1", position)] if position else None,
        )
        write_deltalake(
            native_uri(f"{self.warehouse}/{path}"),
            pa.table({"value": pa.array(values, pa.int64())}),
            mode=mode,  # type: ignore[arg-type]
            commit_properties=properties,
        )

    def put(self, path: str, text: str) -> None:
        filesystem, inner = open_filesystem(f"{self.warehouse}/{path}")
        filesystem.create_dir(inner.rpartition("/")[0], recursive=True)
        with filesystem.open_output_stream(inner) as stream:
            stream.write(text.encode())

    def table(self, path: str) -> DeltaTable:
        return DeltaTable(native_uri(f"{self.warehouse}/{path}"))

    def values(self, path: str) -> list[int]:
        return sorted(pa.table(self.table(path).to_pyarrow_table())["value"].to_pylist())

    def backup(self, folder: str, keep: int | None = None) -> BackupResult:
        target = BackupFolder.open(folder)
        return Backup(registry=self.registry, warehouse=self.warehouse, target=target).make(keep=keep)

    def restore(self, folder: str, id: str | None = None) -> RestoreResult:
        source = BackupFolder.open(folder)
        # No row is read: the session is not asked for anything.
        no_session = cast("SparkSession", None)
        return Restore(registry=self.registry, warehouse=self.warehouse, source=source, session=lambda: no_session).run(
            id
        )


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    made = Environment(tmp_path / "first", str(tmp_path / "warehouse"))
    made.fill()
    yield made
    made.registry.close()


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[Environment]:
    made = Environment(tmp_path / "standby", str(tmp_path / "elsewhere"))
    yield made
    made.registry.close()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a local server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    for name in ("REGION", "DEFAULT_REGION"):
        monkeypatch.setenv(f"AWS_{name}", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    boto3.client("s3").create_bucket(Bucket="backups")
    yield "s3a://backups"
    server.stop()


def test_a_backup_on_a_disk_and_in_an_object_store_comes_back_there(
    environment: Environment, standby: Environment, bucket: str, tmp_path: Path
) -> None:
    made = environment.backup(f"{bucket}/features")
    assert BackupFolder.open(f"{bucket}/features").verify().damaged == ()
    remote = Environment(tmp_path / "remote", f"{bucket}/warehouse")
    for target in (standby, remote):
        done = target.restore(f"{bucket}/features")
        assert (done.tables, done.files) == (2, made.files - 1)
        assert (target.values(LOG), target.values(QUARANTINE)) == ([1, 2, 3], [9])
        position = done.positions["last_payment@1"]
        assert target.table(LOG).transaction_version("last_payment@1") == position > 1_700_000_000
        view = target.registry.view("last_payment")
        assert [c.position for c in target.registry.commits(view)] == [1, 2, position]
        assert target.registry.restored_position(view) == position
        content = target.registry.manifest("churn").content
        assert content["spine_path"] == f"{target.warehouse}/{SET}/spine"
        assert [entry.action for entry in target.registry.audit()] == ["restore", "apply"]
        # What is restored is backed up, and restored, in turn: its positions only grow.
        target.backup(f"{target.warehouse}-backups")
    remote.registry.close()
    again = Environment(tmp_path / "again", str(tmp_path / "again"))
    before = standby.registry.restored_position(standby.registry.view("last_payment"))
    assert again.restore(f"{standby.warehouse}-backups").positions["last_payment@1"] > before
    again.registry.close()


def test_rows_that_are_released_during_a_backup_come_back_marked_or_not_at_all(
    environment: Environment, standby: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []

    def release(path: str, **options: Any) -> Any:
        # Marked, then published, between the copies of the two tables.
        if listed:
            environment.write(QUARANTINE, [90])
            environment.commit([9])
        listed.append(path)
        return list_table(path, **options)

    monkeypatch.setattr("features.materialization.backup.list_table", release)
    environment.backup(str(tmp_path / "backups"))
    standby.restore(str(tmp_path / "backups"))
    assert len(listed) == 2
    assert 90 in standby.values(QUARANTINE) or 9 not in standby.values(LOG)


def test_only_what_is_new_is_copied_and_only_what_is_kept_needs_room(environment: Environment, tmp_path: Path) -> None:
    folder = str(tmp_path / "backups")
    first = environment.backup(folder)
    # Two tables with three commits, two files of a set, and the registry; no mark of a save.
    assert (first.files, first.copied_files, first.warnings) == (3 + 3 + 2 + 1, 9, ())
    environment.commit([4])
    second = environment.backup(folder)
    assert (second.files, second.copied_files) == (11, 3)
    environment.commit([5], mode="overwrite")
    (tmp_path / "backups" / "parts").mkdir(exist_ok=True)
    (tmp_path / "backups" / "parts" / "of-a-killed-copy").touch()
    third = environment.backup(folder, keep=1)
    # Rows that the newest version lacks are not taken.
    assert third.files == 1 + 1 + 5 + 2 + 1
    assert BackupFolder.open(folder).ids() == (third.id,)
    left = [path for path in (tmp_path / "backups").rglob("*") if path.is_file()]
    assert len(left) == len(BackupFolder.open(folder).read().digests) + 1
    assert BackupFolder.open(folder).verify().damaged == ()
    with pytest.raises(UsageError, match="keep=0"):
        environment.backup(folder, keep=0)
    with pytest.raises(NotFoundError, match="no backup at"):
        BackupFolder.open(folder).read(first.id)


def test_what_the_registry_names_and_is_not_there_is_told(environment: Environment, tmp_path: Path) -> None:
    environment.registry.save_manifest(
        "lost", {"path": f"{environment.warehouse}/training_sets/lost/1/data"}, hold=False
    )
    environment.registry.save_manifest("other", {"path": "/elsewhere/training_sets/other/1/data"}, hold=False)
    log = Path(environment.warehouse) / LOG
    log.rename(log.with_name("moved"))
    warnings = environment.backup(str(tmp_path / "backups")).warnings
    assert [warning.partition(":")[0] for warning in warnings] == [
        "the log of last_payment@1 is gone",
        "the files of lost@1 are gone",
        "the files of other@1 lie outside of the warehouse",
    ]


def test_a_build_that_commits_meanwhile_is_in_the_log_and_told_when_it_comes_back(
    environment: Environment, standby: Environment, tmp_path: Path
) -> None:
    view = environment.registry.view("last_payment")
    environment.registry.start_run(kind="load", view=view, start=None, end=None, now=at("2024-01-02"))
    dump = environment.registry.dump

    def dump_then_commit() -> Iterator[str]:
        yield from dump()
        environment.commit([4], told=False)

    environment.registry.dump = dump_then_commit  # type: ignore[method-assign]
    environment.backup(str(tmp_path / "backups"))
    standby.restore(str(tmp_path / "backups"))
    assert standby.values(LOG) == [1, 2, 3, 4]
    view = standby.registry.view("last_payment")
    assert [commit.position for commit in standby.registry.commits(view)][:-1] == [1, 2, 3]
    assert [(entry.interval.start, entry.rows) for entry in standby.registry.ledger(view)] == [(at("2024-01-04"), 1)]
    # What was under way then will not come to an end here.
    assert [run.status for run in standby.registry.runs(view) if run.kind == "load"] == ["failed"]


def test_a_restore_that_is_killed_before_the_registry_is_filled_goes_on(
    environment: Environment, standby: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.backup(str(tmp_path / "backups"))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(standby.registry, "restore_dump", killed)
        with pytest.raises(KeyboardInterrupt):
            standby.restore(str(tmp_path / "backups"))
    position = standby.table(LOG).transaction_version("last_payment@1")
    assert standby.registry.views() == ()
    assert standby.restore(str(tmp_path / "backups")).positions == {"last_payment@1": position}
    assert (standby.table(LOG).version(), standby.values(LOG)) == (2, [1, 2, 3])


def test_a_backup_whose_registry_is_damaged_is_not_restored(
    environment: Environment, standby: Environment, tmp_path: Path
) -> None:
    environment.backup(str(tmp_path / "backups"))
    digest = BackupFolder.open(str(tmp_path / "backups")).read().registry
    file = tmp_path / "backups" / "objects" / digest[:2] / digest
    # As long as it says, and cut between two lines.
    file.write_bytes(b"\n".join(file.read_bytes().splitlines()[:-1]) + b"\n")
    with pytest.raises(StorageError, match="is missing or damaged"):
        standby.restore(str(tmp_path / "backups"))
    assert not Path(standby.warehouse).exists()


def test_a_log_that_ends_before_what_the_registry_knows_is_not_taken(environment: Environment, tmp_path: Path) -> None:
    (Path(environment.warehouse) / LOG / "_delta_log" / f"{1:020}.json").unlink()
    with pytest.raises(StorageError, match="ends at position 1, but the registry knows it up to 2"):
        environment.backup(str(tmp_path / "backups"))


def test_a_warehouse_that_holds_another_table_is_not_written(
    environment: Environment, standby: Environment, tmp_path: Path
) -> None:
    environment.backup(str(tmp_path / "backups"))
    standby.write(LOG, [7])
    with pytest.raises(StorageError, match="holds another table"):
        standby.restore(str(tmp_path / "backups"))
    assert standby.values(LOG) == [7]
    assert standby.registry.views() == ()


def test_a_log_that_went_on_behind_the_backup_is_not_written(
    environment: Environment, standby: Environment, tmp_path: Path
) -> None:
    environment.backup(str(tmp_path / "backups"))
    environment.commit([9])
    shutil.copytree(Path(environment.warehouse, LOG), Path(standby.warehouse, LOG))
    with pytest.raises(StorageError, match=r"holds another table \(0+2\.json\)"):
        standby.restore(str(tmp_path / "backups"))
    assert (standby.table(LOG).version(), sorted(standby.values(LOG))) == (2, [1, 2, 3, 9])
    assert [path.name for path in Path(standby.warehouse).iterdir()] == [LOG.partition("/")[0]]


def test_backups_of_other_formats_and_broken_ones_say_so(environment: Environment, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    made = environment.backup(str(folder))
    path = folder / "backups" / f"{made.id}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(StorageError, match="is of format 2, this release reads 1"):
        BackupFolder.open(str(folder)).read()
    path.write_text(json.dumps({"format": 1}))
    with pytest.raises(StorageError, match=r"is damaged.*delete it, then take another"):
        BackupFolder.open(str(folder)).read()
    with pytest.raises(NotFoundError, match="make one with `features backup`"):
        BackupFolder.open(str(tmp_path / "none")).read()
