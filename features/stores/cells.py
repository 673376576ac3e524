"""Columns of Arrow as Cassandra serialises their values: both ways of loading write these very bytes.

Everything is computed for whole columns: no value becomes a Python object on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.core.arrow_types import arrow_type
from features.core.dtypes import DType

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Kind to what Arrow's values are seen as, and to the server's form: big-endian.
_NUMBERS = {
    "bool": (pa.uint8(), "u1"), "int32": (pa.int32(), ">i4"), "int64": (pa.int64(), ">i8"),
    "float32": (pa.float32(), ">f4"), "float64": (pa.float64(), ">f8"), "date": (pa.int32(), ">u4"),
    "timestamp": (pa.int64(), ">i8"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cells:
    """The serialised values of a column, one after another.

    Attributes:
        data: all bytes.
        offsets: of n + 1 entries: value i is `data[offsets[i]:offsets[i + 1]]`.
        width: bytes of each value, where all have the same; a null then has a slot too, of zeros. None where lengths
            differ; a null then has no bytes.
        nulls: which values are null; None where none is.
    """

    data: Bytes
    offsets: Longs
    width: int | None = None
    nulls: Flags | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Longs:
        """Bytes of each value, 0 where it is null."""
        sizes = np.diff(self.offsets)
        return sizes if self.nulls is None or self.width is None else np.where(self.nulls, 0, sizes)


def encode_column(column: pa.Array | pa.ChunkedArray, dtype: DType) -> Cells:
    """The column as the server stores it, of CQL type `dtype.cql`.

    Numbers are big-endian, floats keep their bits (those of a NaN too), a decimal has the scale of its type, an instant
    is a bigint of microseconds, a vector its floats without lengths.

    Args:
        column: values of the DType in any Arrow type that becomes its own without loss; also sliced, chunked, or with
            a dictionary.
        dtype: the declared type.

    Raises:
        ValueError, TypeError, NotImplementedError: a value is none of the type: cut digits, broken UTF-8, an element
            that is null, a vector of another length. Arrow's own errors are subclasses of these.
    """
    array = _conformed(column, dtype)
    nulls = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if dtype.kind == "vector":
        return _vectors(array, nulls, dtype)
    if dtype.element is not None:
        return _lists(array, nulls, dtype.element)
    if dtype.kind in ("string", "bytes"):
        return _strings(array, nulls)
    if dtype.kind == "decimal":
        return _decimals(array, nulls, dtype.scale)
    return _numbers(array, nulls, dtype.kind)


def fixed(records: npt.NDArray[np.generic], nulls: Flags | None = None) -> Cells:
    """Cells of one width, of the memory of a contiguous array with one value, or one row, for each."""
    width = records.nbytes // len(records) if len(records) else records.itemsize * int(np.prod(records.shape[1:]))
    data = records.reshape(-1).view(np.uint8)
    return Cells(data=data, offsets=np.arange(len(records) + 1) * width, width=width, nulls=nulls)


def prefixed(prefixes: Bytes, cells: Cells, *, null_prefixes: bool = False) -> Cells:
    """The cells with some bytes before each value.

    Args:
        prefixes: one row for each cell, of shape (n, k).
        cells: what stands behind.
        null_prefixes: whether a null gets its prefix too and so becomes a value of that prefix alone; if not, it stays
            null.
    """
    count, length = prefixes.shape
    if cells.width is not None:
        records = _beside([prefixes, cells.data.reshape(count, cells.width)])
        if cells.nulls is None or not null_prefixes:
            return fixed(records, cells.nulls)
        kept = np.ones(records.shape, bool)
        kept[cells.nulls, length:] = False
        return Cells(data=records[kept], offsets=offsets_of(cells.sizes + length))
    has_prefix = np.ones(count, bool) if null_prefixes or cells.nulls is None else ~cells.nulls
    offsets = offsets_of(cells.sizes + length * has_prefix)
    data = np.empty(offsets[-1], np.uint8)
    places = (offsets[:-1][has_prefix, None] + np.arange(length)).reshape(-1)
    # The values stay in order, so they fill what the prefixes leave.
    rest = np.ones(offsets[-1], bool)
    rest[places] = False
    data[places] = prefixes[has_prefix].reshape(-1)
    data[rest] = cells.data
    return Cells(data=data, offsets=offsets, nulls=None if null_prefixes else cells.nulls)


def joined(columns: Sequence[Cells]) -> Cells:
    """For each row, the values of all columns one after another, without anything between; a null has no bytes."""
    count = len(columns[0])
    records = [
        column.data.reshape(count, column.width)
        for column in columns
        if column.width is not None and column.nulls is None
    ]
    if len(records) == len(columns):
        return fixed(_beside(records))
    rows = pc.binary_join_element_wise(*map(_as_arrow, columns), pa.scalar(b"", pa.large_binary()))
    return _strings(rows, None)


def offsets_of(sizes: npt.NDArray[np.integer]) -> Longs:
    """The n + 1 offsets of values of these sizes."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def big_endian(numbers: npt.NDArray[np.integer], kind: str) -> Bytes:
    """The bytes of integers, one row for each. kind: NumPy's name of their type, such as `>i4`."""
    stored = np.ascontiguousarray(numbers.astype(kind))
    return stored.view(np.uint8).reshape(len(numbers), stored.itemsize)


def _beside(blocks: Sequence[Bytes]) -> Bytes:
    """The columns of several matrices of equally many rows as one matrix."""
    whole = np.empty((len(blocks[0]), sum(block.shape[1] for block in blocks)), np.uint8)
    start = 0
    for block in blocks:
        width = block.shape[1]
        if whole.size and width:
            # As one item for each row: byte by byte it takes eight times as long.
            item = np.dtype((np.void, width))
            whole[:, start : start + width].view(item)[:, 0] = np.ascontiguousarray(block).view(item)[:, 0]
        start += width
    return whole


