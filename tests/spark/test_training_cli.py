"""`features training-set` and its job: saving with every option, and looking after what was saved."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import training_set
from tests.builders import UTC_MICROS, at
from tests.projects import Project, open_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

BOTH_DAYS = ("--start", "2024-01-01T00:00:00Z", "--end", "2024-01-03T00:00:00Z")
ASKED = ("--features", "model", "--spine", "spine.parquet")


@pytest.fixture
def project(
    spark: "SparkSession", in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Project]:
    """A project of the test's own, two days of it built, with a spine."""
    for project in open_project(in_tmp, monkeypatch, capsys):
        assert project.run("apply").code == 0
        assert project.run("build", "last_payment", *BOTH_DAYS).code == 0
        times = pa.array([at("2024-01-02 12:00"), at("2024-01-02 00:30")], UTC_MICROS)
        pq.write_table(pa.table({"customer": ["a", "b"], "event_timestamp": times}), in_tmp / "spine.parquet")
        yield project


def test_a_set_is_saved_with_every_option_then_shown_held_released_and_rebuilt(project: Project) -> None:
    split = ("--time-split", "train=2024-01-02T06:00:00Z,test=", "--gap", "1h", "--format", "delta")
    saved = project.run("training-set", *ASKED, "--name", "payments", "--as-of", "last_payment=0", *split, "--json")
    assert saved.code == 0, saved.err
    assert (saved.data["reference"], saved.data["rows"], saved.data["format"]) == ("payments@1", 2, "delta")
    assert saved.data["parts"] == {"train": 1, "test": 1}
    assert "content" not in saved.data

    listed = project.run("training-set", "list").out
    assert "payments@1" in listed
    assert project.run("training-set", "release", "payments", "--json").data == {
        "reference": "payments@1",
        "held": False,
    }
    assert project.run("training-set", "list", "--json").data["training_sets"][0]["held"] is False
    assert project.run("training-set", "hold", "payments@1").out == "payments@1: held\n"

    shown = project.run("training-set", "show", "payments")
    assert "as of:        {'last_payment': 0}" in shown.out
    assert "last_payment@1" in shown.out
    content = project.run("training-set", "show", "payments", "--json").data["content"]
    told = content["statistics"]["amount"]
    row = next(line.split() for line in shown.out.splitlines() if line.startswith("amount "))
    assert row == ["amount", *(str(told[name]) for name in ("nulls", "nans", "min", "max", "mean"))]
    assert content["splits"]["rows"] == {"train": 1, "test": 1}

    rebuilt = project.run("training-set", "rebuild", "payments@1", "--output", "again", "--json")
    assert rebuilt.data["content_hash"] == saved.data["content_hash"]
    assert sorted(pq.read_table(project.folder / "again")["amount"].to_pylist()) == [1.0, 5.0]


def test_a_dry_run_and_a_leakage_report_save_nothing(project: Project) -> None:
    dry = project.run("training-set", *ASKED, "--dry-run", "--json").data["dry_run"]
    assert dry["spine_rows"] == 2
    assert (dry["views"][0]["view"], dry["views"][0]["files"]) == ("last_payment@1", 1)
    assert "last_payment@1: at most 1 files" in project.run("training-set", *ASKED, "--dry-run").out
    leak = project.run("training-set", *ASKED, "--leakage-report", "--json").data["leakage"]
    assert leak["features"]["amount"] == {"differing": 1, "not_found": 0, "past_lookback": 0, "null": 0}
    assert project.run("training-set", "list", "--json").data == {"training_sets": []}


def test_a_job_saves_what_has_no_spine(project: Project) -> None:
    def submit(*words: str) -> dict[str, object]:
        project.capsys.readouterr()
        assert training_set.main(words) == 0
        told: dict[str, object] = json.loads(project.capsys.readouterr().out)
        return told

    latest = submit("--features", "model", "--latest", "--at", "2024-01-02T00:30:00Z", "--name", "scoring", "--no-hold")
    assert (latest["reference"], latest["rows"], latest["held"]) == ("scoring@1", 2, False)
    rows = submit("--features", "last_payment", *BOTH_DAYS, "--name", "history", "--key-split", "train=0.5,test=0.5")
    assert (rows["reference"], rows["rows"]) == ("history@1", 3)
    dry = submit("--features", "last_payment", *BOTH_DAYS, "--dry-run")
    assert dry["dry_run"]["views"][0]["rows"] == 3  # type: ignore[index]
    assert project.run("rebuild", "history").code == 0
