"""The jobs: their arguments in process, and one real `spark-submit` for each way to end."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.embedded.jars import install_delta_jars
from features.embedded.spark_conf import install_spark_conf, link_spark_home
from jobs import backfill, build, load, materialize, training_set
from tests.builders import UTC_MICROS, at, write_payments
from tests.projects import PAYMENTS, Outcome, Project, make_project, open_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

ROOT = Path(__file__).parents[2]
DAY_1 = ("--start", "2024-01-01T00:00:00+00:00", "--end", "2024-01-02T00:00:00+00:00")
DAY_2 = ("--start", "2024-01-02T00:00:00+00:00", "--end", "2024-01-03T00:00:00+00:00")
DAY_4 = ("--start", "2024-01-04T00:00:00+00:00", "--end", "2024-01-05T00:00:00+00:00")


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for `spark-submit`, applied by the command that users type."""
    install_delta_jars()
    install_spark_conf()
    link_spark_home()
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    assert execute(folder, "features", "apply").code == 0
    return folder


def execute(folder: Path, program: str, *words: str) -> Outcome:
    """Run a program of this environment, which is not activated."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    for name in ("PYSPARK_PYTHON", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET", "SPARK_HOME"):
        environment.pop(name, None)
    command = [str(Path(sys.prefix, "bin", program)), *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)


def submit(folder: Path, job: str, *words: str) -> Outcome:
    """`spark-submit jobs/<job>.py ...`."""
    return execute(folder, "spark-submit", str(ROOT / "jobs" / f"{job}.py"), *words)


def test_a_submitted_build_reports_and_ends_with_0(submitted: Path) -> None:
    outcome = submit(submitted, "build", "--view", "last_payment", *DAY_1, "--env", "local")
    assert outcome.code == 0, outcome.err
    assert len(outcome.data.pop("run_id")) > 0
    found = outcome.data
    assert found.pop("run_id")
    assert found == {
        "job": "build", "view": "last_payment", "status": "built", "rows": 2, "corrections": 0, "retractions": 0,
        "quarantined": 0, "delta_version": 0, "position": 1,
    }  # fmt: skip
    # spark-submit joins a job's stderr to its stdout.
    assert "done: view=last_payment status=built rows=2" in outcome.out
    assert " INFO " not in outcome.err
    assert " WARN " not in outcome.err


def test_a_submitted_build_that_is_refused_exits_1_without_a_stack(submitted: Path) -> None:
    outcome = submit(submitted, "build", "--view", "last_payment", *DAY_4, "--env", "local")
    assert outcome.code == 1
    assert "amount: between(0, 1000) (refuse): 1 of 1 rows fail" in outcome.out
    assert outcome.data["error"]["type"] == "GateRefusedError"
    _assert_no_stack(outcome)


def test_a_submitted_transform_that_fails_in_a_task_exits_1_without_a_stack(submitted: Path) -> None:
    outcome = submit(submitted, "build", "--view", "broken_payment", *DAY_1, "--env", "local")
    assert outcome.code == 1
    assert "boom" in outcome.out
    _assert_no_stack(outcome)


def test_a_submitted_build_with_wrong_usage_exits_2(submitted: Path) -> None:
    outcome = submit(submitted, "build", "--view", "last_payment")
    assert outcome.code == 2
    assert "--start" in outcome.out
    _assert_no_stack(outcome)


@pytest.fixture
def project(
    spark: "SparkSession", in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Project]:
    """A project of the test's own, applied, for jobs in process."""
    for project in open_project(in_tmp, monkeypatch, capsys):
        assert project.run("apply").code == 0
        yield project


def test_materialize_builds_and_loads(project: Project) -> None:
    assert materialize.main(["--view", "last_payment@1", *DAY_1, "--conf", "conf"]) == 0
    told = json.loads(project.capsys.readouterr().out)
    assert (told["build"]["rows"], told["load"]["rows"], told["reprocessed"]) == (2, 2, [])


