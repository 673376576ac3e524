"""Verbs and jobs on a view that reads a view: at which version, what is missing, and a trial of both."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.stores.memory import MemoryStore
from jobs import build, materialize
from tests.builders import write_payments
from tests.projects import PACKAGE, Project, open_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAY_1 = ("--start", "2024-01-01T00:00:00Z", "--end", "2024-01-02T00:00:00Z")
DAY_2 = ("--start", "2024-01-02T00:00:00Z", "--end", "2024-01-03T00:00:00Z")
_VIEW = f"""
from datetime import timedelta
from features import DType, Feature, FeatureView, ViewSource
from features.functions import F, Window
from {PACKAGE} import CUSTOMER

def growth(last):
    # The payment before may be two days ago.
    before = F.lag("amount").over(Window.partitionBy("customer").orderBy("event_timestamp"))
    return last.select("customer", "event_timestamp", "available_timestamp", (F.col("amount") - before).alias("growth"))

GROWTH = FeatureView(
    name="growth", entities=[CUSTOMER], lookback=None, schedule="@daily", delay=timedelta(hours=1),
    sources=[ViewSource(name="last", view="last_payment", history=timedelta(days=2))], transform=growth,
    features=[Feature("growth", DType.FLOAT64)], description="by how much", owner="team@example.com")
"""


@pytest.fixture
def project(
    spark: "SparkSession", in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Project]:
    """A project with a view over one of its views, applied."""
    store = MemoryStore()
    monkeypatch.setattr("features.stores.opening.open_online_store", lambda settings, **_: store)
    for project in open_project(in_tmp, monkeypatch, capsys):
        (project.folder / PACKAGE / "growth.py").write_text(_VIEW)
        assert project.run("apply").code == 0
        yield project


def test_a_build_waits_for_what_it_reads_and_reads_the_version_that_it_is_told(project: Project) -> None:
    early = project.run("materialize", "growth", *DAY_1)
    assert (early.code, early.out) == (1, "")
    assert "run `features backfill last_payment --start 2024-01-01T00:00:00+00:00 --end 2024-01-02" in early.err

    for day in (DAY_1, DAY_2):
        assert project.run("build", "last_payment", *day).code == 0
    late = project.run("build", "growth", *DAY_2, "--upstream", "last_payment=0", "--json")
    assert (late.code, late.data["error"]["type"]) == (1, "UpstreamError")
    assert "read a later version: --upstream last_payment=N" in late.err
    first = project.run("materialize", "growth", *DAY_1, "--upstream", "last_payment=0", "--json")
    assert (first.data["build"]["rows"], first.data["load"]["rows"]) == (2, 2)
    assert build.main(["--view", "growth", *DAY_2, "--upstream", "last_payment@1=1"]) == 0
    assert materialize.main(["--view", "growth", *DAY_2, "--upstream", "last_payment=1"]) == 0

    read = project.run("get", "--features", "growth", "customer=a", "--json")
    assert read.data["rows"][0]["features"]["growth"]["value"] == 1.0
    for words in (["--upstream", "last_payment"], ["--upstream", "last_payment=new"], ["--upstream", "x=1"]):
        assert project.run("build", "growth", *DAY_2, *words).code == 2
    assert "1 local paths exist" in project.run("doctor").out


def test_a_trial_builds_what_is_read_from_its_own_source(project: Project) -> None:
    amounts = [("z", f"2024-05-{day:02d} 10:00", float(day**2)) for day in (1, 8, 9, 10)]
    write_payments(project.folder / "sample", amounts)
    # A sample is not fresh, nor complete: of what is read as of the view itself, only its rows are judged.
    views = project.folder / PACKAGE / "__init__.py"
    check = 'Check.freshness("payments", max_age=timedelta(hours=1), severity="refuse")'
    text = views.read_text().replace("import BatchSource,", "import BatchSource, Check,")
    views.write_text(text.replace("name=name, entities", f"checks=[{check}], name=name, entities"))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    outcome = project.run("test", "growth", "--source", f"payments={project.folder / 'sample' / 'payments.parquet'}")
    assert outcome.code == 0, outcome.err
    assert "[2024-05-08T00:00:00+00:00, 2024-05-09T00:00:00+00:00)" in outcome.out
    assert "built together and apart: the same rows" in outcome.out
    # Of the second day: the first one is its history.
    assert " 17.0" in outcome.out
