"""Values of each DType in Arrow: one type each, the same online and in Spark, and Python values there and back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from features.core.dtypes import DType
from features.core.times import from_micros

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_type(dtype: DType) -> "pa.DataType":
    """The Arrow type of a DType: TIMESTAMP in microseconds and UTC, ARRAY and VECTOR as plain lists."""
    import pyarrow as pa

    if dtype.kind == "decimal":
        return pa.decimal128(dtype.precision, dtype.scale)
    if dtype.kind == "vector":
        return pa.list_(pa.field("element", pa.float32()))
    if dtype.element is not None:
        return pa.list_(pa.field("element", arrow_type(dtype.element)))
    scalars = {
        "bool": pa.bool_(), "int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(), "float64": pa.float64(),
        "string": pa.string(), "bytes": pa.binary(), "date": pa.date32(), "timestamp": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    return scalars[dtype.kind]


def to_arrow(values: Sequence[Any], dtype: DType) -> "pa.Array":
    """Python values, None for null, as an array of the type.

    Raises: pyarrow.ArrowInvalid, ArrowTypeError, OverflowError: a value is none of the type.
    """
    import pyarrow as pa

    # Without from_pandas a NaN stays one.
    return pa.array(values, type=arrow_type(dtype), from_pandas=False)


def to_python(array: "pa.Array", dtype: DType) -> list[Any]:
    """The values of an array of the type, None for null: instants as aware datetimes in UTC, lists as lists.

    Raises: OverflowError: an instant lies outside the years 1 to 9999.
    """
    import pyarrow as pa

    if dtype.kind == "timestamp":
        return [None if micros is None else from_micros(micros) for micros in array.cast(pa.int64()).to_pylist()]
    if dtype.element is not None and dtype.element.kind == "timestamp":
        lists = array.cast(pa.list_(pa.int64())).to_pylist()
        return [None if micros is None else [from_micros(m) for m in micros] for micros in lists]
    return list(array.to_pylist())
