"""The content hash against its formula in plain Python, word by word, and against what must not or must change it."""

import hashlib
import json
import struct
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import UsageError
from features.training.content_hash import RowSums, cells, content_hash, sum_rows, table_hash

MODULUS = 1 << 64
GOLDEN = 0x9E3779B97F4A7C15


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % MODULUS
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % MODULUS
    return x ^ (x >> 31)


def sequence(parts: list[int], length: int) -> int:
    return mix((length + sum(mix((w + (k + 1) * GOLDEN) % MODULUS) for k, w in enumerate(parts))) % MODULUS)


def word(value: Any, kind: pa.DataType) -> int:
    """The word of a value, as the module's docstring says it."""
    if value is None:
        return mix(GOLDEN)
    if pa.types.is_floating(kind):
        value = float("nan") if value != value else value + 0.0
        return int.from_bytes(struct.pack("<f" if kind.bit_width == 32 else "<d", value), "little")
    if pa.types.is_decimal(kind):
        unscaled = int(value.scaleb(kind.scale, Context(prec=60))) % (1 << 128)
        return sequence([unscaled % MODULUS, unscaled >> 64], 2)
    if pa.types.is_list(kind):
        return sequence([word(v, kind.value_type) for v in value], len(value))
    if pa.types.is_struct(kind):
        return sequence([word(value[f.name], f.type) for f in kind], kind.num_fields)
    if pa.types.is_map(kind):
        entries = [sequence([word(k, kind.key_type), word(v, kind.item_type)], 2) for k, v in value]
        return mix((len(value) + sum(map(mix, entries))) % MODULUS)
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        parts = [int.from_bytes(data[start : start + 8], "little") for start in range(0, len(data), 8)]
        return sequence(parts, len(data))
    if isinstance(value, datetime):
        delta = value - datetime(1970, 1, 1, tzinfo=UTC)
        value = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    elif isinstance(value, date):
        value = (value - date(1970, 1, 1)).days
    return int(value) % MODULUS


def slow_hash(table: pa.Table, names: list[str]) -> str:
    """The content hash by its formula, one value after another."""
    first = second = 0
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        a = b = 0
        for place, value in enumerate(row):
            key = mix((place + 1) * GOLDEN % MODULUS)
            if value is None:
                a, b = a + mix((key + 1) % MODULUS), b + mix((key + 2) % MODULUS)
                continue
            cell = mix((word(value, table.schema[place].type) + key) % MODULUS)
            a, b = a + cell, b + cell * (mix(key) | 1)
        first, second = first + mix(a % MODULUS), second + mix(b % MODULUS)
    columns = [[field.name, name] for field, name in zip(table.schema, names, strict=True)]
    text = json.dumps([columns, table.num_rows, first % MODULUS, second % MODULUS])
    return hashlib.sha256(text.encode()).hexdigest()


INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(max_size=20)
# Canonical name, Arrow type, values.
KINDS: list[tuple[str, pa.DataType, st.SearchStrategy[Any]]] = [
    ("bool", pa.bool_(), st.booleans()),
    ("int8", pa.int8(), st.integers(-128, 127)),
    ("int32", pa.int32(), st.integers(-(1 << 31), (1 << 31) - 1)),
    ("int64", pa.int64(), INT64),
    ("float32", pa.float32(), st.floats(width=32)),
    ("float64", pa.float64(), st.floats()),
    ("decimal(38,4)", pa.decimal128(38, 4), st.decimals(-(10**30), 10**30, places=4)),
    ("string", pa.string(), TEXT),
    ("bytes", pa.binary(), st.binary(max_size=20)),
    ("date", pa.date32(), st.dates()),
    ("timestamp", pa.timestamp("us", tz="UTC"), st.datetimes(timezones=st.just(UTC))),
    ("array<float64>", pa.list_(pa.float64()), st.lists(st.one_of(st.none(), st.floats()), max_size=4)),
    ("array<string>", pa.list_(pa.string()), st.lists(TEXT, max_size=4)),
    (
        "struct<a:int64,b:array<int64>>",
        pa.struct([("a", pa.int64()), ("b", pa.list_(pa.int64()))]),
        st.fixed_dictionaries({"a": INT64, "b": st.lists(INT64, max_size=2)}),
    ),
    ("map<string,int64>", pa.map_(pa.string(), pa.int64()), st.dictionaries(TEXT, INT64, max_size=3)),
]


@st.composite
def tables(draw: Any) -> pa.Table:
    rows = draw(st.integers(0, 12))
    columns = {}
    for name, kind, values in KINDS:
        given_values = draw(st.lists(st.one_of(st.none(), values), min_size=rows, max_size=rows))
        if pa.types.is_map(kind):
            given_values = [None if v is None else list(v.items()) for v in given_values]
        columns[name] = pa.array(given_values, kind)
    return pa.table(columns)


@settings(max_examples=25, deadline=None)
@given(table=tables())
def test_the_hash_is_its_formula_for_every_type(table: pa.Table) -> None:
    assert table_hash(table) == slow_hash(table, [name for name, _, _ in KINDS])


