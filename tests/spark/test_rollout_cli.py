"""A second version from its first build to the drop of the first one, by command."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.stores.memory import MemoryStore
from tests.projects import PACKAGE, Project, open_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAY_1 = ("--start", "2024-01-01T00:00:00Z", "--end", "2024-01-02T00:00:00Z")
DAY_2 = ("--start", "2024-01-02T00:00:00Z", "--end", "2024-01-03T00:00:00Z")
OLD = "def last_payment(payments):\n    return payments"
NEW = OLD + '.withColumn("amount", F.col("amount") * 2)'


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


def deploy(project: Project, before: str, after: str) -> None:
    """Replace code, as a release does."""
    module = project.folder / PACKAGE / "__init__.py"
    text = module.read_text()
    assert before in text
    module.write_text(text.replace(before, after))
    sys.modules.pop(PACKAGE)


def read(project: Project, features: str = "model") -> float | None:
    answer = project.run("get", "--features", features, "customer=a", "--json")
    assert answer.code == 0, answer.err
    value: float | None = answer.data["rows"][0]["features"]["amount"]["value"]
    return value


def test_a_version_is_built_compared_promoted_rolled_back_and_the_old_one_dropped(project: Project) -> None:
    project.run("materialize", "last_payment", *DAY_1)
    assert read(project) == 1.0

    deploy(project, OLD, NEW)
    assert "serving stays on version 1" in project.run("apply").out
    assert project.run("backfill", "last_payment", *DAY_1).code == 0
    assert (read(project), read(project, "last_payment@2")) == (1.0, 2.0)

    compared = project.run("parity", "last_payment@1", "last_payment@2")
    assert compared.code == 1
    assert "amount differs for 100% of the keys in both, more than 1%" in compared.out
    allowed = project.run("parity", "last_payment@1", "last_payment@2", "--max-different", "100%", "--json")
    assert (allowed.code, allowed.data["keys_both"], allowed.data["passed"]) == (0, 2, True)
    assert [f["first"]["mean"] * 2 for f in allowed.data["features"]] == [6.0]

    assert project.run("promote", "last_payment@2").code == 0
    assert read(project) == 2.0
    assert project.run("rollback", "last_payment").code == 0
    assert read(project) == 1.0

    # The release of before, beside the new one, goes on building what it defines.
    deploy(project, NEW, OLD)
    assert project.run("materialize", "last_payment@1", *DAY_2).code == 0
    assert read(project) == 2.0
    refused = project.run("build", "last_payment", *DAY_2)
    assert (refused.code, "is not that of last_payment@2" in refused.err) == (1, True)

    deploy(project, OLD, NEW)
    assert project.run("promote", "last_payment@2").code == 0
    dropped = project.run("drop", "last_payment@1", "--unread-for", "0min", "--yes", "--json")
    assert (dropped.code, dropped.data["dropped"]) == (0, True)
    assert project.run("get", "--features", "last_payment@1", "customer=a").code == 1
    assert project.run("load", "last_payment@1").code == 0
    assert (read(project, "last_payment@1"), read(project)) == (2.0, 2.0)
