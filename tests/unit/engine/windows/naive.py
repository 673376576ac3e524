"""Windows in slow, obvious, plain Python: what the kernel is checked against. Times are integers, null is None."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row of a source."""

    key: int
    event: int
    available: int
    value: Any
    counts: bool = True


def window(rows: Sequence[Row], key: int, *, time: int, visible: int, width: int, closed: str) -> list[Any]:
    """The values in one window, nulls left out, by (event, available, value)."""
    found = [
        row
        for row in rows
        if row.key == key
        and row.available <= visible
        and row.counts
        and row.value is not None
        and (time - width < row.event <= time if closed == "right" else time - width <= row.event < time)
    ]
    found.sort(key=lambda row: (row.event, row.available, order(row.value)))
    return [row.value for row in found]


def order(value: Any) -> Any:
    """What values are ordered by: NaN is the greatest."""
    return (math.isnan(value), 0.0 if math.isnan(value) else value) if isinstance(value, float) else value


def answer(function: str, values: list[Any], *, n: int | None = None, q: float | None = None) -> Any:
    """One aggregate of the values of one window."""
    if function == "count":
        return len(values)
    # The sketch is exact for as few values as drawn sources have.
    if function in ("count_distinct", "approx_count_distinct"):
        return len({order(value) for value in values})
    if not values:
        return None
    simple: dict[str, Callable[[], Any]] = {
        "sum": lambda: total(values),
        "mean": lambda: float(total(values)) / len(values),
        "stddev": lambda: deviation(values),
        "min": lambda: min(values, key=order),
        "max": lambda: max(values, key=order),
        "first": lambda: values[0],
        "last": lambda: values[-1],
        "last_n": lambda: values[-(n or 1) :],
        "percentile": lambda: sorted(values, key=order)[max(math.ceil(Fraction(repr(q)) * len(values)), 1) - 1],
    }
    return simple[function]()


def total(values: list[Any]) -> Any:
    """The exact sum, rounded once if it is a double."""
    if isinstance(values[0], Decimal):
        with localcontext(prec=60):
            return sum(values)
    if not isinstance(values[0], float):
        return sum(values)
    if not all(map(math.isfinite, values)):
        return sum(values)
    exact = sum(map(Fraction, values))
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def deviation(values: list[Any]) -> float | None:
    """The sample standard deviation, from fractions; None for fewer than two values."""
    if len(values) < 2:
        return None
    if isinstance(values[0], float) and not all(map(math.isfinite, values)):
        return math.nan
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1)
    # The root of a fraction as the root of an integer: its double may be too large or too small for math.sqrt.
    shift = 200 - (variance.numerator.bit_length() - variance.denominator.bit_length()) // 2
    scaled = variance * Fraction(4) ** shift
    root = Fraction(math.isqrt(scaled.numerator // scaled.denominator)) / Fraction(2) ** shift
    try:
        return float(root)
    except OverflowError:
        return math.inf
