from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from features import DType, Expect, Feature
from features.core.expect import Expectation
from features.errors import DefinitionError

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("severity", ["warn", "quarantine", "refuse"])
def test_every_rule_has_a_severity(severity: str) -> None:
    rules = [
        Expect.not_null(severity=severity),
        Expect.between(0, 1, severity=severity),
        Expect.in_set([1], severity=severity),
        Expect.matches("a", severity=severity),
        Expect.unique(severity=severity),
    ]

    assert [rule.severity for rule in rules] == [severity] * 5


def test_a_rule_refuses_unless_it_says_otherwise() -> None:
    assert Expect.not_null().severity == "refuse"


def test_an_unknown_severity_is_refused_by_the_name_of_the_rule() -> None:
    with pytest.raises(DefinitionError, match=r"Expect.between: severity must be one of 'warn', .*, got 'fatal'"):
        Expect.between(0, 1, severity="fatal")


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (2, 1), ("a", "b"), (0, "b"), (None, 1), (date(2024, 1, 1), 5), (NOW, date(2024, 1, 1)),
        (NOW, NOW.replace(tzinfo=None)), (float("nan"), 1), (0, float("nan")), (Decimal("nan"), 1),
    ],
)  # fmt: skip
def test_limits_that_no_value_can_lie_between_are_refused(low: Any, high: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Expect.between\(.*needs two numbers or times, the lower first"):
        Expect.between(low, high)


# A set has no order of its own: its text would change with each process.
@pytest.mark.parametrize("values", [[], (), "abc", {"a", "b"}, None, 3])
def test_a_set_of_values_is_given_as_a_list(values: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Expect.in_set.*needs a list with at least one value"):
        Expect.in_set(values)


@pytest.mark.parametrize("regex", ["(", "*", None])
def test_a_regex_that_does_not_compile_is_refused(regex: Any) -> None:
    with pytest.raises(DefinitionError, match="not a regular expression"):
        Expect.matches(regex)


@pytest.mark.parametrize(
    ("dtype", "rule"),
    [
        (DType.INT32, Expect.between(-0.5, Decimal("1.5"))),
        (DType.INT32, Expect.between(0, 2**40)),
        (DType.DECIMAL(4, 2), Expect.between(0, 99.5)),
        (DType.FLOAT64, Expect.between(0, float("inf"))),
        (DType.DATE, Expect.between(date(2024, 1, 1), date(2024, 2, 1))),
        (DType.TIMESTAMP, Expect.in_set([NOW])),
        (DType.BYTES, Expect.in_set([b"a"])),
        (DType.BOOL, Expect.in_set([True])),
        (DType.STRING, Expect.matches("^a$")),
        (DType.VECTOR(2), Expect.not_null()),
        (DType.STRING, Expect.unique()),
    ],
    ids=str,
)
def test_rules_that_fit_a_type(dtype: DType, rule: Expectation) -> None:
    assert Feature("f", dtype, expect=rule).expectations == (rule,)


@pytest.mark.parametrize(
    ("dtype", "rule", "why"),
    [
        (DType.INT32, Expect.matches("a"), "needs a STRING feature, this one is int32"),
        (DType.ARRAY(DType.STRING), Expect.matches("a"), "needs a STRING feature"),
        (DType.VECTOR(2), Expect.between(0, 1), "cannot judge lists, this one is vector<2>"),
        (DType.ARRAY(DType.INT32), Expect.in_set([1]), "cannot judge lists"),
        (DType.ARRAY(DType.INT32), Expect.unique(), "cannot judge lists"),
        (DType.BOOL, Expect.between(0, 1), "needs values with an order, this one is bool"),
        (DType.BYTES, Expect.between(0, 1), "needs values with an order"),
        (DType.STRING, Expect.between(0, 1), "0 is not a string"),
        (DType.INT64, Expect.in_set([1, True]), "True is not a int64"),
        (DType.FLOAT64, Expect.in_set([1.5, "2"]), "'2' is not a float64"),
        (DType.DATE, Expect.between(NOW, NOW), "is not a date"),
        (DType.TIMESTAMP, Expect.between(NOW.replace(tzinfo=None), NOW.replace(tzinfo=None)), "is not a timestamp"),
        (DType.TIMESTAMP, Expect.between(0, 1), "0 is not a timestamp"),
        (DType.STRING, Expect.in_set(["a", None]), "None is not a string"),  # type: ignore[list-item]
    ],
    ids=str,
)
def test_rules_that_make_no_sense_for_a_type_are_refused(dtype: DType, rule: Expectation, why: str) -> None:
    with pytest.raises(DefinitionError, match=f"Feature 'f': expect .*{why}"):
        Feature("f", dtype, expect=[rule])
