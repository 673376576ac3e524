"""Rows read from bytes that another module of ours serialises, itself compared with the driver's serialisers."""

import math
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import DType
from features.core.arrow_types import arrow_type
from features.stores.base import OnlineRow
from features.stores.cells import encode_column
from features.stores.wire.frames import FrameError
from features.stores.wire.rows import RowReader

FIXED: dict[DType, st.SearchStrategy[Any]] = {
    DType.BOOL: st.booleans(),
    DType.INT32: st.integers(-(2**31), 2**31 - 1),
    DType.INT64: st.integers(-(2**63), 2**63 - 1),
    DType.FLOAT32: st.floats(width=32),
    DType.FLOAT64: st.floats(),
    DType.DATE: st.dates(),
    DType.TIMESTAMP: st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC, fold=0)),
    DType.VECTOR(3): st.lists(st.floats(width=32), min_size=3, max_size=3),
}
VARIABLE: dict[DType, st.SearchStrategy[Any]] = {
    DType.STRING: st.text(max_size=20),
    DType.BYTES: st.binary(max_size=20),
    DType.DECIMAL(38, 10): st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: decimal(n, 10)),
    DType.DECIMAL(5, 0): st.integers(-99_999, 99_999).map(lambda n: decimal(n, 0)),
    DType.ARRAY(DType.STRING): st.lists(st.text(max_size=5), max_size=4),
    DType.ARRAY(DType.DATE): st.lists(st.dates(), max_size=4),
    DType.ARRAY(DType.TIMESTAMP): st.lists(
        st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC, fold=0)), max_size=4
    ),
    DType.ARRAY(DType.DECIMAL(5, 2)): st.lists(st.integers(-99_999, 99_999).map(lambda n: decimal(n, 2)), max_size=4),
}
MICROS = st.integers(-(2**55), 2**55)


def decimal(unscaled: int, scale: int) -> Decimal:
    return Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -scale))


# By name: Hypothesis would print a DType with all that hangs on its class.
TYPES = {str(dtype): dtype for dtype in FIXED | VARIABLE}


def rows_of(types: dict[DType, st.SearchStrategy[Any]]) -> st.SearchStrategy[list[tuple[str, Any]]]:
    """Rows of some columns: the names of their types, and values that may be null."""
    columns = [st.tuples(st.just(str(dtype)), values | st.none()) for dtype, values in types.items()]
    return st.lists(st.one_of(columns), max_size=6)


def body_of(event: int, created: int, columns: list[tuple[DType, Any]], rows: int = 1) -> bytes:
    """A RESULT without metadata, as the server sends it."""
    cells = [struct.pack(">iqiq", 8, event, 8, created)]
    for dtype, value in columns:
        encoded = encode_column(pa.array([value], arrow_type(dtype)), dtype)
        data = encoded.data.tobytes()
        cells.append(struct.pack(">i", -1) if value is None else struct.pack(">i", len(data)) + data)
    return struct.pack(">iiii", 2, 4, 2 + len(columns), rows) + b"".join(cells if rows else [])


def read_by_key(dtypes: list[DType], body: bytes) -> dict[bytes | None, OnlineRow | None]:
    found: dict[bytes | None, OnlineRow | None] = {}
    RowReader(dtypes).read_by_key(body, into=found)
    return found


@pytest.mark.parametrize("types", [FIXED, FIXED | VARIABLE], ids=["fixed", "any"])
def test_what_was_serialised_is_read_again_to_the_bit(types):
    @settings(deadline=None)
    @given(MICROS, MICROS, rows_of(types))
    def check(event: int, created: int, drawn: list[tuple[str, Any]]) -> None:
        columns = [(TYPES[name], value) for name, value in drawn]
        row = RowReader([dtype for dtype, _ in columns]).read(body_of(event, created, columns))
        # By their text: NaN is NaN there, and -0.0 is not 0.0.
        assert repr(row) == repr(OnlineRow(event, created, tuple(value for _, value in columns)))

    check()


