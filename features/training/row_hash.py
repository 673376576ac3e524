"""64-bit words of values, vectorised on Arrow arrays: equal values give equal words, whatever holds them.

Null, NaN and 0.0 differ; all NaN are one, and so are 0.0 and -0.0. Widths of integers, chunks, offsets, dictionaries
and the bytes under nulls play no part. Sums and products are modulo 2**64.

    mix(x)            the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014; constants of D. Stafford)
    G                 0x9E3779B97F4A7C15, SplitMix64's increment
    sequence(w1..wn)  mix(n + sum of mix(wk + k * G))
    word of a value   bool, integer, date (days), timestamp (its unit): two's complement
                      float: its bits, NaN as the quiet one
                      decimal: sequence(low, high) of its unscaled 128 bits
                      string (UTF-8), bytes: mix(length in bytes + sum of mix(wk + k * G)) over their 8-byte
                      little-endian words, the last padded with zeros
                      list: sequence of its elements' words; struct: of its fields'
                      map: mix(n + sum of mix(word of the entry as a struct)), so that their order plays no part
                      null inside a list, struct or map: mix(G)
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_EIGHT = 8


def mix(words: "Words") -> "Words":
    """SplitMix64's finalizer of each word, in place: a bijection in which every bit depends on every bit."""
    scratch = words >> _SHIFTS[0]
    words ^= scratch
    words *= _FIRST
    np.right_shift(words, _SHIFTS[1], out=scratch)
    words ^= scratch
    words *= _SECOND
    np.right_shift(words, _SHIFTS[2], out=scratch)
    words ^= scratch
    return words


def mix_one(word: int) -> int:
    """The same of one number."""
    return int(mix(np.array([word & _MASK], np.uint64))[0])


_NULL = np.uint64(mix_one(GOLDEN))


