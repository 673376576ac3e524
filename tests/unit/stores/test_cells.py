import math
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cassandra import cqltypes
from hypothesis import given, settings
from hypothesis import strategies as st

from features import DType
from features.core.arrow_types import arrow_type
from features.core.times import to_micros
from features.stores.cells import Cells, encode_column, fixed, joined, prefixed

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
DRIVER = {
    "bool": cqltypes.BooleanType, "int32": cqltypes.Int32Type, "int64": cqltypes.LongType,
    "float32": cqltypes.FloatType, "float64": cqltypes.DoubleType, "decimal": cqltypes.DecimalType,
    "string": cqltypes.UTF8Type, "bytes": cqltypes.BytesType, "date": cqltypes.SimpleDateType,
    "timestamp": cqltypes.LongType,
}  # fmt: skip


def number(unscaled: int, scale: int) -> Decimal:
    """A decimal of that scale, whatever the precision of the thread's context."""
    return Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -scale))


SCALARS: dict[DType, st.SearchStrategy[Any]] = {
    DType.BOOL: st.booleans(),
    DType.INT32: st.sampled_from([0, -1, -(2**31), 2**31 - 1]) | st.integers(-(2**31), 2**31 - 1),
    DType.INT64: st.sampled_from([0, -1, -(2**63), 2**63 - 1]) | st.integers(-(2**63), 2**63 - 1),
    DType.FLOAT32: st.sampled_from([math.nan, math.inf, -math.inf, -0.0]) | st.floats(width=32),
    DType.FLOAT64: st.sampled_from([math.nan, math.inf, -math.inf, -0.0]) | st.floats(),
    DType.DECIMAL(38, 10): st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: number(n, 10)),
    DType.DECIMAL(5, 2): st.integers(-99_999, 99_999).map(lambda n: number(n, 2)),
    DType.DECIMAL(38, 0): st.integers(0, 127).flatmap(
        lambda bit: st.sampled_from([s * 2**bit + d for s in (1, -1) for d in (-1, 0, 1)])
    ).filter(lambda n: abs(n) < 10**38).map(lambda n: number(n, 0)),
    DType.STRING: st.text(max_size=40),
    DType.BYTES: st.binary(max_size=40),
    DType.DATE: st.dates(),
    DType.TIMESTAMP: st.sampled_from([FIRST, LAST]) | st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC)),
}  # fmt: skip
COLUMNS = {
    **SCALARS,
    **{DType.ARRAY(dtype): st.lists(values, max_size=5) for dtype, values in SCALARS.items()},
    DType.VECTOR(1): st.lists(SCALARS[DType.FLOAT32], min_size=1, max_size=1),
    DType.VECTOR(3): st.lists(SCALARS[DType.FLOAT32], min_size=3, max_size=3),
}


def driver_type(dtype: DType) -> Any:
    if dtype.kind == "vector":
        return cqltypes.VectorType.apply_parameters(["FloatType", dtype.length], None)
    if dtype.element is not None:
        return cqltypes.ListType.apply_parameters([driver_type(dtype.element)])
    return DRIVER[dtype.kind]


def driver_bytes(value: Any, dtype: DType) -> bytes:
    """What cassandra-driver sends for a value."""
    return bytes(driver_type(dtype).serialize(driver_value(value, dtype), 5))


def driver_value(value: Any, dtype: DType) -> Any:
    if dtype.element is not None:
        return [driver_value(item, dtype.element) for item in value]
    return to_micros(value) if dtype.kind == "timestamp" else value


def values_of(cells: Cells) -> list[bytes | None]:
    data, nulls = cells.data.tobytes(), cells.nulls
    return [
        None if nulls is not None and nulls[at] else data[cells.offsets[at] : cells.offsets[at + 1]]
        for at in range(len(cells))
    ]


def encoded(values: Sequence[Any], dtype: DType) -> list[bytes | None]:
    return values_of(encode_column(pa.array(values, arrow_type(dtype)), dtype))


@pytest.mark.parametrize("dtype", COLUMNS, ids=str)
def test_every_value_has_the_bytes_that_the_driver_sends(dtype):
    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.none() | COLUMNS[dtype], max_size=12))
    def check(values: list[Any]) -> None:
        assert encoded(values, dtype) == [None if v is None else driver_bytes(v, dtype) for v in values]

    check()


@pytest.mark.parametrize("dtype", COLUMNS, ids=str)
def test_a_slice_and_chunks_are_encoded_like_their_values(dtype):
    @settings(deadline=None, max_examples=20)
    @given(st.lists(st.none() | COLUMNS[dtype], min_size=6, max_size=9), st.integers(0, 3), st.integers(0, 3))
    def check(values: list[Any], start: int, length: int) -> None:
        array = pa.array(values, arrow_type(dtype))
        expected = encoded(values, dtype)

        assert values_of(encode_column(array.slice(start, length), dtype)) == expected[start : start + length]
        chunks = pa.chunked_array([array.slice(0, start), array.slice(start)], array.type)
        assert values_of(encode_column(chunks, dtype)) == expected

    check()


