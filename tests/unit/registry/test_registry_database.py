import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, inspect, make_url

from features.errors import RegistryError
from features.registry import Registry, database
from features.registry.migration import migrations
from features.registry.schema import TABLES
from tests.postgresql import execute


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


def run_python(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True)


def test_migrations_make_the_tables_that_queries_name(registry, registry_url):
    engine = create_engine(registry_url)
    found = inspect(engine)

    assert sorted(found.get_table_names()) == sorted(table.name for table in TABLES)
    for table in TABLES:
        columns = {c["name"]: bool(c["nullable"]) for c in found.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}, table.name
        keys = found.get_pk_constraint(table.name)["constrained_columns"]
        assert keys == [column.name for column in table.primary_key], table.name
    engine.dispose()


def test_migrations_are_numbered_without_gaps():
    assert list(migrations()) == list(range(1, len(migrations()) + 1))


def test_registry_opens_again_with_what_it_held(registry, registry_url):
    registry.save_manifest("churn", {}, hold=False)
    registry.close()

    with Registry.open(registry_url) as again:
        assert again.manifest("churn").number == 1


def test_failed_transaction_leaves_nothing(registry):
    with pytest.raises(RegistryError, match="not JSON serializable"):
        registry.record_validation("run", [{"rule": "fine"}, {"rule": object()}])

    assert registry.validations("run") == ()


def test_processes_that_open_an_empty_registry_at_once_all_find_it_ready(registry_url):
    code = "import sys; from features.registry import Registry; Registry.open(sys.argv[1]).views()"

    processes = [run_python(code, registry_url) for _ in range(4)]

    assert [(process.communicate(timeout=60)[1], process.returncode) for process in processes] == [("", 0)] * 4
    assert execute(registry_url, "SELECT version FROM schema_version") == list(migrations())


def test_registry_of_newer_code_is_refused(registry, registry_url):
    registry.close()
    execute(registry_url, "INSERT INTO schema_version VALUES (99, 0)")

    with pytest.raises(RegistryError, match=r"is at schema 99, this code knows \d+; upgrade"):
        Registry.open(registry_url)


def test_migration_that_fails_leaves_the_registry_as_it_was(registry_url):
    if registry_url.startswith("sqlite"):
        Path(make_url(registry_url).database).parent.mkdir()
    execute(registry_url, "CREATE TABLE runs (run_id TEXT)")

    with pytest.raises(RegistryError, match=r"runs.* already exists"):
        Registry.open(registry_url)

    engine = create_engine(registry_url)
    assert inspect(engine).get_table_names() == ["runs"]
    engine.dispose()


def test_folders_of_a_file_are_made(tmp_path):
    Registry.open(f"sqlite:///{tmp_path}/a/b/registry.db").close()

    assert (tmp_path / "a/b/registry.db").is_file()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "is not a URL"),
        ("mysql://localhost/x", "of an unknown kind"),
        ("sqlite://", "would be forgotten with the process"),
        ("sqlite:///:memory:", "would be forgotten with the process"),
        ("sqlite:////proc/nowhere/registry.db", "cannot be made"),
        ("postgresql://someone@127.0.0.1:1/features", "cannot be reached"),
    ],
)
def test_registry_that_cannot_be_opened_says_why(url, told):
    with pytest.raises(RegistryError, match=told):
        Registry.open(url)


def test_missing_driver_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(RegistryError, match=r"needs the package 'psycopg'.*feature-platform\[postgres\]"):
        Registry.open("postgresql://someone@127.0.0.1:1/features")


def test_file_that_is_no_database_is_refused(sqlite_file):
    sqlite_file.write_bytes(b"no database at all, " * 100)

    with pytest.raises(RegistryError, match="file is not a database"):
        Registry.open(f"sqlite:///{sqlite_file}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone@127.0.0.1:1/features",
        "mysql://u:hunter2@h/x",
        "hunter2:/",
        "postgresql://u@127.0.0.1:1/x?password=hunter2",
    ],
)
def test_no_message_holds_a_password(url):
    with pytest.raises(RegistryError) as error:
        Registry.open(url, password=SecretStr("hunter2"))

    chain = [error.value, error.value.__cause__]
    assert not any("hunter2" in str(link) for link in chain)