def words(array: pa.Array) -> "Words":
    """A word for each value, in an array of its own; whatever stands under nulls is not to be read.

    Raises: UsageError: a type that has no canonical form.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        indices = pc.fill_null(array.indices, 0) if array.null_count else array.indices
        known = words(array.dictionary)
        return known[indices.to_numpy(zero_copy_only=False)] if len(known) else np.zeros(len(array), np.uint64)
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.uint64)
    if pa.types.is_boolean(kind):
        return _integers(array.cast(pa.uint8()))
    if pa.types.is_floating(kind):
        return _floats(array)
    if pa.types.is_integer(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _integers(array)
    if pa.types.is_decimal(kind):
        return _decimals(array)
    return _of_any_length(array)


def _of_any_length(array: pa.Array) -> "Words":
    kind = array.type
    if pa.types.is_fixed_size_binary(kind) or str(kind).endswith("_view"):
        array = array.cast(pa.binary())
        kind = array.type
    if pa.types.is_binary(kind) or pa.types.is_string(kind):
        return _texts(array, np.int32)
    if pa.types.is_large_binary(kind) or pa.types.is_large_string(kind):
        return _texts(array, np.int64)
    if pa.types.is_map(kind):
        return _maps(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(array)
    if pa.types.is_struct(kind):
        return _structs(array)
    raise UsageError(f"values of type {kind} have no canonical form; cast or drop the column")


def _integers(array: pa.Array) -> "Words":
    width = array.type.bit_width // 8
    signed = not pa.types.is_unsigned_integer(array.type)
    held = _fixed(array, np.dtype(f"{'i' if signed else 'u'}{width}"))
    return held.astype(np.int64 if signed else np.uint64).view(np.uint64)


def _floats(array: pa.Array) -> "Words":
    width = array.type.bit_width // 8
    values = _fixed(array, np.dtype(f"f{width}")) + 0.0  # which makes 0.0 of -0.0, in an array of its own
    missing = np.isnan(values)
    if missing.any():
        values[missing] = np.nan
    return values.view(f"u{width}").astype(np.uint64, copy=False)


def _decimals(array: pa.Array) -> "Words":
    kind = array.type
    if kind.bit_width != 128:
        array = array.cast(pa.decimal128(kind.precision, kind.scale))
    halves = _fixed(array, np.dtype("V16")).view(np.uint64)
    return _sequence(halves.reshape(-1, 2))


def _fixed(array: pa.Array, dtype: "np.dtype[Any]") -> "NDArray[Any]":
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype, count=len(array), offset=array.offset * dtype.itemsize)


def _sequence(columns: "Words") -> "Words":
    """`sequence` of each row of a matrix."""
    count = columns.shape[1]
    places = _places(np.arange(1, count + 1, dtype=np.uint64))
    return mix(mix(columns + places).sum(axis=1, dtype=np.uint64) + np.uint64(count))


def _places(numbers: "Words") -> "Words":
    return numbers * np.uint64(GOLDEN)


def _texts(array: pa.Array, offset_type: type) -> "Words":
    _, offsets_buffer, data = array.buffers()
    if offsets_buffer is None or not len(array):
        return mix(np.zeros(len(array), np.uint64))
    size = np.dtype(offset_type).itemsize
    offsets: NDArray[Any] = np.frombuffer(offsets_buffer, offset_type, count=len(array) + 1, offset=array.offset * size)
    offsets = offsets.astype(np.int64, copy=False)
    start, lengths = offsets[0], np.diff(offsets)
    held = b"" if data is None else memoryview(data)[start : offsets[-1]]
    # Eight bytes more, so that the word at the last byte can be read.
    padded = np.zeros(len(held) + _EIGHT, np.uint8)
    padded[: len(held)] = np.frombuffer(held, np.uint8)
    at_each_byte = np.ndarray(len(held) + 1, np.dtype("<u8"), buffer=padded, strides=(1,))
    counts = -(-lengths // _EIGHT)
    ends = np.cumsum(counts)
    total = int(ends[-1])
    nth = np.arange(total, dtype=np.int64) - np.repeat(ends - counts, counts)
    parts = at_each_byte[np.repeat(offsets[:-1] - start, counts) + nth * _EIGHT].astype(np.uint64)
    unused = np.maximum(_EIGHT * (nth + 1) - np.repeat(lengths, counts), 0).astype(np.uint64) * np.uint64(_EIGHT)
    parts &= np.uint64(_MASK) >> unused
    parts += _places((nth + 1).astype(np.uint64))
    return mix(_sum_runs(mix(parts), ends) + lengths.astype(np.uint64))


def _lists(array: pa.Array) -> "Words":
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum(lengths)
    nth = np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64) - np.repeat(ends - lengths, lengths)
    parts = _nested(array.flatten()) + _places((nth + 1).astype(np.uint64))
    return mix(_sum_runs(mix(parts), ends) + lengths.astype(np.uint64))


def _maps(array: pa.MapArray) -> "Words":
    whole = pc.if_else(pc.is_valid(array), 1, 0).to_numpy(zero_copy_only=False)
    offsets = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    lengths = np.diff(offsets)
    first, last = int(offsets[0]), int(offsets[-1])
    keys, items = array.keys.slice(first, last - first), array.items.slice(first, last - first)
    entries = _sequence(np.stack([_nested(keys), _nested(items)], axis=1))
    lengths = np.where(whole, lengths, 0)
    return mix(_sum_runs(mix(entries), np.cumsum(np.diff(offsets))) + lengths.astype(np.uint64))


def _structs(array: pa.StructArray) -> "Words":
    fields = [_nested(array.field(place)) for place in range(array.type.num_fields)]
    return _sequence(np.stack(fields, axis=1)) if fields else mix(np.zeros(len(array), np.uint64))


def _nested(array: pa.Array) -> "Words":
    found = words(array)
    if array.null_count:
        found[pc.is_null(array).to_numpy(zero_copy_only=False)] = _NULL
    return found


def _sum_runs(parts: "Words", ends: "NDArray[np.int64]") -> "Words":
    """The sum of each run of parts, runs told by their ends; an empty run gives 0."""
    running = np.zeros(len(parts) + 1, np.uint64)
    np.cumsum(parts, out=running[1:])
    bounds = running[np.concatenate([np.zeros(1, np.int64), ends])]
    sums: Words = bounds[1:] - bounds[:-1]
    return sums
