"""The kernel against plain Python: every function over every kind of value, with ties, late rows and nulls."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.core.dtypes import DType
from features.engine.windows import distinct, ranges, visibility
from features.engine.windows.arrays import Queries, Rows, WindowSpec
from features.engine.windows.kernel import aggregate
from features.errors import TransformError
from tests.unit.engine.windows.drawn import VALUES, WIDTHS, check, raw, rows_of, sources, specs_of, ticks_of
from tests.unit.engine.windows.naive import Row


@pytest.fixture(params=[None, 3], ids=["usual blocks", "blocks of 3"])
def block(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is worked off in blocks is cut small once, so that every cut falls inside some case."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setattr(ranges, "BLOCK", request.param)
            patch.setattr(visibility, "MAX_HOLES", request.param)
            patch.setattr(visibility, "_KEPT_HOLES", request.param)
            patch.setattr(distinct, "MAX_ROWS", request.param)
        yield


@pytest.mark.parametrize("kind", VALUES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_windows_at_events_equal_a_naive_recomputation(kind: str, block: None, data: st.DataObject) -> None:
    dtype, values = VALUES[kind]
    source = data.draw(sources(values))
    rows = rows_of(source, dtype)
    check(source, Queries.at_rows(rows), rows, [*specs_of(dtype, None), *specs_of(dtype, "counts")])


@pytest.mark.parametrize("kind", VALUES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_windows_at_ticks_equal_a_naive_recomputation(kind: str, data: st.DataObject) -> None:
    dtype, values = VALUES[kind]
    source = data.draw(sources(values))
    times = data.draw(st.lists(st.integers(-2, 80), max_size=8, unique=True))
    check(source, ticks_of(source, times), rows_of(source, dtype), [*specs_of(dtype, None), *specs_of(dtype, "counts")])


@pytest.mark.parametrize("arrival", ["in order", "some late", "any order", "in bulk"])
def test_one_hot_key_equals_a_naive_recomputation(arrival: str) -> None:
    draw = random.Random(7)
    bulks = draw.sample(range(20), 20)
    source = []
    for _ in range(400):
        at = draw.randrange(2000)
        late = {
            "in order": 0,
            "some late": draw.randrange(40) if draw.random() < 0.4 else 0,
            "any order": draw.randrange(5000),
            "in bulk": 2000 + bulks[at // 100] * 10 - at,
        }[arrival]
        source.append(Row(1, at, at + late, round(draw.lognormvariate(3, 2), 2)))
    rows = rows_of(source, DType.FLOAT64)
    specs = [replace(s, width_us=w) for s in specs_of(DType.FLOAT64, None)[:: len(WIDTHS)] for w in (40, 700, 5000)]
    check(source, Queries.at_rows(rows), rows, specs)
    check(source, ticks_of(source, range(0, 3000, 71)), rows, specs)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bits_depend_on_the_rows_inside_windows_alone(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["plain float64", "wild float64", "odd float64", "near float64", "wide decimal"]))
    dtype, values = VALUES[kind]
    source = data.draw(sources(values))
    specs = [replace(spec, width_us=5) for spec in specs_of(dtype, "counts")[:: len(WIDTHS)]]
    rows = rows_of(source, dtype)
    times = [4, 9, 17]
    whole = aggregate(rows, ticks_of(source, times), specs)

    # Rows that no window holds are dropped or were never loaded, other keys come in, ties change places.
    kept = [row for row in source if any(time - 5 <= row.event < time and row.available < time for time in times)]
    others = [replace(row, key=row.key + 1) for row in data.draw(sources(values))]
    mixed = data.draw(st.permutations(kept + [row for row in others if row.key not in {0, 3, 7, 9, 11}]))
    again = aggregate(rows_of(mixed, dtype), ticks_of(source, times), specs)
    for spec, before, after in zip(specs, whole, again, strict=True):
        assert raw(before) == raw(after), spec.function


def test_answers_do_not_depend_on_how_points_are_split_into_calls() -> None:
    draw = random.Random(5)
    source = [Row(key, at, at + draw.choice([0, 0, 4]), draw.gauss(0, 1)) for key in (1, 2) for at in range(0, 300, 3)]
    rows, specs = rows_of(source, DType.FLOAT64), specs_of(DType.FLOAT64, None)
    at = Queries.at_rows(rows)
    whole = aggregate(rows, at, specs)
    parts = [
        aggregate(
            rows, Queries(keys=at.keys[some], time=at.time[some], visible=at.visible[some], closed="right"), specs
        )
        for some in (slice(0, 1), slice(1, 77), slice(77, 200))
    ]
    for i, answer in enumerate(whole):
        assert raw(answer) == raw(pa.concat_arrays([part[i] for part in parts]))


def test_a_window_that_cancels_out_is_zero_and_an_emptied_one_is_null() -> None:
    source = [Row(1, at, at, value) for at, value in enumerate([1e16, 0.1, 0.2, -0.3, -1e16, 0.3])]
    rows = rows_of(source, DType.FLOAT64)
    queries = Queries.at_ticks(keys=np.array([1, 1, 1]), time=np.array([4, 6, 10]))
    wanted = [WindowSpec(function=f, width_us=3, column="value", dtype=DType.FLOAT64) for f in ("sum", "mean", "count")]
    sums, means, counts = (answer.to_pylist() for answer in aggregate(rows, queries, wanted))
    assert sums == [math.fsum([0.1, 0.2, -0.3]), -1e16 + 0.0, None]
    assert means[2] is None
    assert counts == [3, 3, 0]


def test_equal_values_deviate_by_nothing_at_all() -> None:
    source = [Row(1, at, at, 0.1) for at in range(50)] + [Row(1, 50, 50, 1e8), Row(1, 51, 51, 1e8 + 2.0**-26)]
    rows = rows_of(source, DType.FLOAT64)
    wanted = [WindowSpec(function="stddev", width_us=w, column="value", dtype=DType.FLOAT64) for w in (20, 2)]
    wide, narrow = (answer.to_pylist() for answer in aggregate(rows, Queries.at_rows(rows), wanted))
    assert wide[0] is None
    assert set(wide[1:50]) == {0.0}
    # Two values next to each other: what is left of the squares lies beyond the digits of a double-double.
    assert narrow[51] == pytest.approx(2.0**-26 / math.sqrt(2), rel=1e-15)


def test_percentile_ranks_are_exact() -> None:
    source = [Row(1, at, at, 30 - at) for at in range(30)]
    rows = rows_of(source, DType.INT64)
    point = Queries.at_ticks(keys=np.array([1]), time=np.array([30]))
    wanted = [
        WindowSpec(function="percentile", width_us=30, column="value", dtype=DType.INT64, q=q)
        for q in (0, 0.1, 0.5, 1.0)
    ]
    assert [answer.to_pylist() for answer in aggregate(rows, point, wanted)] == [[1], [3], [15], [30]]


def test_lists_and_rows_are_counted() -> None:
    rows = Rows(
        keys=np.array([1, 1, 1]),
        event=np.array([0, 1, 2]),
        available=np.array([0, 1, 2]),
        columns={"words": pa.array([["a"], None, []])},
        filters={"first two": np.array([True, True, False])},
    )
    wanted = [
        WindowSpec(function="count", width_us=10),
        WindowSpec(function="count", width_us=10, where="first two"),
        WindowSpec(function="count", width_us=10, column="words", dtype=DType.ARRAY(DType.STRING)),
    ]
    found = [answer.to_pylist() for answer in aggregate(rows, Queries.at_rows(rows), wanted)]
    assert found == [[1, 2, 3], [1, 2, 2], [1, 1, 2]]


def test_columns_come_in_any_layout_that_arrow_has_for_them() -> None:
    words = ["b", "a", None, "c"]
    plain = rows_of([Row(1, at, at, word) for at, word in enumerate(words)], DType.STRING)
    specs = specs_of(DType.STRING, None)
    expected = [answer.to_pylist() for answer in aggregate(plain, Queries.at_rows(plain), specs)]
    array = plain.columns["value"]
    layouts = [
        array.dictionary_encode(),
        array.cast(pa.large_string()),
        pa.array(["x", *words, "y"]).slice(1, 4),
        pa.chunked_array([words[:2], words[2:]]),
    ]
    for layout in layouts:
        rows = replace(plain, columns={"value": layout})
        assert [answer.to_pylist() for answer in aggregate(rows, Queries.at_rows(rows), specs)] == expected


def test_no_rows_and_no_points_give_empty_answers() -> None:
    none = rows_of([], DType.FLOAT64)
    some = rows_of([Row(1, 0, 0, 1.0)], DType.FLOAT64)
    specs = specs_of(DType.FLOAT64, None)
    for rows in (none, some):
        for times in ([], [5]):
            queries = ticks_of([], times)
            check([], queries, rows if not times else none, specs)
    assert aggregate(some, Queries.at_rows(some), []) == []


@pytest.mark.parametrize(
    ("dtype", "value"), [(DType.INT64, 2**62), (DType.DECIMAL(38, 0), Decimal(9 * 10**37))], ids=["int64", "decimal"]
)
def test_a_sum_that_does_not_fit_is_refused_and_one_that_no_point_sees_is_not(dtype: DType, value: Any) -> None:
    sums = [WindowSpec(function="sum", width_us=10, column="value", dtype=dtype)]
    fits = rows_of([Row(1, 0, 99, value), Row(1, 1, 1, value)], dtype)
    assert aggregate(fits, Queries.at_rows(fits), sums)[0].to_pylist()[1] == value
    large = rows_of([Row(1, 0, 0, value), Row(1, 1, 1, value)], dtype)
    with pytest.raises(TransformError, match="does not fit"):
        aggregate(large, Queries.at_rows(large), sums)