def test_locked_file_is_told_after_the_timeout(sqlite_file, monkeypatch):
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.1)
    with Registry.open(f"sqlite:///{sqlite_file}") as registry:
        other = sqlite3.connect(sqlite_file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(RegistryError, match=r"has been locked by another process for 0\.1 s"):
            registry.save_manifest("churn", {}, hold=False)
        assert registry.manifests() == (), "readers do not wait for a writer"
        other.close()


def test_readers_of_a_registry_that_was_deleted_are_told(sqlite_file):
    registry = Registry.open(f"sqlite:///{sqlite_file}")
    sqlite_file.unlink()

    with pytest.raises(RegistryError, match="cannot be used: no such table"):
        registry.views()


def test_writers_of_a_registry_that_is_out_of_reach_are_told(tmp_path):
    registry = Registry.open(f"sqlite:///{tmp_path}/a/registry.db")
    shutil.rmtree(tmp_path / "a")

    with pytest.raises(RegistryError, match="cannot be reached: unable to open database file; check"):
        registry.save_manifest("churn", {}, hold=False)


VIEWS = """
from datetime import timedelta
from features import BatchSource, DType, Entity, Feature, FeatureView

CUSTOMER = Entity(name="customer", join_keys={{"customer": DType.STRING}})
PAYMENTS = BatchSource(name="payments", path="p", format="parquet", timestamp_field="paid_at")
COMMON = dict(entities=[CUSTOMER], sources=[PAYMENTS], features=[Feature("amount", DType.INT64)], lookback=None,
              transform=lambda payments: payments, schedule=None, description="d", owner="o")
OWN = FeatureView(name="{name}", delay=timedelta(0), **COMMON)
SHARED = FeatureView(name="shared", delay=timedelta(hours={hours}), **COMMON)
"""
APPLY = """
import sys
from features.core.discovery import discover
from features.registry import Registry

sys.path.insert(0, sys.argv[2])
with Registry.open(sys.argv[1]) as registry:
    registry.apply(discover(sys.argv[3]))
"""


def test_processes_that_apply_at_once_lose_nothing(registry, registry_url, tmp_path):
    names = ["first", "second", "third"]
    for hours, name in enumerate(names):
        (tmp_path / f"views_{name}.py").write_text(VIEWS.format(name=name, hours=hours))

    processes = [run_python(APPLY, registry_url, str(tmp_path), f"views_{name}") for name in names]

    assert [(process.communicate(timeout=60)[1], process.returncode) for process in processes] == [("", 0)] * 3
    assert [registry.view(f"{name}@1").name for name in names] == names
    assert {registry.view(f"shared@{version}").delay.seconds for version in (1, 2, 3)} == {0, 3600, 7200}
    assert len(registry.audit()) == 3


def test_apply_that_had_to_wait_removes_nothing_that_it_had_not_seen(registry, registry_url, define, make_view):
    registry.apply(define(make_view(name="old")))
    planned, resume = threading.Event(), threading.Event()
    late = Registry.open(registry_url)
    write = late._database.write

    def write_later():
        planned.set()
        resume.wait(timeout=30)
        return write()

    late._database.write = write_later
    with ThreadPoolExecutor(1) as pool:
        plan = pool.submit(late.apply, define(make_view(name="late")))
        planned.wait(timeout=30)
        registry.apply(define(make_view(name="old"), make_view(name="meanwhile")))
        resume.set()

    assert [(change.kind, change.name) for change in plan.result().changes] == [("create", "late"), ("remove", "old")]
    assert [view.name for view in registry.views()] == ["late", "meanwhile"]
    late.close()


FORK = """
import os, sys
from features.registry import Registry

registry = Registry.open(sys.argv[1])
registry.save_manifest("churn", {}, hold=False)
if os.fork() == 0:
    registry.save_manifest("churn", {}, hold=False)
    sys.exit()
_, status = os.wait()
sys.exit(status or registry.manifest("churn").number != 2)
"""


def test_fork_leaves_the_connections_of_its_parent_alone(registry, registry_url):
    process = run_python(FORK, registry_url)

    assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)