def _as_arrow(cells: Cells) -> pa.Array:
    """The same memory as binary values, nulls as empty ones."""
    if cells.width is not None and cells.nulls is not None:
        kept = np.repeat(~cells.nulls, cells.width)
        cells = Cells(data=cells.data[kept], offsets=offsets_of(cells.sizes))
    buffers = [None, pa.py_buffer(np.ascontiguousarray(cells.offsets)), pa.py_buffer(np.ascontiguousarray(cells.data))]
    return pa.Array.from_buffers(pa.large_binary(), len(cells), buffers)


def _conformed(column: pa.Array | pa.ChunkedArray, dtype: DType) -> pa.Array:
    """The column as one array of a plain type; strings may keep 64-bit offsets, instants their zone."""
    array = column
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    wanted = arrow_type(dtype)
    if dtype.kind in ("string", "bytes") and array.type in (pa.large_string(), pa.large_binary()):
        wanted = pa.large_string() if dtype.kind == "string" else pa.large_binary()
    if array.type != wanted:
        if dtype.kind == "timestamp" and pa.types.is_timestamp(array.type) and array.type.tz is None:
            raise TypeError("an instant needs a zone")
        array = array.cast(wanted)
    if dtype.kind == "string":
        # The server refuses broken UTF-8, but SSTables would take it.
        array.validate(full=True)
    return array


def _numbers(array: pa.Array, nulls: Flags | None, kind: str) -> Cells:
    seen_as, stored_as = _NUMBERS[kind]
    # Of one bit each, booleans cannot be looked at as bytes.
    plain = array.cast(seen_as) if kind == "bool" else array.view(seen_as)
    numbers = (plain if nulls is None else plain.fill_null(0)).to_numpy()
    if kind == "date":
        # Days count from 2^31 before 1970.
        numbers = numbers.view(np.uint32) ^ np.uint32(1 << 31)
        if nulls is not None:
            numbers[nulls] = 0
    return fixed(numbers.astype(stored_as), nulls)


def _strings(array: pa.Array, nulls: Flags | None) -> Cells:
    is_large = array.type in (pa.large_string(), pa.large_binary())
    _, places, content = array.buffers()
    if not len(array) or places is None:
        return Cells(data=np.empty(0, np.uint8), offsets=np.zeros(len(array) + 1, np.int64), nulls=nulls)
    ends = np.frombuffer(places, np.int64 if is_large else np.int32)
    offsets = ends[array.offset : array.offset + len(array) + 1].astype(np.int64)
    if nulls is not None and np.diff(offsets)[nulls].any():
        # Arrow lets a null cover bytes of no meaning.
        cleared = _strings(array.fill_null(""), None)
        return Cells(data=cleared.data, offsets=cleared.offsets, nulls=nulls)
    data = np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)
    return Cells(data=data[offsets[0] : offsets[-1]], offsets=offsets - offsets[0], nulls=nulls)


def _decimals(array: pa.Array, nulls: Flags | None, scale: int) -> Cells:
    """The scale in 4 bytes, then the unscaled number as the shortest two's complement."""
    count = len(array)
    little = np.frombuffer(array.buffers()[1] or b"", np.uint8).reshape(-1, 16)[array.offset : array.offset + count]
    records = np.empty((count, 20), np.uint8)
    records[:, :4] = big_endian(np.array([scale]), ">i4")
    records[:, 4:] = little[:, ::-1]
    # A byte that only repeats the sign says nothing, save the bit that shows the sign.
    digits = records[:, 4:] ^ np.where(records[:, 4] >= 0x80, 0xFF, 0).astype(np.uint8)[:, None]
    first = np.where(digits.any(axis=1), (digits != 0).argmax(axis=1), 15)
    needs_sign = digits[np.arange(count), first] >= 0x80
    first = first - needs_sign
    kept = np.ones((count, 20), bool)
    kept[:, 4:] = np.arange(16) >= first[:, None]
    if nulls is not None:
        kept[nulls] = False
    return Cells(data=records[kept], offsets=offsets_of(kept.sum(axis=1)), nulls=nulls)


def _vectors(array: pa.Array, nulls: Flags | None, dtype: DType) -> Cells:
    present = np.ones(len(array), bool) if nulls is None else ~nulls
    lengths = _lengths(array)[present]
    if (lengths != dtype.length).any():
        raise ValueError(f"{dtype} holds {dtype.length} elements, got {lengths[lengths != dtype.length][0]}")
    elements = _elements(array, DType.FLOAT32).data.reshape(-1, 4 * dtype.length)
    if nulls is None:
        return fixed(elements)
    records = np.zeros((len(array), 4 * dtype.length), np.uint8)
    records[present] = elements
    return fixed(records, nulls)


def _lists(array: pa.Array, nulls: Flags | None, element: DType) -> Cells:
    """The number of elements in 4 bytes, then the length of each in 4 bytes and the element."""
    lengths = _lengths(array)
    elements = _elements(array, element)
    sized = prefixed(big_endian(elements.sizes, ">i4"), elements)
    content = Cells(data=sized.data, offsets=sized.offsets[offsets_of(lengths)], nulls=nulls)
    return prefixed(big_endian(lengths, ">i4"), content)


def _lengths(array: pa.Array) -> Longs:
    lengths: Longs = array.value_lengths().fill_null(0).to_numpy().astype(np.int64)
    return lengths


def _elements(array: pa.Array, element: DType) -> Cells:
    """The elements of all lists that are not null, one after another."""
    elements = array.flatten()
    if elements.null_count:
        raise ValueError(f"a list of {element} holds no null elements")
    return encode_column(elements, element)
