"""The options of an extraction: what they stand for, and which do not go together."""

from argparse import ArgumentParser, Namespace
from datetime import timedelta
from typing import Any

import pytest

from features.cli.training_options import (
    add_extraction,
    check_extraction,
    parse_as_of,
    parse_duration,
    parse_splits,
)
from features.errors import UsageError
from features.training.splits import KeyHashSplit, TimeSplit
from tests.builders import at
from tests.projects import Project

SPINE = ("--features", "model", "--spine", "spine.parquet", "--name", "delays")


def options(*words: str) -> Namespace:
    parser = ArgumentParser()
    add_extraction(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (SPINE[2:], "--features is required"),
        (SPINE[:2], "one of --spine, --latest, --start and --end is required"),
        ((*SPINE, "--latest"), "not --spine and --latest"),
        ((*SPINE[:2], "--start", "2024-01-01T00:00Z", "--name", "x"), "--start and --end are required together"),
        ((*SPINE, "--at", "2024-01-01T00:00Z"), "--at is for reading without a spine"),
        (SPINE[:4], "--name is required to save"),
        (("--features", "model", "--latest", "--leakage-report"), "--leakage-report needs a --spine"),
        (
            ("--features", "v", "--start", "a", "--end", "b", "--full-feature-names"),
            "--full-feature-names: rows are of one view",
        ),
    ],
)
def test_options_that_do_not_go_together_are_told(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_extraction(options(*words))


@pytest.mark.parametrize(
    "words",
    [
        SPINE,
        (*SPINE[:4], "--dry-run"),
        (*SPINE[:4], "--leakage-report"),
        ("--features", "model", "--latest", "--at", "2024-01-01T00:00Z", "--name", "scoring"),
        ("--features", "v", "--start", "2024-01-01T00:00Z", "--end", "2024-01-02T00:00Z", "--name", "history"),
    ],
)
def test_options_that_make_sense_pass(words: tuple[str, ...]) -> None:
    check_extraction(options(*words))


def test_splits_are_written_as_pairs() -> None:
    by_time = parse_splits(options("--time-split", "train=2024-01-08T00:00Z,test=", "--gap", "1d12h"))
    assert by_time == TimeSplit(ends={"train": at("2024-01-08"), "test": None}, gap=timedelta(days=1, hours=12))
    by_key = parse_splits(
        options("--key-split", "train=0.8,test=0.2", "--split-keys", "user, shop", "--split-salt", "s")
    )
    assert by_key == KeyHashSplit(shares={"train": 0.8, "test": 0.2}, keys=("user", "shop"), salt="s")
    assert parse_splits(options()) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--time-split", "train=2024-01-08T00:00Z", "--key-split", "train=1"), "one split"),
        (("--time-split", "train"), "--time-split takes NAME=VALUE"),
        (("--time-split", "train=", "--gap", "week"), "'week' is not a duration"),
        (("--key-split", "train=most"), "'most' is not a share"),
        (("--key-split", "train=0.5"), "add up to"),
        (("--key-split", "train=1,train=1"), "--key-split train=1,train=1 names a part twice"),
        (("--time-split", "a=2024-01-08T00:00Z,a="), "names a part twice"),
        (("--key-split", "train=1", "--gap", "7d"), "--gap is between the parts of a --time-split"),
        (("--time-split", "train=", "--split-keys", "user"), "are of a --key-split"),
        (("--split-salt", "s"), "are of a --key-split"),
    ],
)
def test_a_wrong_split_is_told(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_splits(options(*words))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, None),
        ("3", 3),
        ("last=3,plane@2=0", {"last": 3, "plane@2": 0}),
        ("2024-01-01T00:00:00+00:00", "2024-01-01T00:00:00+00:00"),
    ],
)
def test_as_of_is_a_version_versions_or_a_moment(text: str | None, wanted: Any) -> None:
    assert parse_as_of(text) == wanted


def test_a_version_that_is_no_number_is_told() -> None:
    with pytest.raises(UsageError, match="'two' is not a Delta version"):
        parse_as_of("last=two")


@pytest.mark.parametrize("text", ["99999999999d", "9" * 5000 + "s"])
def test_a_duration_beyond_all_times_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="longer than all times there are"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "d", "7", "1.5d", "7d ", "-1d"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("training-set",), "--features is required"),
        (("training-set", "hold"), "which set?"),
        (("training-set", "save", "delays"), "one word too many"),
        (("training-set", "drop", "delays"), "invalid choice: 'drop'"),
        (("training-set", "show", "delays@x"), "write name or name@number"),
        (("training-set", "release", "delays"), "no training set 'delays'"),
    ],
)
def test_wrong_usage_of_saved_sets_exits_2(project: Project, words: tuple[str, ...], message: str) -> None:
    outcome = project.run(*words)
    assert outcome.code == 2
    assert message in outcome.err


def test_no_saved_set_is_told_as_such(project: Project) -> None:
    assert "no training set is saved" in project.run("training-set", "list").out
    assert project.run("training-set", "list", "--json").data == {"training_sets": []}
