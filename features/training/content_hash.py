"""The content hash of a training set: of the multiset of its rows, whatever their order, batches, files and engine.

Per column i (from 1), with the words of `row_hash` and all sums and products modulo 2**64:

    key    Ki = mix(i * G); multiplier Mi = mix(Ki) | 1; null pair Ni = mix(Ki + 1), N'i = mix(Ki + 2)
    cell   ci = mix(word + Ki)
    row    a = sum of ci, b = sum of ci * Mi; a null adds Ni to a, and N'i to b
    set    A = sum of mix(a) over rows, B = sum of mix(b)

and the hash is SHA-256 over the JSON of [[name, type] by column, rows, A, B]. Two sets that differ agree with a chance
of about 2**-64, unless somebody has built them to: it finds damage and drift, it is no signature.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import UsageError
from features.training.row_hash import GOLDEN, mix, mix_one, words

_MODULUS = 1 << 64
# What a slice of a column takes stays in the processor's cache through all steps.
_SLICE = 1 << 14
_SIMPLE = {
    pa.bool_(): "bool", pa.date32(): "date", pa.string(): "string", pa.large_string(): "string",
    pa.string_view(): "string", pa.binary(): "bytes", pa.large_binary(): "bytes", pa.binary_view(): "bytes",
    pa.null(): "null", pa.float32(): "float32", pa.float64(): "float64",
    **{getattr(pa, f"{sign}int{bits}")(): f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RowSums:
    """What is known of a part of a set; parts add up in any order."""

    rows: int = 0
    first: int = 0
    second: int = 0

    def __add__(self, other: "RowSums") -> "RowSums":
        return RowSums(
            self.rows + other.rows, (self.first + other.first) % _MODULUS, (self.second + other.second) % _MODULUS
        )


@dataclass(frozen=True, slots=True)
class _Column:
    key: np.uint64
    multiplier: np.uint64
    nulls: tuple[np.uint64, np.uint64]


def content_hash(schema: pa.Schema, sums: RowSums) -> str:
    """The hash of the set whose parts add up to `sums`, as 64 hexadecimal digits.

    Raises: UsageError: a column's type has no canonical form.
    """
    return hashlib.sha256(json.dumps([named_types(schema), sums.rows, sums.first, sums.second]).encode()).hexdigest()


def table_hash(table: pa.Table) -> str:
    """The content hash of a table in memory. Raises: UsageError: a column's type has no canonical form."""
    named_types(table.schema)
    sums = RowSums()
    for batch in table.to_batches():
        sums += sum_rows(batch, cuts=(batch.num_columns,))[0]
    return content_hash(table.schema, sums)


def sum_rows(batch: pa.RecordBatch, *, cuts: Sequence[int]) -> list[RowSums]:
    """The sums of a batch's rows, once for each cut: over its first so many columns; cuts ascend.

    Raises: UsageError: a column's type has no canonical form.
    """
    found = [RowSums() for _ in cuts]
    for start in range(0, batch.num_rows, _SLICE):
        part = batch.slice(start, _SLICE)
        found = [whole + piece for whole, piece in zip(found, _sum_slice(part, cuts), strict=True)]
    return found


def cells(array: pa.Array) -> np.ndarray:
    """Two words for each value, shape (2, n): equal where both values are null or the same, NaN like NaN."""
    first, second = np.zeros(len(array), np.uint64), np.zeros(len(array), np.uint64)
    _add_column(array, _column(1), first, second)
    return np.stack([first, second])


def named_types(schema: pa.Schema) -> list[list[str]]:
    """Name and canonical type of each column. Raises: UsageError: one has none; the message names the column."""
    return [[field.name, _named_type(field)] for field in schema]


def type_name(kind: pa.DataType) -> str:
    """The canonical name of a type, the same for each way in which Arrow can hold its values. Raises: UsageError."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    if pa.types.is_timestamp(kind):
        return ("timestamp" if kind.tz else "timestamp_ntz") + ("" if kind.unit == "us" else f"[{kind.unit}]")
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_map(kind):
        return f"map<{type_name(kind.key_type)},{type_name(kind.item_type)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"array<{type_name(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{','.join(f'{field.name}:{type_name(field.type)}' for field in kind)}>"
    raise UsageError(f"values of type {kind} have no canonical form; cast or drop the column")


def _named_type(field: pa.Field) -> str:
    try:
        return type_name(field.type)
    except UsageError as exc:
        raise UsageError(f"column {field.name!r}: {exc}") from exc


def _sum_slice(batch: pa.RecordBatch, cuts: Sequence[int]) -> list[RowSums]:
    first, second = np.zeros(batch.num_rows, np.uint64), np.zeros(batch.num_rows, np.uint64)
    found = []
    done = 0
    for cut in cuts:
        for place in range(done, cut):
            _add_column(batch.column(place), _column(place + 1), first, second)
        done = cut
        sums = (int(mix(lane.copy()).sum(dtype=np.uint64)) for lane in (first, second))
        found.append(RowSums(batch.num_rows, *sums))
    return found


def _add_column(array: pa.Array, column: _Column, first: np.ndarray, second: np.ndarray) -> None:
    cell = words(array)
    cell += column.key
    mix(cell)
    other = cell * column.multiplier
    if array.null_count:
        absent = pc.is_null(array).to_numpy(zero_copy_only=False)
        cell[absent], other[absent] = column.nulls
    first += cell
    second += other


@cache
def _column(number: int) -> _Column:
    key = mix_one(number * GOLDEN)
    return _Column(
        key=np.uint64(key),
        multiplier=np.uint64(mix_one(key) | 1),
        nulls=(np.uint64(mix_one(key + 1)), np.uint64(mix_one(key + 2))),
    )
