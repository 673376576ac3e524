"""Approximate distinct counts against the same sketch in plain Python, and against their promised error."""

import math
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.core.arrow_types import arrow_type
from features.core.dtypes import DType
from features.engine.windows import hashing, sketches
from features.engine.windows.arrays import Queries, Rows, WindowSpec
from features.engine.windows.hashing import hashes_of
from features.engine.windows.kernel import aggregate
from features.engine.windows.series import series_of
from tests.unit.engine.windows import naive
from tests.unit.engine.windows.drawn import EPOCH, VALUES, rows_of, sources, ticks_of
from tests.unit.engine.windows.naive import Row

WORD = 2**64


def mixed(state: int) -> int:
    """One step of splitmix64."""
    state = (state + 0x9E3779B97F4A7C15) % WORD
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % WORD
    state = (state ^ state >> 27) * 0x94D049BB133111EB % WORD
    return state ^ state >> 31


def plain_hash(value: Any, dtype: DType) -> int:
    if dtype.kind in ("float32", "float64"):
        canonical = math.nan if math.isnan(value) else value + 0.0
        return mixed(int.from_bytes(struct.pack("<d", canonical), "little"))
    if dtype.kind in ("string", "bytes"):
        data = value.encode() if isinstance(value, str) else value
        return mixed((sum(mixed(place * 256 + byte) for place, byte in enumerate(data)) + len(data)) % WORD)
    if dtype.kind == "decimal":
        unscaled = int(Fraction(value) * 10**dtype.scale)  # decimals would be rounded to 28 digits
        return mixed(unscaled % WORD ^ mixed((unscaled >> 64) % WORD))
    if isinstance(value, datetime):
        value = (value - EPOCH) // timedelta(microseconds=1)
    elif isinstance(value, date):
        value = (value - EPOCH.date()).days
    return mixed(int(value) % WORD)


def plain_estimate(values: list[Any], dtype: DType, capacity: int) -> int:
    """Wegman's sample of the values of one window, level by level."""
    hashes = {naive.order(value): plain_hash(value, dtype) for value in values}
    level = 0
    while (count := sum(found < 1 << 64 - level for found in hashes.values())) > capacity:
        level += 1
    return count << level


def estimates(rows: Rows, queries: Queries, dtype: DType, *widths: int) -> list[list[int]]:
    specs = [WindowSpec(function="approx_count_distinct", width_us=w, column="value", dtype=dtype) for w in widths]
    return [answer.to_pylist() for answer in aggregate(rows, queries, specs)]


