"""Expectations: what a feature's values must satisfy before they are published."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from features.core.checks import check_choice, fail
from features.core.dtypes import DType
from features.errors import DefinitionError

Scalar = bool | int | float | str | bytes | Decimal | date | datetime
SEVERITIES = ("warn", "quarantine", "refuse")


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """One rule on one feature. Nulls satisfy every rule but not_null; NaN satisfies no `between`.

    severity: "warn" publishes and reports; "quarantine" withholds the failing rows; "refuse" publishes nothing of the
        range.
    """

    rule: str
    arguments: tuple[Any, ...] = ()
    severity: str = "refuse"

    def __post_init__(self) -> None:
        check_choice(self.severity, SEVERITIES, owner=f"Expect.{self.rule}", field="severity")

    def __str__(self) -> str:
        return f"{self.rule}({', '.join(map(repr, self.arguments))})"

    def check_fits(self, dtype: DType, *, owner: str) -> None:
        """Raises DefinitionError where the rule makes no sense for values of the type."""
        if self.rule == "matches" and dtype.kind != "string":
            raise fail(owner, "expect", f"{self} needs a STRING feature, this one is {dtype}")
        if self.rule in ("between", "in_set", "unique") and dtype.is_list:
            raise fail(owner, "expect", f"{self} cannot judge lists, this one is {dtype}")
        if self.rule == "between" and dtype.kind in ("bool", "bytes"):
            raise fail(owner, "expect", f"{self} needs values with an order, this one is {dtype}")
        if self.rule in ("between", "in_set"):
            for value in self.arguments:
                integral_bound = (
                    dtype.is_numeric and isinstance(value, int | float | Decimal) and not isinstance(value, bool)
                )
                if not (dtype.accepts(value) or integral_bound):
                    raise fail(owner, "expect", f"{self}: {value!r} is not a {dtype}")


class Expect:
    """The rules that there are: `Expect.between(0, 1, severity="quarantine")`."""

    @staticmethod
    def not_null(*, severity: str = "refuse") -> Expectation:
        """No value is null."""
        return Expectation(rule="not_null", severity=severity)

    @staticmethod
    def between(low: Scalar, high: Scalar, *, severity: str = "refuse") -> Expectation:
        """Every value v has low <= v <= high."""
        if isinstance(low, str) or isinstance(high, str) or not _is_in_order(low, high):
            raise DefinitionError(f"Expect.between({low!r}, {high!r}): needs two numbers or times, the lower first")
        return Expectation(rule="between", arguments=(low, high), severity=severity)

    @staticmethod
    def in_set(values: Sequence[Scalar], *, severity: str = "refuse") -> Expectation:
        """Every value is one of these."""
        # Not a set: it has no order, so that its text would change from one process to the next.
        if not isinstance(values, list | tuple) or not values:
            raise DefinitionError(f"Expect.in_set({values!r}): needs a list with at least one value")
        return Expectation(rule="in_set", arguments=tuple(values), severity=severity)

    @staticmethod
    def matches(regex: str, *, severity: str = "refuse") -> Expectation:
        """Every value holds a match of the regular expression (anchor it with ^ and $ to match the whole)."""
        try:
            re.compile(regex)
        except (re.error, TypeError) as exc:
            raise DefinitionError(f"Expect.matches({regex!r}): not a regular expression: {exc}") from exc
        return Expectation(rule="matches", arguments=(regex,), severity=severity)

    @staticmethod
    def unique(*, severity: str = "refuse") -> Expectation:
        """No value occurs twice in one interval."""
        return Expectation(rule="unique", severity=severity)


def _is_in_order(low: Any, high: Any) -> bool:
    try:
        return bool(low <= high)
    # Of two kinds, such as a date and a number; a naive and an aware time; a Decimal that is no number.
    except (TypeError, InvalidOperation):
        return False
