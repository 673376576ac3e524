import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from features import Check, DType, Feature
from features.core.canonical import applied_view, definition_hash, view_definition, view_metadata
from features.core.interval_checks import IntervalCheck
from features.errors import DefinitionError
from features.registry.changes import describe_metadata
from tests.builders import apply_view, make_view

CHECKS = [
    Check.row_count(min_ratio=0.5, max_ratio=2, over=7, severity="refuse"),
    Check.null_share("amount", max_increase=0.1),
    Check.mean("amount", max_deviations=4, over=30, min_intervals=10),
    Check.mean("amount", max_change=0.25),
    Check.freshness("payments", max_age=timedelta(hours=6)),
]


def test_checks_survive_the_registry_and_make_no_new_version() -> None:
    plain, checked = make_view(), make_view(checks=CHECKS)
    stored = json.loads(json.dumps(view_metadata(checked)))
    assert applied_view(view_definition(checked), stored, version=1).checks == tuple(CHECKS)
    assert definition_hash(view_definition(plain)) == definition_hash(view_definition(checked))
    # What an earlier release put into a registry has no such entry, and a view without checks must equal it.
    assert "checks" not in view_metadata(plain)
    assert apply_view(plain).checks == ()


def test_a_change_of_checks_is_told_in_words() -> None:
    plain, checked = view_metadata(make_view()), view_metadata(make_view(checks=[CHECKS[0], CHECKS[4]]))
    told = "row_count(*, max_ratio=2, min_ratio=0.5) over 7 refuse, freshness(payments, max_age=6 h) over 0 warn"
    assert describe_metadata(plain, json.loads(json.dumps(checked, sort_keys=True))) == (f"checks: none -> {told}",)
    assert describe_metadata(checked, plain)[0].endswith("-> none")


def wrong_checks() -> dict[str, tuple[Any, str]]:
    return {
        "quarantine": (
            lambda: Check.row_count(min_ratio=1, severity="quarantine"),
            "cannot be 'quarantine': the interval",
        ),
        "severity": (lambda: Check.row_count(min_ratio=1, severity="critical"), "must be one of 'warn', 'refuse'"),
        "no limit": (lambda: Check.row_count(), "give min_ratio, max_ratio or both"),
        "reversed": (lambda: Check.row_count(min_ratio=2, max_ratio=1), "must not be more than max_ratio, 1, got 2"),
        "negative": (lambda: Check.row_count(min_ratio=-1), "min_ratio must be a number, zero or more, got -1"),
        "infinite": (lambda: Check.null_share("amount", max_increase=float("inf")), "must be a number"),
        "two limits": (lambda: Check.mean("amount", max_deviations=1, max_change=1), "max_deviations or max_change"),
        "no mean limit": (lambda: Check.mean("amount"), "max_deviations or max_change"),
        "one mean": (lambda: Check.mean("amount", max_deviations=1, over=1), "one mean has no deviation"),
        "over": (lambda: Check.row_count(min_ratio=1, over=0), "over must be a whole number from 1 to 1000, got 0"),
        "least": (lambda: Check.row_count(min_ratio=1, over=3, min_intervals=4), "from 1 to 3, got 4"),
        "age": (lambda: Check.freshness("payments", max_age=timedelta(0)), "max_age must be positive"),
        "name": (lambda: Check.mean(7, max_change=1), "feature must be a name, got int"),  # type: ignore[arg-type]
    }


@pytest.mark.parametrize("case", wrong_checks())
def test_a_wrong_check_is_refused_where_it_is_written(case: str) -> None:
    write, message = wrong_checks()[case]
    with pytest.raises(DefinitionError, match=message):
        write()


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (Check.null_share("amuont", max_increase=0.1), "no feature 'amuont'; known: amount, name"),
        (Check.mean("name", max_change=1), "needs numbers; 'name' is string"),
        (Check.freshness("refunds", max_age=timedelta(hours=1)), "no source 'refunds'; known: payments"),
    ],
)
def test_a_check_of_what_the_view_lacks_is_refused(check: IntervalCheck, message: str) -> None:
    with pytest.raises(DefinitionError, match=rf"FeatureView 'last_payment': checks .*{message}"):
        make_view(features=[Feature("amount", DType.FLOAT64), Feature("name", DType.STRING)], checks=[check])


def write_suite(path: Path, *expectations: Any) -> str:
    path.write_text(json.dumps({"name": "payments", "expectations": list(expectations)}))
    return str(path)


def test_a_suite_is_kept_as_it_was_in_its_file_when_it_was_applied(tmp_path: Path) -> None:
    mean = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "amount", "min_value": 1}}
    view = make_view(suite=write_suite(tmp_path / "suite.json", mean))
    metadata = json.loads(json.dumps(view_metadata(view)))
    write_suite(tmp_path / "suite.json", {**mean, "severity": "warning"})
    applied = applied_view(view_definition(view), metadata, version=1)
    assert applied.suite is not None
    assert applied.suite.expectations == (mean,)
    (told,) = describe_metadata(metadata, view_metadata(view))
    assert told.count("suite.json (1 expectations") == 2
    assert definition_hash(view_definition(view)) == definition_hash(view_definition(make_view()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"suite '.*suite.json' cannot be read: No such file"),
        ("{", "is not JSON"),
        ('{"expectations": [{"type": "expect_x", "kwargs": {"min_value": NaN}}]}', "NaN is no number in JSON"),
        ('{"expectations": []}', "is no suite"),
        ("[]", "is no suite"),
        ('{"expectations": [{"kwargs": {}}]}', 'expectation 1 has no "type"'),
        ('{"expectations": [{"type": "expect_x", "kwargs": []}]}', '"kwargs" must be an object'),
        (
            '{"expectations": [{"type": "expect_x", "kwargs": {"column": "amuont"}}]}',
            r"expectation 1 \(expect_x\): no column 'amuont'; did you mean 'amount'",
        ),
        (
            '{"expectations": [{"type": "expect_x", "kwargs": {"column_list": ["amount", "nope"]}}]}',
            "no column 'nope'",
        ),
    ],
)
def test_a_file_that_is_no_suite_of_the_view_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "suite.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DefinitionError, match=rf"FeatureView 'last_payment': .*{message}"):
        view_metadata(make_view(suite=str(path)))
