"""Values of keys on their way back from the driver, and the one form of a decimal that a key may have."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from features.core.dtypes import DType
from features.core.times import from_micros

if TYPE_CHECKING:
    import pyarrow as pa

Convert = Callable[[Any], Any]

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def rescale(number: Decimal | int, dtype: DType) -> Decimal:
    """The same number, with the scale of its type; digits beyond it are kept, and then it equals no stored one."""
    sign, digits, exponent = Decimal(number).as_tuple()
    if not isinstance(exponent, int):
        return Decimal(number)
    missing = exponent + dtype.scale
    if missing >= 0:
        # Not quantize(): it rounds, and fails beyond the precision of the thread's context.
        return Decimal((sign, digits + (0,) * missing, -dtype.scale))
    if any(digits[missing:]):
        return Decimal(number)
    return Decimal((sign, digits[:missing] or (0,), -dtype.scale))


def read_value(dtype: DType) -> Convert:
    """The function that makes the Python value of a key column that the driver read, its instants as bigint."""
    if dtype.kind == "timestamp":
        return from_micros
    if dtype.kind == "date":
        return lambda day: date.fromordinal(day.days_from_epoch + _EPOCH_ORDINAL)
    return _same


def arrow_key_type(dtype: DType) -> "pa.DataType":
    """The Arrow type of a join key's column."""
    import pyarrow as pa

    simple = {
        "bool": pa.bool_(), "int32": pa.int32(), "int64": pa.int64(), "string": pa.string(), "bytes": pa.binary(),
        "date": pa.date32(), "timestamp": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    return pa.decimal128(dtype.precision, dtype.scale) if dtype.kind == "decimal" else simple[dtype.kind]


def _same(value: Any) -> Any:
    return value
