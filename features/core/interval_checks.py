"""Checks that look back: what an interval as a whole must be, beside the intervals built before it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from features.core.checks import check_choice, check_duration, fail
from features.core.dtypes import DType
from features.errors import DefinitionError

# Column of a check that judges rows as such.
ALL_ROWS = "*"
_SEVERITIES = ("warn", "refuse")
_FEW = 3
_MOST = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalCheck:
    """One check of a view's intervals, each judged by itself against those before it.

    rule: "row_count", "null_share", "mean" or "freshness". column: a feature, a source (freshness), or "*" (row_count).
    limits: the arguments that bound it, by name: numbers, and a timedelta for max_age.
    over: how many intervals before it, the latest that were built, it is compared with; 0: none (freshness).
    min_intervals: with fewer of them it holds, and its result says so.
    severity: "warn" publishes and reports; "refuse" publishes nothing of the range.
    """

    rule: str
    column: str
    limits: Mapping[str, Any]
    over: int = 0
    min_intervals: int = 0
    severity: str = "warn"

    def __post_init__(self) -> None:
        me = f"Check.{self.rule}"
        object.__setattr__(self, "limits", MappingProxyType(dict(self.limits)))
        if self.severity == "quarantine":
            raise fail(me, "severity", "cannot be 'quarantine': the interval fails, not some of its rows; use 'refuse'")
        check_choice(self.severity, _SEVERITIES, owner=me, field="severity")
        if self.rule != "freshness":
            _check_count(self.over, _MOST, owner=me, field="over")
            _check_count(self.min_intervals, self.over, owner=me, field="min_intervals")

    def __str__(self) -> str:
        limits = [f"{name}={_show(value)}" for name, value in self.limits.items()]
        return f"{self.rule}({', '.join([*limits, *([f'over={self.over}'] if self.over else [])])})"

    def check_fits(self, features: Mapping[str, DType], sources: Sequence[str], *, owner: str) -> None:
        """Raises DefinitionError where a view of these features and sources has nothing that it could judge."""
        if self.rule == "freshness":
            if self.column not in sources:
                raise fail(owner, "checks", f"{self}: no source {self.column!r}; known: {', '.join(sources)}")
        elif self.rule != "row_count":
            if self.column not in features:
                raise fail(owner, "checks", f"{self}: no feature {self.column!r}; known: {', '.join(features)}")
            if self.rule == "mean" and not features[self.column].is_numeric:
                raise fail(owner, "checks", f"{self} needs numbers; {self.column!r} is {features[self.column]}")


class Check:
    """The checks that there are: `Check.row_count(min_ratio=0.5, severity="refuse")`."""

    @staticmethod
    def row_count(
        *,
        min_ratio: float | None = None,
        max_ratio: float | None = None,
        over: int = 7,
        min_intervals: int | None = None,
        severity: str = "warn",
    ) -> IntervalCheck:
        """The number of rows is within these multiples of the median of the `over` intervals before."""
        given = {
            name: value for name, value in (("min_ratio", min_ratio), ("max_ratio", max_ratio)) if value is not None
        }
        if not given:
            raise fail("Check.row_count", "limits", "are missing; give min_ratio, max_ratio or both")
        for name, value in given.items():
            _check_limit(value, owner="Check.row_count", field=name)
        if min_ratio is not None and max_ratio is not None and min_ratio > max_ratio:
            raise fail("Check.row_count", "min_ratio", f"must not be more than max_ratio, {max_ratio}, got {min_ratio}")
        return _compared("row_count", ALL_ROWS, given, over, min_intervals, severity)

    @staticmethod
    def null_share(
        feature: str, *, max_increase: float, over: int = 7, min_intervals: int | None = None, severity: str = "warn"
    ) -> IntervalCheck:
        """The share of nulls, 0 to 1, is at most this much above the median share of the `over` intervals before."""
        _check_limit(max_increase, owner="Check.null_share", field="max_increase")
        return _compared("null_share", feature, {"max_increase": max_increase}, over, min_intervals, severity)

    @staticmethod
    def mean(
        feature: str,
        *,
        max_deviations: float | None = None,
        max_change: float | None = None,
        over: int = 7,
        min_intervals: int | None = None,
        severity: str = "warn",
    ) -> IntervalCheck:
        """The mean of a numeric feature is near the means of the `over` intervals before. One limit is given.

        Args:
            feature: nulls, NaN and infinities do not count.
            max_deviations: how many sample standard deviations of those means it may lie from their average.
            max_change: how far it may lie from their median, as a share of that.
            over, min_intervals, severity: see IntervalCheck.
        """
        given = {"max_deviations": max_deviations, "max_change": max_change}
        limits = {name: value for name, value in given.items() if value is not None}
        if len(limits) != 1:
            raise fail("Check.mean", "limits", "must be one: max_deviations or max_change")
        ((name, value),) = limits.items()
        _check_limit(value, owner="Check.mean", field=name)
        check = _compared("mean", feature, limits, over, min_intervals, severity)
        if max_deviations is not None and check.min_intervals < 2:
            raise fail("Check.mean", "min_intervals", "must be 2 or more: one mean has no deviation")
        return check

    @staticmethod
    def freshness(source: str, *, max_age: timedelta, severity: str = "warn") -> IntervalCheck:
        """At the interval's end the newest row of a source is at most so old, by its available time."""
        check_duration(max_age, owner="Check.freshness", field="max_age", positive=True)
        return IntervalCheck(rule="freshness", column=source, limits={"max_age": max_age}, severity=severity)


def _compared(
    rule: str, column: Any, limits: Mapping[str, float], over: int, min_intervals: int | None, severity: str
) -> IntervalCheck:
    if not isinstance(column, str):
        raise DefinitionError(f"Check.{rule}: feature must be a name, got {type(column).__name__}")
    _check_count(over, _MOST, owner=f"Check.{rule}", field="over")
    least = min(_FEW, over) if min_intervals is None else min_intervals
    return IntervalCheck(
        rule=rule, column=column, limits=limits, over=over, min_intervals=least, severity=severity
    )  # fmt: skip


def _check_count(value: Any, most: int, *, owner: str, field: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise fail(owner, field, f"must be a whole number from 1 to {most}, got {value!r}")


def _check_limit(value: Any, *, owner: str, field: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise fail(owner, field, f"must be a number, zero or more, got {value!r}")


def _show(value: float | timedelta) -> str:
    return str(value) if isinstance(value, timedelta) else repr(value)
