"""Verbs that compute, through `main` in process: what they print, and what they leave."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.stores.memory import MemoryStore
from tests.builders import UTC_MICROS, at, write_payments
from tests.projects import PAYMENTS, Project, open_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAY_1 = ("--start", "2024-01-01T00:00:00Z", "--end", "2024-01-02T00:00:00Z")
DAY_2 = ("--start", "2024-01-02T00:00:00Z", "--end", "2024-01-03T00:00:00Z")
DAY_4 = ("--start", "2024-01-04T00:00:00Z", "--end", "2024-01-05T00:00:00Z")
BOTH_DAYS = (*DAY_1[:2], *DAY_2[2:])


@pytest.fixture
def project(
    spark: "SparkSession", in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Project]:
    """A project of the test's own, applied; every store that its commands open is one in memory."""
    store = MemoryStore()
    monkeypatch.setattr("features.stores.opening.open_online_store", lambda settings, **_: store)
    for project in open_project(in_tmp, monkeypatch, capsys):
        assert project.run("apply").code == 0
        yield project


def test_a_view_goes_from_its_source_to_an_online_read(project: Project) -> None:
    first = project.run("materialize", "last_payment", *DAY_1, "--json")
    assert (first.data["build"]["status"], first.data["build"]["rows"], first.data["load"]["rows"]) == ("built", 2, 2)
    assert "transformed" in first.err

    rest = project.run("backfill", "last_payment", *BOTH_DAYS, "--no-load", "--json")
    assert [build["rows"] for build in rest.data["builds"]] == [1]
    nothing = project.run("backfill", "last_payment", *BOTH_DAYS, "--no-load")
    assert "nothing to build" in nothing.out

    planned = project.run("load", "last_payment", "--dry-run")
    assert "last_payment@1: log at position 2, loaded up to 1" in planned.out
    assert "  1 keys would be written, 0 deleted" in planned.out
    assert "path: memory, because rows are kept in this process" in planned.out
    loaded = project.run("load", "last_payment", "--json")
    assert loaded.data == {"view": "last_payment", "rows": 1, "deleted": 0, "delta_version": 1}
    read = project.run("get", "--features", "model", "customer=a", "--json")
    assert read.data["rows"][0]["features"]["amount"]["value"] == 2.0

    again = project.run("build", "last_payment", *DAY_2)
    assert again.code == 0
    assert "unchanged, 0 rows appended" in again.out
    (status,) = project.run("status", "last_payment", "--json", "--set", f"airflow.end={DAY_2[3]}").data["views"]
    assert (status["built"], status["position"], status["loaded"], status["holes"]) == (2, 2, 2, [])


def test_a_refused_interval_exits_1_with_the_rule(project: Project) -> None:
    outcome = project.run("build", "last_payment", *DAY_4, "--json")
    assert outcome.code == 1
    assert outcome.data["error"]["type"] == "GateRefusedError"
    assert "amount: between(0, 1000) (refuse): 1 of 1 rows fail" in outcome.err
    (status,) = project.run("status", "last_payment", "--json").data["views"]
    assert (status["refused"], status["last_run"]) == (1, "build refused")


def test_a_backfill_tells_what_it_built_and_what_remains(project: Project) -> None:
    ahead = ("backfill", "last_payment", *DAY_1[:2], *DAY_4[2:])
    planned = project.run(*ahead, "--dry-run", "--chunk", "2")
    assert "last_payment@1: 4 intervals in 2 builds; no run so far tells how long they take" in planned.out
    outcome = project.run(*ahead, "--chunk", "1", "--parallel", "2", "--json")
    assert (outcome.code, outcome.data["error"]["type"]) == (1, "BackfillError")
    # Side by side, whichever ends first is told first.
    builds = sorted(outcome.data["builds"], key=lambda build: build["start"])
    assert [(b["status"], b["rows"], b["intervals"]) for b in builds] == [
        ("built", 2, 1), ("built", 1, 1), ("empty", 0, 1),
    ]  # fmt: skip
    assert [f["type"] for f in outcome.data["failures"]] == ["GateRefusedError"]
    assert outcome.data["remaining"] == [{"start": "2024-01-04T00:00:00+00:00", "end": "2024-01-05T00:00:00+00:00"}]
    assert "done=3/4" in outcome.err
    assert "between(0, 1000)" in outcome.err
    assert project.run(*ahead, "--parallel", "99").code == 2