@settings(max_examples=20, deadline=None)
@given(table=tables(), data=st.data())
def test_order_batches_and_offsets_play_no_part(table: pa.Table, data: Any) -> None:
    order = data.draw(st.permutations(range(table.num_rows)))
    shuffled = table.take(pa.array(order, pa.int64()))
    around = pa.concat_tables([table.slice(0, 1), shuffled, table.slice(0, 1)]).combine_chunks()
    inside = around.slice(min(1, table.num_rows), table.num_rows)
    size = data.draw(st.integers(1, 5))
    total = RowSums()
    for batch in inside.to_batches(max_chunksize=size):
        total += sum_rows(batch, cuts=(batch.num_columns,))[0]
    assert content_hash(table.schema, total) == table_hash(table)


def test_the_way_that_arrow_holds_values_plays_no_part() -> None:
    plain = pa.table({"s": ["a", None, "longer than eight"], "l": pa.array([[1.0], [], None], pa.list_(pa.float32()))})
    held = pa.table(
        {
            "s": pa.array(["a", None, "longer than eight"], pa.large_string()).dictionary_encode(),
            "l": pa.array([[1.0], [], None], pa.large_list(pa.float32())),
        }
    )
    assert table_hash(plain) == table_hash(held)


def test_bytes_under_nulls_play_no_part() -> None:
    mask = np.array([False, True])
    one, other = (pa.table({"x": pa.array(np.array([1.5, under]), mask=mask)}) for under in (7.0, 9.0))
    assert table_hash(one) == table_hash(other)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([None, 1.0], [float("nan"), 1.0]),
        ([None, 1.0], [0.0, 1.0]),
        ([1.0, 2.0], [1.0, 2.0, 2.0]),
        ([1.0, 1.0, 2.0], [1.0, 2.0, 2.0]),
        ([5e-324], [0.0]),
    ],
)
def test_different_rows_have_different_hashes(left: list[Any], right: list[Any]) -> None:
    assert table_hash(pa.table({"x": pa.array(left, pa.float64())})) != table_hash(
        pa.table({"x": pa.array(right, pa.float64())})
    )


def test_equal_floats_have_one_hash() -> None:
    odd_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000123))[0]
    zeros = [pa.table({"x": [zero]}) for zero in (0.0, -0.0)]
    nans = [pa.table({"x": pa.array(np.array([nan]))}) for nan in (float("nan"), odd_nan, -float("nan"))]
    assert len({table_hash(table) for table in zeros}) == 1
    assert len({table_hash(table) for table in nans}) == 1


def test_values_that_change_places_change_the_hash() -> None:
    base = pa.table({"x": ["ab", "a"], "y": ["c", "bc"]})
    for other in (
        pa.table({"x": ["a", "ab"], "y": ["c", "bc"]}),
        pa.table({"x": ["c", "bc"], "y": ["ab", "a"]}),
        pa.table({"y": ["ab", "a"], "x": ["c", "bc"]}),
        pa.table({"x": ["abc", "a"], "y": ["", "bc"]}),
    ):
        assert table_hash(base) != table_hash(other)
    lists = [pa.array(v, pa.list_(pa.int64())) for v in ([[1], [2]], [[1, 2], []], [[2], [1]], [[1], None])]
    assert len({table_hash(pa.table({"n": [1, 2], "l": column})) for column in lists}) == 4


def test_names_and_types_are_part_of_the_hash() -> None:
    hashes = {
        table_hash(pa.table({name: pa.array([1], kind)}))
        for name in ("x", "y")
        for kind in (pa.int32(), pa.int64(), pa.float64(), pa.decimal128(5, 0))
    }
    assert len(hashes) == 8


def test_the_spine_is_summed_on_the_way() -> None:
    table = pa.table({"k": ["a", None, "b"], "t": [1, 2, 3], "x": [0.5, None, 1.5]})
    (batch,) = table.to_batches()
    spine, whole = sum_rows(batch, cuts=(2, 3))
    assert content_hash(table.select(["k", "t"]).schema, spine) == table_hash(table.select(["k", "t"]))
    assert content_hash(table.schema, whole) == table_hash(table)


def test_cells_tell_which_values_differ() -> None:
    left = pa.array([1.0, float("nan"), None, 0.0, None])
    right = pa.array([2.0, float("nan"), None, -0.0, 0.0])
    assert (cells(left) != cells(right)).any(axis=0).tolist() == [True, False, False, False, True]


def test_a_type_without_a_canonical_form_is_refused_with_its_column() -> None:
    with pytest.raises(UsageError, match=r"column 'wait'.*duration"):
        table_hash(pa.table({"wait": pa.array([1], pa.duration("us"))}))


def test_the_hash_of_a_table_never_changes() -> None:
    # Saved sets of years ago are compared with it: another number here is another format, and a new version of it.
    table = pa.table({"k": ["a", None], "x": [1.5, float("nan")], "d": pa.array([Decimal("1.10"), None])})
    assert table_hash(table) == "3ce5e25c10e67b6bac9abd3a77457e00501309c8a37b20723b05b01bece52714"