def test_materialize_tells_each_stage_in_a_line_and_leaves_loading_to_another_task(project: Project) -> None:
    assert materialize.main(["--view", "last_payment@1", *DAY_1, "--no-load", "--in-order"]) == 0
    printed = project.capsys.readouterr()
    assert json.loads(printed.out)["load"] is None
    stages = [line.partition(" ")[2] for line in printed.err.splitlines() if "view=last_payment@1" in line]
    assert [line.split()[0] for line in stages[:3]] == ["transformed", "judged", "built"]
    assert " rows_in=4 rows=2 " in stages[0]
    assert " rows_in=2 rows=2 quarantined=0 seconds=" in stages[1]
    assert " rows_in=2 rows=2 corrections=0 retractions=0 quarantined=0 delta_version=0 seconds=" in stages[2]
    assert " seconds_in_all=" in stages[2]


def test_materialize_reruns_the_intervals_before_it(project: Project) -> None:
    assert build.main(["--view", "last_payment", *DAY_1]) == 0
    late = [*PAYMENTS[1:3], ("a", "2024-01-01 10:00", 7.0), ("c", "2024-01-01 11:00", 8.0)]
    write_payments(project.folder / "source", late)
    project.capsys.readouterr()
    assert materialize.main(["--view", "last_payment", *DAY_2, "--reprocess", "1"]) == 0
    told = json.loads(project.capsys.readouterr().out)
    # The corrected row and the late one; the third of that day is as it was.
    assert [(again["corrections"], again["rows"]) for again in told["reprocessed"]] == [(1, 2)]


def test_a_backfill_builds_the_holes_and_exits_1_where_some_remain(project: Project) -> None:
    assert backfill.main(["--view", "last_payment", *DAY_1[:2], *DAY_2[2:], "--parallel", "2", "--chunk", "1"]) == 0
    told = json.loads(project.capsys.readouterr().out)
    assert [(b["status"], b["intervals"]) for b in told["builds"]] == [("built", 1), ("built", 1)]
    assert backfill.main(["--view", "last_payment", *DAY_1[:2], *DAY_4[2:], "--no-load"]) == 1
    printed = project.capsys.readouterr()
    assert [i["end"] for i in json.loads(printed.out)["remaining"]] == ["2024-01-05T00:00:00+00:00"]
    assert "between(0, 1000)" in printed.err


def test_a_load_of_a_view_that_was_never_built_loads_nothing(project: Project) -> None:
    assert load.main(["--view", "last_payment", "--full"]) == 0
    told = json.loads(project.capsys.readouterr().out)
    assert told == {"job": "load", "view": "last_payment", "rows": 0, "deleted": 0, "delta_version": None}


def test_a_training_set_is_extracted(project: Project) -> None:
    assert build.main(["--view", "last_payment", *DAY_1]) == 0
    spine = pa.table({"customer": ["a"], "event_timestamp": pa.array([at("2024-01-03")], UTC_MICROS)})
    pq.write_table(spine, project.folder / "spine.parquet")
    project.capsys.readouterr()
    words = ["--features", "model", "--spine", "spine.parquet", "--name", "payments", "--no-hold", "--output", "rows"]
    assert training_set.main(words) == 0
    told = json.loads(project.capsys.readouterr().out)
    assert (told["reference"], told["rows"], told["held"]) == ("payments@1", 1, False)
    assert pq.read_table(project.folder / "rows")["amount"].to_pylist() == [1.0]


def test_a_missing_source_exits_1_and_names_its_path(project: Project) -> None:
    (project.folder / "source").rename(project.folder / "moved")
    assert build.main(["--view", "last_payment", *DAY_1]) == 1
    printed = project.capsys.readouterr()
    assert str(project.folder / "source") in printed.err
    assert json.loads(printed.out)["error"]["type"] == "SourceError"
    _assert_no_stack(Outcome(code=1, out=printed.out, err=printed.err))


def test_a_renamed_source_column_exits_1_and_suggests_the_nearest(project: Project) -> None:
    file = project.folder / "source" / "payments.parquet"
    pq.write_table(pq.read_table(file).rename_columns(["customer", "paid_on", "amount"]), file)
    assert build.main(["--view", "last_payment", *DAY_1]) == 1
    assert "did you mean 'paid_on'?" in project.capsys.readouterr().err


@pytest.mark.parametrize("job", [backfill, build, load, materialize, training_set])
def test_a_job_without_arguments_exits_2(job: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.main([]) == 2  # type: ignore[attr-defined]
    assert "required" in capsys.readouterr().err


def _assert_no_stack(outcome: Outcome) -> None:
    for text in (outcome.out, outcome.err):
        assert "Traceback" not in text
        assert "at org.apache" not in text
        assert "py4j" not in text