@pytest.fixture
def capacity() -> Iterator[int]:
    """So small that windows of a few values need several levels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketches, "CAPACITY", 2)
        yield 2


def check_estimates(source: list[Row], queries: Queries, rows: Rows, dtype: DType, capacity: int, *widths: int) -> None:
    found = estimates(rows, queries, dtype, *widths)
    points = list(zip(queries.keys.tolist(), queries.time.tolist(), queries.visible.tolist(), strict=True))
    everywhere = [replace(row, counts=True) for row in source]
    for width, answers in zip(widths, found, strict=True):
        for (key, time, visible), answer in zip(points, answers, strict=True):
            values = naive.window(everywhere, key, time=time, visible=visible, width=width, closed=queries.closed)
            assert answer == plain_estimate(values, dtype, capacity), (key, time, values)


@pytest.mark.parametrize("kind", VALUES)
def test_estimates_are_those_of_the_sketch_in_plain_python(kind: str, capacity: int) -> None:
    dtype, values = VALUES[kind]

    @settings(max_examples=40, deadline=None)
    @given(source=sources(values), times=st.lists(st.integers(-2, 80), max_size=6, unique=True))
    def check(source: list[Row], times: list[int]) -> None:
        rows = rows_of(source, dtype)
        check_estimates(source, Queries.at_rows(rows), rows, dtype, capacity, 3, 1000)
        check_estimates(source, ticks_of(source, times), rows, dtype, capacity, 10)

    check()


@pytest.mark.parametrize("arrival", ["in order", "some late", "any order"])
def test_estimates_over_many_levels_are_those_of_the_sketch(arrival: str, capacity: int) -> None:
    draw = random.Random(11)
    source = []
    for _ in range(500):
        at = draw.randrange(2000)
        late = {"in order": 0, "some late": draw.choice([0, 0, 40]), "any order": draw.randrange(3000)}[arrival]
        source.append(Row(1, at, at + late, draw.randrange(300)))
    rows = rows_of(source, DType.INT64)
    check_estimates(source, Queries.at_rows(rows), rows, DType.INT64, capacity, 40, 700, 5000)


def test_an_estimate_is_a_function_of_the_values_in_its_window_alone(capacity: int) -> None:
    """Whatever the order, repetition, other keys, history or company of a value, and however calls are cut."""
    draw = random.Random(3)
    words = [f"user-{number}" for number in range(400)]
    source = [Row(1, at, at, draw.choice(words)) for at in range(1000)]
    alone = rows_of(source, DType.STRING)
    point = Queries.at_ticks(keys=np.array([1]), time=np.array([1000]))
    [[expected]] = estimates(alone, point, DType.STRING, 500)
    within = [row for row in source if row.event >= 500]
    moved = [replace(row, event=999 - index // 2, available=999) for index, row in enumerate(draw.sample(within, 500))]
    company = [Row(key, at, at, f"other-{at}") for key in (0, 2) for at in range(700)]
    for variant in (within, moved, [*within, *within], [*company, *source]):
        assert estimates(rows_of(variant, DType.STRING), point, DType.STRING, 500) == [[expected]]

    at = Queries.at_rows(alone)
    [whole] = estimates(alone, at, DType.STRING, 500)
    cut: list[int] = []
    for first, last in pairwise([0, 1, 499, 800, 1000]):
        few = Queries(
            keys=at.keys[first:last], time=at.time[first:last], visible=at.visible[first:last], closed="right"
        )
        cut += estimates(alone, few, DType.STRING, 500)[0]
    assert cut == whole


def test_up_to_its_capacity_a_window_is_counted_exactly() -> None:
    source = [Row(1, at, at, at % sketches.CAPACITY) for at in range(3 * sketches.CAPACITY)]
    rows = rows_of(source, DType.INT64)
    point = Queries.at_ticks(keys=np.array([1]), time=np.array([len(source)]))
    assert estimates(rows, point, DType.INT64, len(source)) == [[sketches.CAPACITY]]
    more = rows_of([*source, Row(1, len(source) - 1, len(source) - 1, -1)], DType.INT64)
    [[beyond]] = estimates(more, point, DType.INT64, len(source))
    assert beyond % 2 == 0, "one odd value more, and it is half of them that are counted"
    assert abs(beyond / (sketches.CAPACITY + 1) - 1) < 5 * 1.2 / math.sqrt(sketches.CAPACITY)


@pytest.mark.parametrize("kind", ["ints", "floats", "strings", "multiples of 4096"])
def test_estimates_of_a_hundred_thousand_values_are_within_their_error(kind: str) -> None:
    """Over 20 keys, none is 4.5 standard errors off, and together they are neither much worse nor too good."""
    keys, each = 20, 100_000
    number = np.arange(keys * each)
    values, dtype = {
        "ints": (pa.array(number), DType.INT64),
        "floats": (pa.array(number / 7), DType.FLOAT64),
        "strings": (pa.array(number).cast(pa.string()), DType.STRING),
        "multiples of 4096": (pa.array(number * 4096), DType.INT64),
    }[kind]
    rows = Rows(keys=number // each, event=number % each, available=number % each, columns={"value": values})
    points = Queries.at_ticks(keys=np.arange(keys), time=np.full(keys, each))
    [found] = estimates(rows, points, dtype, each)
    errors = np.array(found) / each - 1
    standard = 1.2 / math.sqrt(sketches.CAPACITY)
    assert np.abs(errors).max() < 4.5 * standard
    assert standard / 3 < math.sqrt(np.mean(errors**2)) < 1.5 * standard


@pytest.mark.parametrize(
    ("dtype", "value", "company"),
    [
        (DType.STRING, "user-17", ["", "a", "é" * 40]),
        (DType.BYTES, b"\x00", [b"", b"\x00\x00", b"\xff" * 90]),
        (DType.DECIMAL(38, 2), Decimal("-12.34"), [Decimal(10) ** 30, Decimal(-(10**30))]),
        (DType.FLOAT64, math.nan, [math.inf, 1.0]),
        (DType.FLOAT64, -0.0, [math.nan, 1.0]),
        (DType.TIMESTAMP, datetime(2024, 2, 29, tzinfo=UTC), [EPOCH]),
    ],
)
def test_a_value_has_its_hash_in_whatever_company(dtype: DType, value: Any, company: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for size in (1, 7, 1 << 18):
            patch.setattr(hashing, "_BYTES", size)
            for values in ([value], [value, *company], [*company, value, *company]):
                array = pa.array(values, arrow_type(dtype))
                rows = rows_of([Row(1, at, at, None) for at in range(len(values))], dtype)
                series = series_of(replace(rows, columns={"value": array}), "value", dtype, None)
                assert hashes_of(series).tolist() == [plain_hash(each, dtype) for each in values]
