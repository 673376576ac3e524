"""Rollout by command: what each verb does, says and refuses."""

import sys
from datetime import timedelta

import pytest

from features.core.rollout_counts import ShadowCount, ViewRead
from features.registry import Registry
from features.registry.clock import utc_now
from tests.projects import PACKAGE, Project

TARGET = "cassandra://127.0.0.1:9042/features"
# Its address is all that these verbs ask of a store.
CASSANDRA = ("--set", "online.type=cassandra")


@pytest.fixture
def two(project: Project) -> Project:
    """A project whose view last_payment has two versions, both loaded into the Cassandra that is not there."""
    assert project.run("apply").code == 0
    _load(project, "last_payment@1")
    module = project.folder / PACKAGE / "__init__.py"
    # Another length: bytecode is told to be old by second and size.
    module.write_text(module.read_text().replace("minutes=30", "minutes=145"))
    sys.modules.pop(PACKAGE)
    assert project.run("apply").code == 0
    _load(project, "last_payment@2")
    return project


def _registry(project: Project) -> Registry:
    return Registry.open(f"sqlite:///{project.folder / '.state' / 'registry.db'}")


def _load(project: Project, reference: str) -> None:
    with _registry(project) as registry:
        registry.move_checkpoint(registry.view(reference), target=TARGET, position=1)


def test_promote_and_rollback_say_what_answers(two: Project) -> None:
    promoted = two.run("promote", "last_payment@2", *CASSANDRA)
    again = two.run("promote", "last_payment@2", *CASSANDRA)
    back = two.run("rollback", "last_payment", *CASSANDRA, "--json")

    assert promoted.out == "last_payment@2 is live\nbefore: last_payment@1 is live\n"
    assert again.out == "nothing to change: last_payment@2 is live\n"
    assert (back.code, back.data["changed"], back.data["after"]["live"]) == (0, True, 1)


def test_a_canary_is_given_in_percent(two: Project) -> None:
    canary = two.run("promote", "last_payment@2", "--canary", "2.5%", *CASSANDRA)
    wrong = two.run("promote", "last_payment@2", "--canary", "5", *CASSANDRA)

    assert canary.out.startswith("last_payment@1 is live, last_payment@2 in canary for 2.5% of the keys\n")
    assert (wrong.code, "write 5%" in wrong.err) == (2, True)


def test_what_speaks_against_a_promotion_is_told_and_can_be_overridden(two: Project) -> None:
    two.run("promote", "last_payment@2", *CASSANDRA)
    with _registry(two) as registry:
        registry.reset_checkpoint(registry.view("last_payment@1"), target=TARGET)

    refused = two.run("promote", "last_payment@1", *CASSANDRA)
    forced = two.run("promote", "last_payment@1", "--force", *CASSANDRA)

    assert (refused.code, "features load last_payment@1" in refused.err) == (1, True)
    assert forced.code == 0
    assert "overridden: it was never loaded" in forced.out


def test_a_shadow_is_shown_with_its_counts(two: Project) -> None:
    assert "last_payment@2 its shadow" in two.run("shadow", "last_payment@2", *CASSANDRA).out
    count = ShadowCount(view="last_payment", live=1, shadow=2, feature="amount", compared=71, different=3, missing=1)
    with _registry(two) as registry:
        registry.record_shadow([count])

    shown = two.run("rollout", "last_payment", *CASSANDRA)

    line = next(line for line in shown.out.splitlines() if "amount" in line)
    assert line.split()[:6] == ["1", "2", "amount", "71", "3", "1"]
    assert two.run("shadow", "last_payment", "--off", *CASSANDRA).code == 0


def test_rollout_shows_who_reads_what_and_that_training_takes_another_version(two: Project) -> None:
    read = ViewRead(view="last_payment", version=1, consumer="checkout", last_read_at=utc_now())
    with _registry(two) as registry:
        registry.record_reads([read])

    shown = two.run("rollout", "last_payment", *CASSANDRA)
    view = two.run("rollout", "last_payment", *CASSANDRA, "--json").data

    assert "training and builds take last_payment@2, serving answers from last_payment@1" in shown.out
    assert [(v["version"], v["roles"], v["loaded"]) for v in view["versions"]] == [
        (1, ["live"], 1),
        (2, ["current"], 1),
    ]
    assert [reader["consumer"] for reader in view["versions"][0]["readers"]] == ["checkout"]
    two.run("promote", "last_payment@2", *CASSANDRA)
    assert "training and builds" not in two.run("rollout", "last_payment", *CASSANDRA).out


def test_rollout_of_all_views_is_one_line_each(two: Project) -> None:
    two.run("promote", "last_payment@2", "--canary", "5%", *CASSANDRA)

    lines = two.run("rollout", *CASSANDRA).out.splitlines()
    views = two.run("rollout", "--json").data["views"]

    assert {view["rollout"]["view"]: view["rollout"]["share"] for view in views}["last_payment"] == 500
    assert [line.split() for line in lines[2:]] == [
        ["broken_payment", "2", "-", "-", "-", "2"],
        ["last_payment", "1", "2", "5%", "-", "2"],
        ["next_payment", "2", "-", "-", "-", "2"],
        ["payment_once", "2", "-", "-", "-", "2"],
    ]


def test_rollout_before_apply_says_what_to_do(project: Project) -> None:
    assert project.run("rollout").out == "no view is registered; run `features apply`\n"


def test_drop_names_who_reads_and_asks_for_yes(two: Project) -> None:
    read = ViewRead(view="last_payment", version=1, consumer="checkout", last_read_at=utc_now() - timedelta(hours=3))
    with _registry(two) as registry:
        registry.record_reads([read])
    live = two.run("drop", "last_payment@1", "--yes")
    two.run("promote", "last_payment@2", *CASSANDRA)

    read_lately = two.run("drop", "last_payment@1", "--yes")
    asked = two.run("drop", "last_payment@1", "--unread-for", "2h", *CASSANDRA)
    # The memory of a new process holds no table.
    done = two.run("drop", "last_payment@1", "--unread-for", "2h", "--yes", "--json")

    assert (live.code, "it is live" in live.err) == (1, True)
    assert (read_lately.code, "it was read by checkout at" in read_lately.err) == (1, True)
    assert (asked.code, "add --yes to drop it" in asked.err) == (2, True)
    assert (done.code, done.data["table"], done.data["dropped"]) == (0, "last_payment__v1", False)


def test_drop_without_a_version_is_wrong_usage(two: Project) -> None:
    for words in (("--yes",), ()):
        outcome = two.run("drop", "last_payment", *words)
        assert (outcome.code, "names no version" in outcome.err) == (2, True)


@pytest.mark.parametrize("text", ["7", "d", "7 days", "-1d", "1.5h"])
def test_text_that_is_no_duration_is_wrong_usage(project: Project, text: str) -> None:
    outcome = project.run("drop", "last_payment@1", f"--unread-for={text}")
    assert (outcome.code, "write 7d, 12h or 30min" in outcome.err) == (2, True)


@pytest.mark.parametrize("text", ["1", "101%", "x%", "1%%", "-1%"])
def test_a_limit_of_parity_is_given_in_percent(project: Project, text: str) -> None:
    outcome = project.run("parity", "last_payment@1", "last_payment@2", f"--max-different={text}")
    assert (outcome.code, "write it in percent" in outcome.err) == (2, True)