@pytest.mark.parametrize("dtype", COLUMNS, ids=str)
def test_a_column_without_rows_or_without_values_is_one_without_bytes_to_read(dtype):
    assert encoded([], dtype) == []
    assert encoded([None, None], dtype) == [None, None]
    assert encode_column(pa.nulls(2), dtype).sizes.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (pa.large_string(), DType.STRING), (pa.string_view(), DType.STRING), (pa.large_binary(), DType.BYTES),
        (pa.binary_view(), DType.BYTES), (pa.dictionary(pa.int8(), pa.string()), DType.STRING),
        (pa.large_list(pa.string()), DType.ARRAY(DType.STRING)),
        (pa.list_(pa.large_string()), DType.ARRAY(DType.STRING)), (pa.list_(pa.float32(), 2), DType.VECTOR(2)),
        (pa.int8(), DType.INT64), (pa.float32(), DType.FLOAT64), (pa.decimal32(5, 1), DType.DECIMAL(7, 2)),
        (pa.timestamp("ns", "Asia/Tokyo"), DType.TIMESTAMP), (pa.timestamp("s", "UTC"), DType.TIMESTAMP),
    ],
    ids=str,
)  # fmt: skip
def test_other_spellings_of_a_type_are_encoded_as_the_type_itself(kind, dtype):
    samples: dict[str, list[Any]] = {
        "string": ["a", None, "", "Zo\u00eb"], "bytes": [b"\0", None, b"", b"ab"], "int64": [-128, None, 127],
        "float64": [0.5, None, math.inf], "decimal": [Decimal("-1.5"), None, Decimal("9999.9")],
        "timestamp": [datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), None], "vector": [[0.5, math.inf], None],
        "array": [["a", ""], None, []],
    }  # fmt: skip
    values = samples[dtype.kind]

    assert values_of(encode_column(pa.array(values, kind), dtype)) == encoded(values, dtype)


def test_bytes_below_a_null_are_never_written():
    content, ends = pa.py_buffer(b"abcdef"), pa.py_buffer(np.array([0, 2, 4, 6], np.int32))
    validity = pa.py_buffer(bytes([0b101]))
    strings = pa.Array.from_buffers(pa.string(), 3, [validity, ends, content])
    lists = pa.Array.from_buffers(pa.list_(pa.int32()), 3, [validity, ends], children=[pa.array(range(6), pa.int32())])

    assert values_of(encode_column(strings, DType.STRING)) == [b"ab", None, b"ef"]
    found = values_of(encode_column(lists, DType.ARRAY(DType.INT32)))
    assert found == encoded([[0, 1], None, [4, 5]], DType.ARRAY(DType.INT32))


def test_fixed_widths_give_a_null_a_slot_of_zeros():
    numbers = encode_column(pa.array([1, None, 3], pa.int32()).filter(pa.array([True, True, False])), DType.INT32)
    days = encode_column(pa.array([0, None], pa.date32()), DType.DATE)

    assert (numbers.width, numbers.data.tobytes()) == (4, b"\0\0\0\1\0\0\0\0")
    assert (numbers.sizes.tolist(), days.data.tobytes()) == ([4, 0], b"\x80\0\0\0\0\0\0\0")


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "reason"),
    [
        ([[1.0]], pa.list_(pa.float32()), DType.VECTOR(3), r"vector<3> holds 3 elements, got 1"),
        ([[1.0, None]], pa.list_(pa.float32()), DType.VECTOR(2), "no null elements"),
        ([["a", None]], pa.list_(pa.string()), DType.ARRAY(DType.STRING), "no null elements"),
        ([Decimal("1.005")], pa.decimal128(5, 3), DType.DECIMAL(5, 2), "data loss"),
        ([2**40], pa.int64(), DType.INT32, "not in range"),
        ([0], pa.timestamp("us"), DType.TIMESTAMP, "zone"),
        ([1], pa.timestamp("ns", "UTC"), DType.TIMESTAMP, "lose data"),
        (["a"], pa.string(), DType.INT32, "Failed to parse"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(values, kind, dtype, reason):
    with pytest.raises((ValueError, TypeError), match=reason):
        encode_column(pa.array(values, kind), dtype)


def test_broken_utf_8_is_refused_in_strings_and_in_lists_of_them():
    broken = pa.array([b"\xff"]).view(pa.string())
    lists = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), broken)

    for column, dtype in ((broken, DType.STRING), (lists, DType.ARRAY(DType.STRING))):
        with pytest.raises(ValueError, match="UTF8"):
            encode_column(column, dtype)


cells_with_and_without_nulls = st.sampled_from([DType.INT32, DType.STRING]).flatmap(
    lambda dtype: st.lists(st.none() | SCALARS[dtype], min_size=5, max_size=5).map(
        lambda values: encode_column(pa.array(values, arrow_type(dtype)), dtype)
    )
)


@given(cells_with_and_without_nulls)
def test_a_prefix_stands_before_each_value_and_before_nulls_where_asked(cells):
    prefixes = np.arange(10, dtype=np.uint8).reshape(5, 2)
    values = values_of(cells)

    for null_prefixes in (False, True):
        expected = [
            None if value is None and not null_prefixes else bytes([2 * at, 2 * at + 1]) + (value or b"")
            for at, value in enumerate(values)
        ]
        assert values_of(prefixed(prefixes, cells, null_prefixes=null_prefixes)) == expected


@given(st.lists(cells_with_and_without_nulls, min_size=1, max_size=3))
def test_joined_columns_are_the_bytes_of_each_row(columns):
    rows = zip(*map(values_of, columns), strict=True)

    assert values_of(joined(columns)) == [b"".join(value or b"" for value in row) for row in rows]
    assert values_of(joined([fixed(np.arange(3, dtype=">u2"))] * 2)) == [b"\0\0\0\0", b"\0\1\0\1", b"\0\2\0\2"]
