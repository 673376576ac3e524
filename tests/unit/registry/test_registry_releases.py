"""Registries as earlier releases left them: `releases/schema_N.sql` was filled by the code of that release."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, inspect, make_url

from features import Feature, FeatureService, FeatureView
from features.core.canonical import definition_hash
from features.core.dtypes import DType
from features.errors import RegistryError
from features.registry import Registry
from features.registry.migration import migrations, newest
from tests.postgresql import execute

RELEASES = {int(path.stem.removeprefix("schema_")): path for path in (Path(__file__).parent / "releases").glob("*.sql")}
TARGET = "cassandra://127.0.0.1:9042/features"


@pytest.fixture(params=sorted(RELEASES))
def release(request: pytest.FixtureRequest) -> int:
    """The schema of an earlier release."""
    return int(request.param)


def fill(url: str, release: int) -> None:
    """Make an empty database the registry of an earlier release."""
    if url.startswith("sqlite"):
        Path(str(make_url(url).database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for line in RELEASES[release].read_text().splitlines():
            if not line.startswith("--"):
                connection.exec_driver_sql(line.removesuffix(";"))
    engine.dispose()


def schema_of(url: str) -> list[object]:
    return execute(make_url(url), "SELECT max(version) FROM schema_version")


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True)


def check_content(registry: Registry, release: int) -> None:
    """That all that the release wrote is found, as this one names it."""
    first, second = registry.view("last_payment@1"), registry.view("last_payment")
    assert (first.version, second.version, second.delay.seconds) == (1, 2, 3600)
    assert (first.description, first.tags["pii"]) == ('the last payment, in "EUR"; isn\'t it', "no")
    assert [(f.name, f.dtype, f.unit) for f in first.features] == [("amount", DType.DECIMAL(12, 2), "EUR")]
    assert [e.severity for e in first.features[0].expectations] == ["refuse", "refuse"]
    assert [view.name for view in registry.views()] == ["last_payment"]
    assert registry.view("gone@1").name == "gone"
    assert registry.service("fraud").owner == "ds@example.com"
    assert [item.view.reference for item in registry.resolve("fraud")] == ["last_payment@2"]

    ledger = registry.ledger(first)
    assert [(e.status, e.built, e.stale, e.rows) for e in ledger] == [
        ("built", True, True, 2), ("empty", True, False, 0), ("refused", False, False, 0),
    ]  # fmt: skip
    assert ledger[0].fingerprint == ("8f14e45f" if release >= 2 else None)
    refused, built = registry.runs(first)
    assert (built.status, built.counts["rows"], refused.message[:8]) == ("built", 2, "the gate")
    assert registry.validations(built.run_id)[0]["rule"] == "not_null()"
    assert [(c.position, c.delta_version) for c in registry.commits(first)] == [(1, 0)]
    assert registry.checkpoint(first, target=TARGET) == 1
    assert [(m.reference, m.held) for m in registry.manifests()] == [("churn@1", True), ("churn@2", False)]
    assert registry.manifest("churn@1").content["views"][0]["definition_hash"] == first.definition_hash
    rollout = registry.serving_state().views["last_payment"]
    assert (rollout.live, rollout.candidate) == ((1, 2) if release >= 3 else (2, None))
    assert [entry.actor for entry in registry.audit() if entry.action == "apply"] == ["ben", "ana"]


def test_all_that_a_release_wrote_is_found(registry_url: str, release: int) -> None:
    fill(registry_url, release)
    with Registry.open(registry_url) as registry:
        check_content(registry, release)
    assert schema_of(registry_url) == [newest()]


def test_hashes_of_a_release_are_those_of_this_one(registry_url: str, release: int) -> None:
    fill(registry_url, release)
    kept = "SELECT hash || content FROM definition_versions WHERE kind = 'feature view'"
    for text in map(str, execute(make_url(registry_url), kept)):
        assert definition_hash(json.loads(text[64:])) == text[:64]


def test_processes_that_migrate_at_once_do_it_once(registry_url: str) -> None:
    fill(registry_url, 1)
    code = "import sys; from features.registry import Registry; Registry.open(sys.argv[1]).views()"
    processes = [run_python(code, registry_url) for _ in range(3)]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in processes] == [("", 0)] * 3
    assert sorted(map(str, execute(make_url(registry_url), "SELECT version FROM schema_version"))) == sorted(
        map(str, migrations())
    )


KILLED = """
import os, signal, sys
from features.registry import Registry, migration

