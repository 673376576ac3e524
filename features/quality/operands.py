"""An expectation's arguments as values that a column of the feature's type compares with exactly.

Without this, Spark would widen both sides: an int64 beside 0.5 becomes a double, which merges neighbours past 2**53,
and a decimal of 38 digits loses some. An author who writes 0.1 for a FLOAT32 or DECIMAL feature means the value of that
type nearest to 0.1, so floats are rounded to 32 bits there, and taken by their shortest decimal spelling here.
"""

import math
import struct
import sys
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from features.core.dtypes import DType
from features.core.times import to_micros

_GREATEST_FLOAT32 = (2 - 2**-23) * 2.0**127
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def between_limits(dtype: DType, low: Any, high: Any) -> tuple[Any, Any] | None:
    """The least and the greatest value of the type within [low, high]; None where no value is.

    Floats for float types, Decimals of the type's scale, whole numbers for the rest: dates as days and timestamps as
    microseconds since 1970-01-01 UTC. A NaN limit admits nothing.
    """
    if _is_nan(low) or _is_nan(high):
        return None
    if dtype.is_float:
        return _nearest_float(low, dtype), _nearest_float(high, dtype)
    if dtype.kind in ("date", "timestamp"):
        return _to_number(low), _to_number(high)
    least, greatest = _unit_range(dtype)
    lowest = max(least, _to_units(low, dtype, math.ceil))
    highest = min(greatest, _to_units(high, dtype, math.floor))
    if lowest > highest:
        return None
    return _of_units(lowest, dtype), _of_units(highest, dtype)


def allowed_values(dtype: DType, values: Sequence[Any]) -> tuple[Any, ...]:
    """The values that a column of the type can hold, spelled as `between_limits` spells them; others never occur."""
    if dtype.is_float:
        floats = [_nearest_float(value, dtype) for value in values if not _is_past_floats(value, dtype)]
        # Spark's IN tells 0.0 from -0.0 when the list is long, and not when it is short.
        return tuple(floats + ([0.0, -0.0] if 0.0 in floats else []))
    if dtype.kind in ("date", "timestamp"):
        return tuple(_to_number(value) for value in values)
    if not dtype.is_numeric:
        return tuple(values)
    least, greatest = _unit_range(dtype)
    finite = [value for value in values if not _is_nan(value) and not _is_infinite(value)]
    exact = [u for u in (_to_fraction(value) * 10**dtype.scale for value in finite) if u.denominator == 1]
    return tuple(_of_units(int(u), dtype) for u in exact if least <= u <= greatest)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | Decimal) and math.isnan(value)


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float | Decimal) and value in (math.inf, -math.inf)


def _is_past_floats(value: Any, dtype: DType) -> bool:
    """Whether a finite value is nearer to infinity than to any finite float of the type."""
    if _is_nan(value) or _is_infinite(value):
        return False
    try:
        number = float(value)
        struct.pack("<f" if dtype.kind == "float32" else "<d", number)
    except OverflowError:
        return True
    return math.isinf(number)


def _nearest_float(value: Any, dtype: DType) -> float:
    """The finite float of the type nearest to a finite value: else a FLOAT32 limit of 1e300 would admit infinity."""
    if _is_past_floats(value, dtype):
        greatest = _GREATEST_FLOAT32 if dtype.kind == "float32" else sys.float_info.max
        return greatest if value > 0 else -greatest
    number = float(value)
    return float(struct.unpack("<f", struct.pack("<f", number))[0]) if dtype.kind == "float32" else number


def _to_number(value: date) -> int:
    return to_micros(value) if isinstance(value, datetime) else value.toordinal() - _EPOCH_DAY


def _to_fraction(value: Any) -> Fraction:
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def _to_units(value: Any, dtype: DType, rounding: Any) -> int:
    """The value in units of the type's last digit. Infinities become one unit past the type's range."""
    if _is_infinite(value):
        least, greatest = _unit_range(dtype)
        return greatest + 1 if value > 0 else least - 1
    return int(rounding(_to_fraction(value) * 10**dtype.scale))


def _unit_range(dtype: DType) -> tuple[int, int]:
    if dtype.kind == "decimal":
        return 1 - 10**dtype.precision, 10**dtype.precision - 1
    bits = int(dtype.kind.removeprefix("int"))
    return -(1 << bits - 1), (1 << bits - 1) - 1


def _of_units(units: int, dtype: DType) -> int | Decimal:
    return Decimal(f"{units}E-{dtype.scale}") if dtype.kind == "decimal" else units
