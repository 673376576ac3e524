"""The rules as Spark columns: the gate's own reading of them, which counts and splits off what fails."""

from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import Column, Window
from pyspark.sql import functions as F

from features.core.dtypes import DType
from features.quality.operands import allowed_values, between_limits
from features.quality.rules import Rule


def holds(rule: Rule) -> Column:
    """Whether a row satisfies the rule: true or false, never null; null values satisfy all rules but not_null."""
    value = F.col(rule.column)
    if rule.name == "not_null":
        return value.isNotNull()
    return F.coalesce(_CONDITIONS[rule.name](rule, value), F.lit(True))


def _between(rule: Rule, value: Column) -> Column:
    limits = between_limits(rule.dtype, *rule.expectation.arguments)
    if limits is None:
        return value.isNull()
    # Spark holds NaN to be greater than infinity, so that no upper limit admits it.
    low, high = (_literal(limit, rule.dtype) for limit in limits)
    return (_comparable(value, rule.dtype) >= low) & (_comparable(value, rule.dtype) <= high)


def _in_set(rule: Rule, value: Column) -> Column:
    allowed = [_literal(v, rule.dtype) for v in allowed_values(rule.dtype, rule.expectation.arguments)]
    return _comparable(value, rule.dtype).isin(allowed) if allowed else value.isNull()


def _matches(rule: Rule, value: Column) -> Column:
    return value.rlike(str(rule.expectation.arguments[0]))


def _unique(rule: Rule, value: Column) -> Column:
    alike = F.count(F.lit(1)).over(Window.partitionBy("_interval", rule.column))
    return value.isNull() | (alike == 1)


def _key_bytes(rule: Rule, value: Column) -> Column:
    return F.octet_length(value).between(*rule.expectation.arguments)


def _no_null_elements(_rule: Rule, value: Column) -> Column:
    return F.forall(value, lambda element: element.isNotNull())


def _length(rule: Rule, value: Column) -> Column:
    fits: Column = F.size(value) == rule.expectation.arguments[0]
    return value.isNull() | fits


_CONDITIONS: Mapping[str, Callable[[Rule, Column], Column]] = {
    "between": _between,
    "in_set": _in_set,
    "matches": _matches,
    "unique": _unique,
    "key_bytes": _key_bytes,
    "no_null_elements": _no_null_elements,
    "length": _length,
}


def _comparable(value: Column, dtype: DType) -> Column:
    """Times as whole numbers: literals of dates and timestamps depend on time zones and calendars."""
    if dtype.kind == "timestamp":
        return F.unix_micros(value)
    return F.unix_date(value) if dtype.kind == "date" else value


def _literal(value: Any, dtype: DType) -> Column:
    return F.lit(value).cast(dtype.spark) if dtype.kind == "decimal" else F.lit(value)