def test_a_null_and_a_longer_cell_that_make_up_for_each_other_are_told_apart():
    """The length of a row of fixed widths tells that nothing is null; of others it does not."""
    reader = RowReader([DType.INT64, DType.STRING])

    row = reader.read(body_of(1, 2, [(DType.INT64, None), (DType.STRING, "eightchr")]))

    assert row is not None
    assert row.values == (None, "eightchr")


def test_a_result_without_rows_is_no_row():
    body = body_of(1, 2, [(DType.FLOAT64, 1.0)], rows=0)

    assert RowReader([DType.FLOAT64]).read(body) is None
    assert read_by_key([DType.FLOAT64], body) == {}


@pytest.mark.parametrize("dtype", [DType.FLOAT64, DType.STRING])
def test_rows_of_many_keys_are_found_by_their_keys(dtype):
    values = [1.0, None, 2.0] if dtype == DType.FLOAT64 else ["", None, "é"]
    keys = [b"a", b"", b"longer than others"]
    cells = [body_of(at, -at, [(dtype, value)])[16:] for at, value in enumerate(values)]
    rows = [struct.pack(">i", len(key)) + key + row for key, row in zip(keys, cells, strict=True)]

    found = read_by_key([dtype], struct.pack(">iiii", 2, 4, 4, 3) + b"".join(rows))

    assert found == {
        key: OnlineRow(at, -at, (value,)) for at, (key, value) in enumerate(zip(keys, values, strict=True))
    }


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("types", [FIXED, FIXED | VARIABLE], ids=["fixed", "any"])
def test_rows_read_together_are_those_read_one_by_one(types, nulls):
    """Alike or not: keys of one length or several, nulls or none, more rows than are read in one call."""
    keys = st.one_of(st.binary(min_size=8, max_size=8), st.binary(max_size=70))

    @settings(deadline=None)
    @given(st.data(), st.lists(keys, max_size=6, unique=True) | st.just([b"%04d" % at for at in range(300)]))
    def check(data: st.DataObject, keys: list[bytes]) -> None:
        names = data.draw(st.lists(st.sampled_from([str(dtype) for dtype in types]), max_size=4))
        dtypes = [TYPES[name] for name in names]
        values = [types[dtype] | st.none() if nulls else types[dtype] for dtype in dtypes]
        drawn = data.draw(st.lists(st.tuples(*values), min_size=1, max_size=4))
        held = {key: list(zip(dtypes, drawn[at % len(drawn)], strict=True)) for at, key in enumerate(keys)}
        rows = {key: body_of(at, -at, columns) for at, (key, columns) in enumerate(held.items())}
        body = struct.pack(">iiii", 2, 4, 3 + len(dtypes), len(rows)) + b"".join(
            struct.pack(">i", len(key)) + key + row[16:] for key, row in rows.items()
        )
        found = read_by_key(dtypes, body)

        reader = RowReader(dtypes)
        assert repr(found) == repr({key: reader.read(row) for key, row in rows.items()})

    check()


@pytest.mark.parametrize(
    "body",
    [
        body_of(1, 2, [(DType.STRING, "abc")])[:-9],
        struct.pack(">iiii", 1, 4, 1, 1),
        struct.pack(">iiii", 2, 0, 1, 1),
    ],
    ids=["cut short", "another kind", "with metadata"],
)
def test_what_is_no_row_is_an_error_and_no_value(body):
    with pytest.raises(FrameError):
        RowReader([DType.STRING]).read(body)


def test_extremes_keep_their_bits():
    values = [(DType.FLOAT64, math.nan), (DType.FLOAT64, -0.0), (DType.DATE, date.max), (DType.TIMESTAMP, LAST)]

    row = RowReader([dtype for dtype, _ in values]).read(body_of(-1, 2**62, values))

    assert repr(row) == (
        f"OnlineRow(event_micros=-1, created_micros={2**62}, values=(nan, -0.0, {date.max!r}, {LAST!r}))"
    )


LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
