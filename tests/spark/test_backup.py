"""Backups and restores of a whole environment: what comes back, what is copied, and what wins online afterwards."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from features.errors import NotFoundError, StorageError
from features.registry import Registry
from features.registry.migration import migrations
from features.store import FeatureStore
from features.stores.memory import MemoryStore
from tests.builders import UTC_MICROS, at, write_payments
from tests.projects import PACKAGE, Project, open_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAY1, DAY2, DAY3 = (f"2024-01-0{day}T00:00:00+00:00" for day in (1, 2, 3))
RANGE = ("--start", DAY1, "--end", DAY3)
CORRECTED = [("a", "2024-01-01 10:00", 7.0), ("c", "2024-01-02 09:00", 3.0)]
# The columns of each table, as the first release made them.
FIRST_TABLES = {
    found[1]: set(re.findall(r"^    (\w+) ", found[2], re.MULTILINE))
    for found in re.finditer(r"CREATE TABLE (\w+) \((.*?)\n\);", migrations()[1], re.DOTALL)
}


@pytest.fixture
def project(
    request: pytest.FixtureRequest,
    spark: "SparkSession",
    in_tmp: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Project]:
    """A project whose stores, of whichever environment, are online in the same memory, or keyspace."""
    online = MemoryStore()
    is_real = getattr(request, "param", "memory") == "cassandra"
    if not is_real:
        monkeypatch.setattr("features.stores.opening.open_online_store", lambda settings, **_: online)
    for project in open_project(in_tmp, monkeypatch, capsys):
        if is_real:
            port = request.getfixturevalue("cassandra_node").status().port
            told = f"views: {PACKAGE}\nonline: {{port: {port}, keyspace: restored, consistency: LOCAL_ONE}}\n"
            (in_tmp / "conf" / "base.yaml").write_text(told)
        (in_tmp / "conf" / "standby.yaml").write_text(
            "warehouse: standby/warehouse\nregistry: sqlite:///standby/registry.db\n"
        )
        assert project.run("apply").code == 0
        yield project


def open_store(env: str) -> FeatureStore:
    return FeatureStore.from_conf("conf", env=env)


def save_set(store: FeatureStore) -> str:
    times = pa.array([at("2024-01-03"), at("2024-01-02 12:00")], UTC_MICROS)
    spine = pa.table({"customer": ["a", "b"], "event_timestamp": times})
    return store.get_historical_features(entity_df=spine, features="model").save("held").content_hash


def amounts(store: FeatureStore) -> dict[str, Any]:
    rows = [{"customer": customer} for customer in ("a", "b", "c")]
    answer = store.get_online_features(features="model", entity_rows=rows).to_dict()
    return dict(zip(answer["customer"], answer["amount"], strict=True))


def forget_commit(position: int) -> None:
    """Make the registry one of a run that was killed behind its commit: it knows nothing of it."""
    with open_store("local") as store, store.registry._database.write() as connection:
        for table in ("commits", "ledger"):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE log_position = {position}")


@pytest.mark.parametrize("project", ["memory", pytest.param("cassandra", marks=pytest.mark.integration)], indirect=True)
def test_an_environment_comes_back_as_it_was_and_wins_over_what_is_online(project: Project) -> None:
    with open_store("local") as store:
        store.materialize("last_payment", DAY1, DAY2)
        store.materialize("last_payment", DAY2, DAY3)
        saved = save_set(store)
        forget_commit(2)
        first = project.run("backup", "backups", "--json").data
        write_payments(project.folder / "source", CORRECTED)
        store.backfill("last_payment", DAY1, DAY3, every=True)
        assert amounts(store) == {"a": 7.0, "b": None, "c": 3.0}
        second = project.run("backup", "backups", "--json").data
    assert (first["copied_files"], first["warnings"]) == (first["files"], [])
    # Two commits, their rows, and the registry.
    assert second["copied_files"] == 5 < second["files"]
    assert project.run("backup", "backups", "--verify").code == 0

    with pytest.raises(NotFoundError, match="no backup at backups: 'last'"), open_store("standby") as store:
        store.restore("backups", "last")
    done = project.run("restore", "backups", "--id", first["id"], "--env", "standby")
    assert (done.code, done.out.splitlines()[-1]) == (0, "  features load last_payment@1")
    with open_store("standby") as store:
        view = store.registry.view("last_payment")
        # The log told the registry of the commit that it had not known.
        assert [(e.status, e.rows) for e in store.registry.ledger(view)] == [("built", 2), ("built", 1)]
        positions = [commit.position for commit in store.registry.commits(view)]
        assert positions[:2] == [1, 2]
        assert positions[2] > 1_700_000_000
        assert store.registry.checkpoint(view, target=store.online.target) == 0
        assert store.rebuild("held").content_hash == saved
        assert str(project.folder / "standby") in store.training_set("held").path

        loaded = store.load("last_payment")
        assert (loaded.rows, loaded.deleted) == (2, 1)
        assert amounts(store) == {"a": 2.0, "b": 5.0, "c": None}
        assert store.load("last_payment").rows == 0
        # It goes on from there: what is corrected now wins in turn.
        assert [r.corrections for r in store.backfill("last_payment", DAY1, DAY3, every=True)] == [1]
        assert amounts(store) == {"a": 7.0, "b": None, "c": 3.0}

    refused = project.run("restore", "backups", "--env", "standby")
    assert refused.code == 1
    assert "the registry is not empty" in refused.err


def test_a_restore_that_broke_off_is_run_again_and_damage_is_found(project: Project) -> None:
    with open_store("local") as store:
        store.build("last_payment", DAY1, DAY3)
        saved = save_set(store)
        made = store.backup("backups")
        # A release of long ago would have known less of the registry, and the set rebuilds all the same.
        lines = list(as_first_release(store.registry.dump()))
    content = json.loads((project.folder / "backups" / "backups" / f"{made.id}.json").read_text())
    objects = project.folder / "backups" / "objects"

    def damage(digest: str) -> Path:
        file = objects / digest[:2] / digest
        file.rename(file.with_suffix(".kept"))
        file.write_bytes(b"other")
        return file

    data = damage(content["tables"][0]["data"][0]["sha256"])
    checked = project.run("backup", "backups", "--verify", "--json")
    assert (checked.code, checked.data["damaged"]) == (1, [content["tables"][0]["data"][0]["path"]])
    assert checked.data["objects"] == [str(data.relative_to(project.folder))]
    with open_store("standby") as store:
        with pytest.raises(StorageError, match="has another SHA-256"):
            store.restore("backups")
        data.with_suffix(".kept").replace(data)
        store.restore("backups")
        assert store.rebuild("held").content_hash == saved

    with Registry.open(f"sqlite:///{project.folder}/old.db") as registry_of_old:
        registry_of_old.restore_dump(lines, relocate=dict, logs=[], backup="old")
    old = {"registry": f"sqlite:///{project.folder}/old.db", "views": PACKAGE}
    with FeatureStore.from_conf("conf", env="local", overrides=old) as store:
        assert store.rebuild("held").content_hash == saved


def as_first_release(lines: Iterator[str]) -> Iterator[str]:
    """A dump as the first release would have made it."""
    yield json.dumps({**json.loads(next(lines)), "schema": 1})
    for line in lines:
        content = json.loads(line)
        known = FIRST_TABLES.get(content["table"])
        if known is not None:
            yield json.dumps({**content, "row": {name: v for name, v in content["row"].items() if name in known}})
