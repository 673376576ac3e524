"""Columns as numbers that order as their values do, and back to Arrow."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.core.arrow_types import arrow_type
from features.core.dtypes import DType
from features.engine.windows.arrays import Floats, Ints, Mask, Rows

Values = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Series:
    """The values of one column that count, null ones left out, in the order of the rows.

    values: int64 or float64, ordered as the column's values are; -0.0 is 0.0 there, and NaN is one NaN, the greatest.
    kept: which of the rows they are; None for all. dictionary: what the values index, where the type is no number.
    halves: the low and high 64 bits of decimals, where they do not fit int64.
    """

    rows: Rows
    dtype: DType
    values: Values
    kept: Mask | None = None
    dictionary: "pa.Array | None" = None
    halves: tuple[npt.NDArray[np.uint64], Ints] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def nonfinite(self) -> bool:
        """Whether a value is NaN or infinite."""
        return self.values.dtype == np.float64 and not bool(np.isfinite(self.values).all())

    @cached_property
    def keys(self) -> Ints:
        """The key of each value."""
        return self.rows.keys if self.kept is None else self.rows.keys[self.kept]

    @cached_property
    def tied_by_value(self) -> Values:
        """The values, with those whose rows tie in (key, event, available) in ascending order."""
        run = self.rows.runs() if self.kept is None else self.rows.runs()[self.kept]
        ties = run[1:] == run[:-1]
        if not bool(ties.any()):
            return self.values
        tied = np.flatnonzero(np.append(ties, False) | np.append(False, ties))
        values = self.values.copy()
        values[tied] = values[tied[np.lexsort((values[tied], run[tied]))]]
        return values

    def decode(self, values: Values, present: Mask | None) -> "pa.Array":
        """Values of this series as an Arrow array of its dtype; null where `present` is false."""
        if self.dictionary is not None:
            return self.dictionary.take(pa.array(values, mask=None if present is None else ~present))
        return numbers_to_arrow(values, present, self.dtype)


def kept_rows(rows: Rows, column: str | None, where: str | None) -> Mask | None:
    """The rows that the filter `where` lets through and whose value of `column` is not null; None for all rows."""
    kept = None if where is None else rows.filters[where]
    if column is not None and rows.columns[column].null_count:
        valid: Mask = rows.columns[column].is_valid().to_numpy(zero_copy_only=False)
        kept = valid if kept is None else kept & valid
    return None if kept is None or bool(kept.all()) else kept


def series_of(rows: Rows, column: str, dtype: DType, kept: Mask | None) -> Series:
    """The values of a column in the rows that are kept, none of which is null."""
    array = rows.columns[column]
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if kept is not None:
        array = array.filter(pa.array(kept))
    return _ENCODERS.get(dtype.kind, _ranked)(Series(rows=rows, dtype=dtype, values=rows.keys, kept=kept), array)


def _whole(series: Series, column: "pa.Array") -> Series:
    narrow = column.cast(pa.int32()) if pa.types.is_date32(column.type) else column
    return replace(series, values=narrow.cast(pa.int64()).to_numpy())


def _moments(series: Series, column: "pa.Array") -> Series:
    return replace(series, values=column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64()).to_numpy())


def _bools(series: Series, column: "pa.Array") -> Series:
    return replace(series, values=column.cast(pa.int8()).cast(pa.int64()).to_numpy())


def _floats(series: Series, column: "pa.Array") -> Series:
    values: Floats = column.cast(pa.float64()).to_numpy() + 0.0  # turns -0.0 into 0.0
    missing = np.isnan(values)
    if missing.any():
        values[missing] = np.nan
    return replace(series, values=values)


def _decimals(series: Series, column: "pa.Array") -> Series:
    column = column.cast(pa.decimal128(series.dtype.precision, series.dtype.scale))
    low, high = decimal_halves(column)
    if bool((high == low.view(np.int64) >> 63).all()):
        return replace(series, values=low.view(np.int64))
    return replace(_ranked(series, column), halves=(low, high))


def _ranked(series: Series, column: "pa.Array") -> Series:
    """Values as places in the sorted dictionary of the column: strings and bytes by their bytes."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    dictionary = encoded.dictionary.take(order).cast(arrow_type(series.dtype))
    return replace(series, values=ranks[encoded.indices.to_numpy()], dictionary=dictionary)


_ENCODERS: dict[str, Callable[[Series, "pa.Array"], Series]] = {
    "bool": _bools, "int32": _whole, "int64": _whole, "date": _whole, "timestamp": _moments,
    "float32": _floats, "float64": _floats, "decimal": _decimals,
}  # fmt: skip


def decimal_halves(column: "pa.Array") -> tuple[npt.NDArray[np.uint64], Ints]:
    """The low and high 64 bits of each unscaled decimal128, in two's complement. The column holds no nulls."""
    words = np.frombuffer(column.buffers()[1] or b"", dtype=np.uint64).reshape(-1, 2)
    words = words[column.offset : column.offset + len(column)]
    return np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1]).view(np.int64)


def decimals_to_arrow(
    low: npt.NDArray[np.uint64], high: Ints, present: Mask | None, precision: int, scale: int
) -> "pa.Array":
    """The decimals whose unscaled values have these halves; null where `present` is false."""
    words = np.empty((len(low), 2), dtype=np.uint64)
    words[:, 0], words[:, 1] = low, high.view(np.uint64)
    return _from_buffer(words, len(low), present, pa.decimal128(precision, scale))


def numbers_to_arrow(values: Values, present: Mask | None, dtype: DType) -> "pa.Array":
    """Numbers that stand for values of a dtype (unscaled, days, microseconds) as Arrow; null where not present."""
    if dtype.kind == "decimal":
        return decimals_to_arrow(values.view(np.uint64), values >> 63, present, dtype.precision, dtype.scale)
    kind = arrow_type(dtype)
    if dtype.kind == "bool":
        return _from_buffer(np.packbits(values != 0, bitorder="little"), len(values), present, kind)
    stored = values.astype(f"{values.dtype.kind}{kind.bit_width // 8}", copy=False)
    return _from_buffer(stored, len(values), present, kind)


def _from_buffer(data: Values, length: int, present: Mask | None, kind: "pa.DataType") -> "pa.Array":
    validity = None if present is None or present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(kind, length, [validity, pa.py_buffer(np.ascontiguousarray(data))])