statements, left = migration._statements, int(sys.argv[2])

def killed_amid(script):
    global left
    for statement in statements(script):
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        yield statement

migration._statements = killed_amid
Registry.open(sys.argv[1])
"""


@pytest.mark.parametrize("after", [0, 2, 6])
def test_a_migration_that_is_killed_has_changed_nothing_and_is_run_again(registry_url: str, after: int) -> None:
    fill(registry_url, 1)
    process = run_python(KILLED, registry_url, str(after))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    engine = create_engine(registry_url, poolclass=NullPool)
    assert "rollouts" not in inspect(engine).get_table_names()
    assert "fingerprint" not in [column["name"] for column in inspect(engine).get_columns("ledger")]
    engine.dispose()
    assert schema_of(registry_url) == [1]
    with Registry.open(registry_url) as registry:
        check_content(registry, 1)


def test_a_registry_that_is_only_read_stays_as_it_is(registry_url: str, release: int, tmp_path: Path) -> None:
    fill(registry_url, release)
    with Registry.open_read_only(registry_url, scratch=tmp_path) as registry:
        check_content(registry, release)
    assert schema_of(registry_url) == [release]


def test_a_registry_that_is_only_read_takes_no_write(registry: Registry, registry_url: str, tmp_path: Path) -> None:
    with (
        Registry.open_read_only(registry_url, scratch=tmp_path) as read_only,
        pytest.raises(RegistryError, match="read"),
    ):
        read_only.save_manifest("churn", {}, hold=False)
    assert registry.manifests() == ()


def test_a_registry_that_is_only_read_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="there is no registry"):
        Registry.open_read_only(f"sqlite:///{tmp_path}/a/registry.db", scratch=tmp_path)
    assert not os.path.lexists(tmp_path / "a")


def test_a_dump_of_any_release_fills_another_database(registry_url: str, release: int, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    fill(other, release)
    with Registry.open_read_only(other, scratch=tmp_path) as earlier, Registry.open(registry_url) as registry:
        registry.copy_dump(earlier.dump())
        check_content(registry, release)
        # Whatever of a row is to be added, its tables go on from it.
        registry.save_manifest("churn", {}, hold=False)
        with pytest.raises(
            RegistryError, match="the registry is not empty: it holds 3 definitions, 2 runs, 3 manifests"
        ):
            registry.copy_dump(earlier.dump())


def test_a_dump_goes_from_one_database_to_another_and_back(registry_url: str, tmp_path: Path) -> None:
    fill(registry_url, 3)
    with Registry.open(registry_url) as registry, Registry.open(f"sqlite:///{tmp_path}/copy.db") as copy:
        copy.copy_dump(registry.dump())
        assert sorted(copy.dump()) == sorted(registry.dump())


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "no dump of a registry"),
        (['{"format": 2, "schema": 1}'], "no dump of a registry"),
        (['{"format": 1, "schema": 99}'], "is at schema 99"),
        (['{"format": 1, "schema": 3}', '{"table": "runs"}'], "is damaged: 'row'"),
        (['{"format": 1, "schema": 3}', '{"table": "runs", "ro'], "is damaged"),
    ],
)
def test_a_dump_that_cannot_be_read_leaves_the_registry_empty(registry: Registry, lines: list[str], told: str) -> None:
    with pytest.raises(RegistryError, match=told):
        registry.copy_dump(lines)
    registry.check_empty()


def test_views_of_an_earlier_release_go_on_from_their_version(
    registry_url: str, release: int, define: Callable, make_view: Callable[..., FeatureView]
) -> None:
    fill(registry_url, release)
    with Registry.open(registry_url) as registry:
        plan = registry.apply(
            define(
                make_view(name="last_payment", features=[Feature("amount", DType.FLOAT64)]),
                FeatureService(name="fraud", features=["last_payment:amount"], owner="ds@example.com"),
            )
        )
        assert [(c.kind, c.name, c.version) for c in plan.changes] == [
            ("new version", "last_payment", 3), ("update in place", "fraud", 1),
        ]  # fmt: skip
