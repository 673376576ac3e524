"""`features maintain`, its job, and what `features doctor` finds: where no log needs a rewrite, without Spark."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from features.core.processes import ProcessId
from features.registry import Registry
from jobs import maintain
from tests.builders import at
from tests.projects import Project


@pytest.fixture
def applied(project: Project) -> Project:
    project.run("apply")
    return project


def damage(project: Project, view: str) -> None:
    """A log that cannot be read."""
    path = project.folder / ".state" / "warehouse" / view / "v1"
    write_deltalake(path, pa.table({"n": [1]}))
    for entry in Path(path, "_delta_log").glob("*.json"):
        entry.write_text("{")


def test_maintaining_views_without_rows_does_nothing_and_starts_no_spark(applied: Project) -> None:
    outcome = applied.run("maintain", "--json")
    assert outcome.code == 0
    assert [one["view"] for one in outcome.data["views"]] == [
        "broken_payment@1", "last_payment@1", "next_payment@1", "payment_once@1",
    ]  # fmt: skip
    assert outcome.data["views"][1] == {
        "view": "last_payment@1",
        "retain": {"cutoff": None, "rows": 0, "kept": [], "delta_version": None},
        "compact": {"files_before": 0, "files_after": 0},
        "vacuum": {"files": 0, "bytes": 0, "hours": 168, "spared_for": None},
        "error": None,
    }
    only = applied.run("maintain", "last_payment", "--vacuum", "--dry-run")
    assert only.code == 0
    assert "last_payment@1" in only.out
    assert "files to delete" in only.out
    assert "next_payment" not in only.out


def test_maintaining_what_makes_no_sense_exits_2(applied: Project) -> None:
    unknown, tomorrow = applied.run("maintain", "last_paymnt"), applied.run("maintain", "--now", "2999-01-01T00:00:00Z")
    assert (unknown.code, tomorrow.code) == (2, 2)
    assert "did you mean 'last_payment'?" in unknown.err
    assert "has not come" in tomorrow.err


def test_one_view_that_fails_stops_no_other_and_exits_1(applied: Project, capsys: pytest.CaptureFixture[str]) -> None:
    damage(applied, "last_payment")
    outcome = applied.run("maintain")
    assert outcome.code == 1
    assert "last_payment@1: FAILED: cannot read the log" in outcome.out
    assert "payment_once@1" in outcome.out
    capsys.readouterr()
    assert maintain.main(["--view", "last_payment"]) == 1
    assert '"failed": 1' in capsys.readouterr().out
    assert maintain.main(["--view", "payment_once"]) == 0


def test_doctor_tells_what_it_finds_and_mends_what_is_safe(applied: Project) -> None:
    with Registry.open(f"sqlite:///{applied.folder / '.state' / 'registry.db'}") as registry:
        view = registry.view("last_payment")
        registry.start_run(kind="build", view=view, start=None, end=None, now=at("2024-01-05"))
    clean = applied.run("doctor", "--json").data
    assert clean["findings"] == []
    damage(applied, "payment_once")
    (applied.folder / ".state" / "warehouse" / "gone" / "v1").mkdir(parents=True)
    found = applied.run("doctor", "--json")
    assert found.code == 1
    assert [(one["severity"], one["kind"]) for one in found.data["findings"]] == [
        ("error", "unreadable log"),
        ("warning", "orphan folder"),
    ]
    assert found.data["problems"] == clean["problems"] + 1
    told = applied.run("doctor").out
    assert "PROBLEM  unreadable log: payment_once@1" in told
    assert "warning  orphan folder: " in told
    assert "fix: if no other registry uses this warehouse: rm -r" in told


def test_doctor_records_killed_runs_as_failed(applied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with Registry.open(f"sqlite:///{applied.folder / '.state' / 'registry.db'}") as registry:
        view = registry.view("last_payment")
        own = ProcessId.own()
        monkeypatch.setattr(ProcessId, "own", classmethod(lambda cls: cls(host=own.host, pid=own.pid, mark="gone")))
        registry.start_run(kind="build", view=view, start=None, end=None, now=at("2024-01-05"))
    told = applied.run("doctor").out
    assert "warning  stuck run: " in told
    assert "fix: features doctor --fix" in told
    assert "fixed    stuck run: " in applied.run("doctor", "--fix").out
    assert "stuck run" not in applied.run("doctor").out
    assert "build failed" in applied.run("status", "last_payment").out
