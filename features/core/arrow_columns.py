"""Bringing a column of any kind into the one Arrow type of a DType, without loss or not at all."""

from typing import TYPE_CHECKING, Any

from features.core.arrow_types import arrow_type, to_arrow
from features.core.dtypes import DType

if TYPE_CHECKING:
    import pyarrow as pa

# Arrow types that become another without loss, whatever the values; decimals and instants are judged by value.
_WIDENS = {
    "int32": {"int8", "int16", "uint8", "uint16"},
    "int64": {"int8", "int16", "int32", "uint8", "uint16", "uint32"},
    "float64": {"halffloat", "float"},
    "float32": {"halffloat"},
    "string": {"large_string", "string_view"},
    "bytes": {"large_binary", "binary_view"},
}
# The years 1 to 9999, beyond which neither Spark nor Python can go.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAY_MICROS = 86_400_000_000


def array_of(column: Any, dtype: DType) -> "pa.Array":
    """A pandas Series or an Arrow array as one Arrow array, of its own type; Python objects in that of the DType.

    A null is None, `pandas.NA` or NaT; a NaN is a value, also where NumPy has no other null.

    Raises: TypeError, ValueError, OverflowError: a value is none of the type.
    """
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.Array):
        return column
    import numpy as np

    if column.dtype == object:
        return to_arrow([_value(item, dtype) for item in column], dtype)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        # Of a Series of NumPy's, Arrow would take each NaN for null.
        return pa.array(column.to_numpy(), from_pandas=False)
    return array_of(pa.array(column), dtype)


def conform(array: "pa.Array", dtype: DType) -> "pa.Array":
    """The array in the type of the DType: narrower numbers widen, decimals and instants are cut nowhere.

    Raises: TypeError: it is of another type; ValueError: a value does not fit.
    """
    import pyarrow as pa

    wanted = arrow_type(dtype)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not _becomes(array.type, dtype):
        how = "give its times a zone" if pa.types.is_timestamp(array.type) and dtype.kind == "timestamp" else "cast it"
        raise TypeError(f"it is {array.type}, declared as {dtype}; {how}")
    found: pa.Array = array.cast(wanted) if array.type != wanted else array
    _check_values(found, dtype)
    return found


def _becomes(kind: "pa.DataType", dtype: DType) -> bool:
    """Whether a column of an Arrow type may be brought into the DType's."""
    import pyarrow as pa

    if pa.types.is_null(kind) or kind == arrow_type(dtype):
        return True
    if dtype.kind == "timestamp":
        return bool(pa.types.is_timestamp(kind) and kind.tz is not None)
    if dtype.kind == "decimal":
        return bool(pa.types.is_decimal(kind))
    if dtype.is_list:
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        return bool(is_list) and _becomes(kind.value_type, dtype.element or DType.FLOAT32)
    return str(kind) in _WIDENS.get(dtype.kind, ())


def _check_values(array: "pa.Array", dtype: DType) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if dtype.is_list:
        if array.flatten().null_count:
            raise ValueError(f"{dtype} holds no null elements")
        if dtype.kind == "vector":
            lengths = pc.unique(pc.drop_null(pc.list_value_length(array))).to_pylist()
            wrong = [length for length in lengths if length != dtype.length]
            if wrong:
                raise ValueError(f"{dtype} holds {dtype.length} elements, got {wrong[0]}")
        _check_values(array.flatten(), dtype.element or DType.FLOAT32)
    elif dtype.kind in ("date", "timestamp"):
        scale = 1 if dtype.kind == "date" else _DAY_MICROS
        span = pc.min_max(array.cast(pa.int32() if dtype.kind == "date" else pa.int64()))
        least, most = span["min"].as_py(), span["max"].as_py()
        if least is not None and (least < _FIRST_DAY * scale or most >= (_LAST_DAY + 1) * scale):
            raise ValueError(f"a {dtype} lies outside the years 1 to 9999")


def _value(item: Any, dtype: DType) -> Any:
    """A Python value, NumPy's brought to Python's, None for null. Raises: TypeError: it is none of the type."""
    import pandas as pd

    if item is None or item is pd.NA or item is pd.NaT:
        return None
    value = item.tolist() if hasattr(item, "tolist") else item
    if not dtype.accepts(value) or getattr(value, "nanosecond", False):
        raise TypeError(f"it holds a {type(value).__name__}, which is no {dtype}")
    return value
