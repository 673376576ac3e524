"""Rows as the server serialises them, made into Python values once, in one call where their widths allow it."""

import struct
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from features.core.dtypes import DType
from features.core.times import from_micros
from features.stores.base import OnlineRow
from features.stores.wire.frames import ROWS_START, FrameError, count_rows
from features.stores.wire.keys import DATE_OFFSET

_INT = struct.Struct(">i")
# Format of a scalar in `struct`, by the kind of its type.
_FORMATS = {"bool": "?", "int32": "i", "int64": "q", "float32": "f", "float64": "d", "timestamp": "q", "date": "I"}

# Others are read one by one: long keys are alike by chance, and each number of rows has a format of its own.
_MOST_KEY_BYTES, _MOST_ROWS = 64, 256

Convert = Callable[[Any], Any]


class RowReader:
    """Reads the answers of one table's SELECTs: event time, created time, then columns of these types.

    Not a value of a row is made before it is read, and where all columns have a fixed width and none is null, all are
    made in one call.
    """

    def __init__(self, types: Sequence[DType]) -> None:
        self._cells = [_INT64_CELL, _INT64_CELL, *(_read_cell(dtype) for dtype in types)]
        formats = ["q", "q", *(_fixed_format(dtype) for dtype in types)]
        widths = [form and struct.calcsize(f">{form}") for form in formats]
        # Each cell stands behind its length. Read one after another, lengths that are all as they should be prove that
        # no cell is null, and that each value was read from its place.
        self._fixed = struct.Struct(">" + "".join(f"i{form}" for form in formats)) if all(formats) else None
        self._widths = tuple(widths)
        converts = [(at, convert) for at, dtype in enumerate(types) if (convert := _converter(dtype)) is not None]
        self._converts = tuple(converts)

    def read(self, body: bytes) -> OnlineRow | None:
        """The row of a RESULT of at most one; None: it has none. Raises: FrameError: it is something else."""
        return self._read_row(body, ROWS_START)[0] if count_rows(body) else None

    def read_by_key(self, body: bytes, *, into: dict[bytes | None, OnlineRow | None]) -> None:
        """Adds the rows of a RESULT by what stands before each: the serialised key. Raises: FrameError: as `read`."""
        count = count_rows(body)
        if count and self._read_alike(body, count, into):
            return
        at = ROWS_START
        for _ in range(count):
            try:
                end = at + 4 + _INT.unpack_from(body, at)[0]
            except struct.error as exc:
                raise FrameError(f"rows of {len(body)} bytes cannot be read: {exc}") from exc
            key = body[at + 4 : end]
            into[key], at = self._read_row(body, end)

    def _read_alike(self, body: bytes, count: int, into: dict[bytes | None, OnlineRow | None]) -> bool:
        """Rows that all have the same widths, read in one call. False: these have not, and nothing was added."""
        fixed = self._fixed
        if fixed is None or count > _MOST_ROWS:
            return False
        width, rest = divmod(len(body) - ROWS_START, count)
        key_width = width - 4 - fixed.size
        if rest or not 0 < key_width <= _MOST_KEY_BYTES:
            return False
        cells = _rows_struct(fixed.format, key_width, count).unpack_from(body, ROWS_START)
        if cells[::2] != (key_width, *self._widths) * count:
            return False
        values, step, converts = cells[1::2], len(self._widths) + 1, self._converts
        for at in range(0, len(values), step):
            features = values[at + 3 : at + step]
            into[values[at]] = OnlineRow(
                values[at + 1], values[at + 2], self._converted(features) if converts else features
            )
        return True

    def _read_row(self, body: bytes, at: int) -> tuple[OnlineRow, int]:
        """A row, and where the next one begins."""
        fixed = self._fixed
        if fixed is not None and len(body) - at >= fixed.size:
            cells = fixed.unpack_from(body, at)
            if cells[::2] == self._widths:
                values = cells[5::2]
                if self._converts:
                    values = self._converted(values)
                return OnlineRow(cells[1], cells[3], values), at + fixed.size
        return self._read_cells(body, at)

    def _converted(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        changed = list(values)
        for place, convert in self._converts:
            changed[place] = convert(changed[place])
        return tuple(changed)

    def _read_cells(self, body: bytes, at: int) -> tuple[OnlineRow, int]:
        values: list[Any] = []
        try:
            for read in self._cells:
                length = _INT.unpack_from(body, at)[0]
                at += 4
                if length < 0:
                    values.append(None)
                    continue
                if at + length > len(body):
                    raise FrameError(f"a row of {len(body)} bytes ends within a cell of {length}")
                values.append(read(body[at : at + length]))
                at += length
        except struct.error as exc:
            raise FrameError(f"a row of {len(body)} bytes cannot be read: {exc}") from exc
        event, created, *features = values
        # A row's times are written with it; without them it is not one that a load wrote.
        return OnlineRow(event or 0, created or 0, tuple(features)), at


@lru_cache(maxsize=1024)
def _rows_struct(row_format: str, key_width: int, count: int) -> struct.Struct:
    """Of rows that follow each other, each behind its key."""
    return struct.Struct(">" + f"i{key_width}s{row_format.removeprefix('>')}" * count)


def _fixed_format(dtype: DType) -> str | None:
    # A vector's cell is its 32-bit floats, one behind the other.
    return f"{4 * dtype.length}s" if dtype.kind == "vector" else _FORMATS.get(dtype.kind)


def _converter(dtype: DType) -> Convert | None:
    """What makes the Python value of what `struct` read; None: it is one."""
    if dtype.kind == "timestamp":
        return from_micros
    if dtype.kind == "date":
        return _date
    if dtype.kind == "vector":
        form = struct.Struct(f">{dtype.length}f")
        return lambda data: list(form.unpack(data))
    return None


def _read_cell(dtype: DType) -> Callable[[bytes], Any]:
    """The function that makes the Python value of a serialised one that is not null."""
    if dtype.kind == "string":
        return bytes.decode
    if dtype.kind == "bytes":
        return bytes
    if dtype.kind == "decimal":
        return _decimal
    if dtype.kind == "array" and dtype.element is not None:
        return _list_reader(_read_cell(dtype.element))
    form, convert = struct.Struct(">" + (_fixed_format(dtype) or "")), _converter(dtype)
    if convert is None:
        return lambda data: form.unpack(data)[0] if data else None
    return lambda data: convert(form.unpack(data)[0]) if data else None


def _list_reader(read: Callable[[bytes], Any]) -> Callable[[bytes], list[Any]]:
    def read_list(data: bytes) -> list[Any]:
        items, at = [], 4
        for _ in range(_INT.unpack_from(data)[0]):
            length = _INT.unpack_from(data, at)[0]
            at += 4
            items.append(read(data[at : at + length]) if length >= 0 else None)
            at += max(length, 0)
        return items

    return read_list


def _decimal(data: bytes) -> Decimal:
    unscaled = int.from_bytes(data[4:], "big", signed=True)
    # Built from digits: arithmetic would round to the precision of the thread's context.
    digits = tuple(map(int, str(abs(unscaled))))
    return Decimal((int(unscaled < 0), digits, -_INT.unpack_from(data)[0]))


def _date(days: int) -> date:
    return date.fromordinal(days - DATE_OFFSET)


_INT64_CELL = _read_cell(DType.INT64)
