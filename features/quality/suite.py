"""The rules as a Great Expectations suite, and the batch that it judges.

An expectation of Great Expectations is used wherever it decides as the rule says; where it has none, or would convert
the arguments (it makes floats of all limits, and its results cannot hold bytes, dates or decimals), the batch carries a
probe: a column `_probe_N`, computed from the rule N, that a plain expectation judges.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.core.definitions import ViewSpec
from features.quality.conditions import holds
from features.quality.gx import load_great_expectations
from features.quality.operands import allowed_values, between_limits
from features.quality.rules import Rule, rules_of

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation import Expectation as GxExpectation

# Beyond, a double no longer tells neighbouring whole numbers apart.
_EXACT_IN_DOUBLE = 1 << 53


def build_suite(view: ViewSpec) -> "ExpectationSuite":
    """All rules of the view, one expectation each; `meta["rule"]` is the rule's number.

    Severity is "critical" for rules that refuse, "warning" for those that warn or quarantine.
    """
    expectations = [_expectation(rule) for rule in rules_of(view)]
    suite: ExpectationSuite = load_great_expectations().ExpectationSuite(name=view.name, expectations=expectations)
    return suite


def build_batch(rows: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """The rows with the probes that the suite of these rules needs."""
    return rows.select("*", *(_probe(rule).alias(_probe_name(rule)) for rule in rules if _needs_probe(rule)))


def _expectation(rule: Rule) -> "GxExpectation":
    kind, arguments = _probe_form(rule) if _needs_probe(rule) else _native_form(rule)
    expectation: GxExpectation = getattr(load_great_expectations().expectations, kind)(
        severity="critical" if rule.severity == "refuse" else "warning",
        meta={"rule": rule.number, "says": str(rule), "severity": rule.severity},
        **arguments,
    )
    return expectation


def _probe_form(rule: Rule) -> tuple[str, dict[str, Any]]:
    """The name and arguments of the expectation that judges the rule's probe."""
    if rule.name in ("key_bytes", "length"):
        low, high = rule.expectation.arguments[0], rule.expectation.arguments[-1]
        return "ExpectColumnValuesToBeBetween", {"column": _probe_name(rule), "min_value": low, "max_value": high}
    return "ExpectColumnValuesToBeInSet", {"column": _probe_name(rule), "value_set": [True]}


def _native_form(rule: Rule) -> tuple[str, dict[str, Any]]:
    """The name and arguments of the expectation that judges the rule's own column."""
    arguments = rule.expectation.arguments
    if rule.name == "between":
        low, high = between_limits(rule.dtype, *arguments) or (None, None)
        return "ExpectColumnValuesToBeBetween", {"column": rule.column, "min_value": low, "max_value": high}
    if rule.name == "in_set":
        allowed = list(allowed_values(rule.dtype, arguments))
        return "ExpectColumnValuesToBeInSet", {"column": rule.column, "value_set": allowed}
    if rule.name == "matches":
        return "ExpectColumnValuesToMatchRegex", {"column": rule.column, "regex": arguments[0]}
    if rule.name == "unique":
        together = ["_interval", rule.column]
        return "ExpectCompoundColumnsToBeUnique", {"column_list": together, "ignore_row_if": "any_value_is_missing"}
    return "ExpectColumnValuesToNotBeNull", {"column": rule.column}


def _needs_probe(rule: Rule) -> bool:
    return rule.name in ("key_bytes", "length", "no_null_elements") or not _has_native_arguments(rule)


def _probe(rule: Rule) -> Column:
    """The measured length for rules on lengths, whether the rule holds for the rest."""
    if rule.name == "key_bytes":
        return F.octet_length(rule.column)
    if rule.name == "length":
        return F.when(F.col(rule.column).isNotNull(), F.size(rule.column))
    return holds(rule)


def _has_native_arguments(rule: Rule) -> bool:
    plain = rule.dtype.kind not in ("decimal", "bytes", "date", "timestamp")
    if rule.name == "between":
        limits = between_limits(rule.dtype, *rule.expectation.arguments)
        return limits is not None and plain and all(abs(v) < _EXACT_IN_DOUBLE for v in limits)
    if rule.name == "in_set":
        values = allowed_values(rule.dtype, rule.expectation.arguments)
        finite = not rule.dtype.is_float or all(math.isfinite(v) for v in values)
        return bool(values) and finite and plain
    return True


def _probe_name(rule: Rule) -> str:
    return f"_probe_{rule.number}"
