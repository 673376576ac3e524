"""Statistics of a set's columns, gathered batch by batch while its files are written."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.core.times import format_instant

# A longer text tells nobody anything in a manifest.
_LONGEST = 200


@dataclass(slots=True)
class ColumnStatistics:
    """Of one column, so far: how many values are null and NaN, and the least, greatest and mean of all others.

    Numbers, times, dates, bools and texts have a least and greatest value; numbers and bools a mean, in float64, exact
    but for the rounding of sums. NaN counts in none of the three.
    """

    nulls: int = 0
    nans: int = 0
    least: Any = None
    greatest: Any = None
    total: float = 0.0
    counted: int = 0

    def update(self, column: pa.Array) -> None:
        """Take a batch's values in."""
        self.nulls += column.null_count
        kind = column.type
        if pa.types.is_floating(kind):
            nans = pc.sum(pc.is_nan(column)).as_py() or 0
            self.nans += nans
            if nans:
                column = column.filter(pc.invert(pc.is_nan(column)))
        if not _is_ordered(kind) or len(column) == column.null_count:
            return
        ends = _ends(column)
        if ends is not None:
            self._widen(*ends)
        if _is_counted(kind):
            self.counted += len(column) - column.null_count
            self.total += _sum(column)

    def merge(self, other: "ColumnStatistics") -> None:
        """Take in what another part of the same column has."""
        self.nulls += other.nulls
        self.nans += other.nans
        self.counted += other.counted
        self.total += other.total
        if other.least is not None:
            self._widen(other.least, other.greatest)

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it: {nulls, nans, min, max, mean}, None where there is none.

        Times are ISO strings, decimals strings, and so are infinities, which JSON has not.
        """
        mean = self.total / self.counted if self.counted else None
        return {
            "nulls": self.nulls,
            "nans": self.nans,
            "min": _plain(self.least),
            "max": _plain(self.greatest),
            "mean": _plain(mean),
        }

    def _widen(self, least: Any, greatest: Any) -> None:
        self.least = least if self.least is None or least < self.least else self.least
        self.greatest = greatest if self.greatest is None or greatest > self.greatest else self.greatest


def _ends(column: pa.Array) -> tuple[Any, Any] | None:
    try:
        found = pc.min_max(column).as_py()
    except (ValueError, OverflowError):
        # Spark has times beyond the year 9999, Python has not.
        return None
    return found["min"], found["max"]


def _is_ordered(kind: pa.DataType) -> bool:
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    return bool(is_text or is_time or _is_counted(kind))


def _is_counted(kind: pa.DataType) -> bool:
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(is_number or pa.types.is_boolean(kind))


def _sum(column: pa.Array) -> float:
    # Sums of integers and decimals could leave their type.
    return float(pc.sum(column if pa.types.is_floating(column.type) else column.cast(pa.float64(), safe=False)).as_py())


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, datetime):
        return format_instant(value if value.tzinfo is not None else value.replace(tzinfo=UTC))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, str) and len(value) > _LONGEST:
        return None
    return value
