"""`features erase`, as far as it goes without Spark."""

import pytest

from features.registry import Registry
from tests.projects import Project


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give one of --key, --keys-file and --resume"),
        (["--key", "customer=a", "--resume", "x"], "give one of"),
        (["--key", "customer=a"], "look with --dry-run, then add --yes"),
        (["--key", "customer", "--yes"], "--key takes NAME=VALUE"),
        (["--key", "shop=1", "--yes"], "shop are not the join keys of an entity; give all of one: customer (customer)"),
        (["--resume", "x", "--yes"], "no erasure 'x'; none was ever requested"),
        (["--resume", "x", "--dry-run"], "neither --entity nor --dry-run"),
        (["--keys-file", "none.csv", "--yes"], "the keys at none.csv cannot be read"),
    ],
)
def test_wrong_usage_is_told_and_nothing_is_recorded(project: Project, words: list[str], told: str) -> None:
    project.run("apply")
    outcome = project.run("erase", *words)
    assert (outcome.code, told in outcome.err) == (2, True), outcome.err
    assert project.run("erase", "--list").out.strip() == "nothing was erased"


def test_erasures_are_listed_without_keys(project: Project) -> None:
    project.run("apply")
    with Registry.open(f"sqlite:///{project.folder / '.state' / 'registry.db'}") as registry:
        erasure = registry.request_erasure(entity="customer", columns=["customer"], keys=[["victim"]])
    listed = project.run("erase", "--list")
    assert erasure.erasure_id in listed.out
    assert "victim" not in listed.out + project.run("erase", "--list", "--json").out