def test_a_transform_that_fails_while_it_runs_shows_no_stack(project: Project) -> None:
    outcome = project.run("build", "broken_payment", *DAY_1)
    assert outcome.code == 1
    assert "broken_payment" in outcome.err
    assert "boom" in outcome.err
    assert "Traceback" not in outcome.err
    assert "at org.apache" not in outcome.err


def test_a_training_set_is_saved_and_rebuilt(project: Project) -> None:
    project.run("build", "last_payment", *BOTH_DAYS)
    spine = pa.table({"customer": ["a", "b"], "event_timestamp": pa.array([at("2024-01-02 00:30")] * 2, UTC_MICROS)})
    pq.write_table(spine, project.folder / "spine.parquet")
    asked = ("training-set", "--features", "model", "--spine", "spine.parquet", "--name", "payments")
    saved = project.run(*asked, "--json")
    assert saved.code == 0, saved.err
    assert (saved.code, saved.data["reference"], saved.data["rows"]) == (0, "payments@1", 2)

    rebuilt = project.run("rebuild", "payments@1", "--output", "again", "--json")
    assert rebuilt.data["content_hash"] == saved.data["content_hash"]
    assert sorted(pq.read_table(project.folder / "again")["amount"].to_pylist()) == [1.0, 5.0]

    refused = project.run(*asked, "--output", "again")
    assert refused.code == 2
    assert "--output again exists" in refused.err
    missing = project.run("rebuild", "payment", "--json")
    assert "did you mean 'payments'?" in missing.data["error"]["message"]


def test_a_right_view_passes_its_test_and_leaves_nothing(project: Project) -> None:
    before = sorted(path for path in project.folder.rglob("*") if "__pycache__" not in path.parts)
    outcome = project.run("test", "last_payment", "--json")
    assert outcome.code == 0, outcome.err
    assert [part[1] for part in outcome.data["rows_by_interval"]] == [2, 1]
    assert (outcome.data["compared"], outcome.data["keys_read"], outcome.data["quarantined"]) == (True, 2, 0)
    assert {rule["column"] for rule in outcome.data["gate"]} >= {"amount", "customer"}
    assert outcome.data["sample"][0]["amount"] == 1.0
    assert sorted(path for path in project.folder.rglob("*") if "__pycache__" not in path.parts) == before


def test_a_view_that_looks_ahead_is_found(project: Project) -> None:
    outcome = project.run("test", "next_payment")
    assert outcome.code == 1
    assert "built together" in outcome.err
    assert "1 rows differ in 'amount', such as customer='a'" in outcome.err
    assert outcome.out == ""


def test_a_sample_may_stand_in_for_a_source(project: Project) -> None:
    days = [("z", "2024-05-01 10:00", 7.0), ("z", "2024-05-09 10:00", 8.0), ("z", "2024-05-10 10:00", 9.0)]
    write_payments(project.folder / "sample", days)
    sample = f"payments={project.folder / 'sample' / 'payments.parquet'}"
    outcome = project.run("test", "last_payment", "--source", sample)
    assert outcome.code == 0, outcome.err
    # The first neighbours with rows: May 1 has none beside it.
    assert "[2024-05-09T00:00:00+00:00, 2024-05-10T00:00:00+00:00)" in outcome.out


def test_a_view_without_a_schedule_is_one_interval(project: Project) -> None:
    write_payments(project.folder / "source", PAYMENTS[:3])
    outcome = project.run("test", "payment_once", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.data["compared"] is False
    assert [part[1] for part in outcome.data["rows_by_interval"]] == [3]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--source", "paymnts=x"), 2, "did you mean 'payments'?"),
        (("--source", "payments=gone.parquet"), 1, "nothing at"),
        (("--source", "payments"), 2, "--source takes"),
        (DAY_1, 2, "give two"),
        (DAY_1[:2], 2, "give both"),
    ],
)
def test_a_test_that_cannot_be_made_says_why(project: Project, words: tuple[str, ...], code: int, said: str) -> None:
    outcome = project.run("test", "last_payment", *words)
    assert outcome.code == code
    assert said in outcome.err


def test_commands_leave_a_spark_that_ran_before_them_alone(project: Project, spark: "SparkSession") -> None:
    project.run("build", "last_payment", *DAY_1)
    assert spark.range(3).count() == 3
