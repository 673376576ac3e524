"""Values on their way to the Cassandra driver and back. In tables, instants are bigint microseconds."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from features.core.dtypes import DType
from features.core.times import from_micros, to_micros

if TYPE_CHECKING:
    import pyarrow as pa

Convert = Callable[[Any], Any]

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
# The protocol counts the days of a `date` from 2^31 days before 1970, and the driver takes an int as it is.
_DATE_OFFSET = 1 << 31


def bind_column(column: "pa.Array | pa.ChunkedArray", dtype: DType) -> list[Any]:
    """An Arrow column, as Spark hands it over, as values that the driver binds. Null is None."""
    import pyarrow as pa

    scalar = dtype.element or dtype
    arrow = {"timestamp": pa.int64(), "date": pa.int32()}.get(scalar.kind)
    if arrow is None:
        return list(column.to_pylist())
    # Through Python's datetime a column takes ten times as long.
    numbers = column.cast(pa.list_(arrow) if dtype.is_list else arrow).to_pylist()
    if scalar.kind == "timestamp":
        return list(numbers)
    if dtype.is_list:
        return [None if days is None else [day + _DATE_OFFSET for day in days] for days in numbers]
    return [None if day is None else day + _DATE_OFFSET for day in numbers]


def bind_key(dtype: DType) -> Convert:
    """The function that makes a bound value of a Python value of a join key."""
    if dtype.kind == "timestamp":
        return to_micros
    if dtype.kind == "date":
        return lambda day: day.toordinal() - _EPOCH_ORDINAL + _DATE_OFFSET
    if dtype.kind == "decimal":
        # Partitions are found by the bytes of their key, and 1.5 and 1.50 differ in them.
        return lambda number: rescale(number, dtype)
    return _same


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
    """The function that makes the Python value of what the driver read; None stays None."""
    if dtype.element is not None:
        element = read_value(dtype.element)
        return lambda items: None if items is None else [element(item) for item in items]
    if dtype.kind == "timestamp":
        return lambda micros: None if micros is None else from_micros(micros)
    if dtype.kind == "date":
        return lambda day: None if day is None else date.fromordinal(day.days_from_epoch + _EPOCH_ORDINAL)
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
