"""Sums of ranges against math.fsum and fractions."""

import math
import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engine.windows import exact_sums
from features.engine.windows.exact_sums import Sums, sums_of_floats, sums_of_halves, sums_of_ints
from features.engine.windows.ranges import Part

# Half-way cases and what tips them over, at several scales, so that every way of rounding is taken.
TIES = [2.0**53 + 2, 2.0**53, 1.0, -1.0, 2.0**-60, -(2.0**-60), 2.0**-110, -(2.0**-110), 2.0**-250, 2.0**62, 2.0**106]
NARROW = st.integers(-(10**6), 10**6).map(lambda cents: cents / 100)
WIDE = st.one_of(st.sampled_from(TIES), NARROW, st.floats(-1e40, 1e40))
ANY = st.one_of(WIDE, st.floats(allow_nan=False, allow_infinity=False))


def ranges(length: int, draw: st.DataObject) -> Part:
    edges = draw.draw(st.lists(st.tuples(*[st.integers(0, length)] * 2), min_size=1, max_size=20))
    starts, ends = np.array([sorted(pair) for pair in edges]).T
    return Part(queries=slice(0, len(starts)), starts=starts, ends=ends)


def exact(values: Sequence[float]) -> float:
    total = sum(map(Fraction, values), Fraction(0))
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


@pytest.mark.parametrize("numbers", [NARROW, WIDE, ANY], ids=["narrow", "wide", "any"])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_range_sums_to_the_nearest_double(numbers: st.SearchStrategy[float], data: st.DataObject) -> None:
    values = data.draw(st.lists(numbers, max_size=30))
    part = ranges(len(values), data)
    found = sums_of_floats([np.array(values, dtype=np.float64)]).total(part).rounded()
    for start, end, total in zip(part.starts, part.ends, found, strict=True):
        assert total == exact(values[start:end])


@pytest.mark.parametrize(
    ("values", "digits"),
    [([1.0, 2.0, 3.0], 1), ([0.01, 1e6], 2), ([1e-17, 1e3, 1.0], 3), ([1e-60, 1e25], 8), ([1e300, 1e-300], None)],
)
def test_as_many_digits_are_taken_as_the_numbers_need(values: list[float], digits: int | None) -> None:
    sums = sums_of_floats([np.array(values)])
    total = sums.total(Part(queries=slice(0, 1), starts=np.array([0]), ends=np.array([len(values)])))
    assert total.rounded().tolist() == [math.fsum(values)]
    assert total.is_int64 == (digits is not None)
    assert digits is None or len(sums.running) == digits


@pytest.mark.parametrize(("least", "greatest"), [(20, 30), (-20, 40)], ids=["two digits", "more digits"])
def test_a_sum_of_many_rows_outgrows_a_double_and_is_still_exact(least: int, greatest: int) -> None:
    draw = random.Random(1)
    values = [draw.uniform(0.5, 1) * 2.0 ** draw.randrange(least, greatest) for _ in range(200_000)]
    part = Part(queries=slice(0, 3), starts=np.array([0, 1, 99_999]), ends=np.array([200_000, 199_999, 100_000]))
    found = sums_of_floats([np.array(values)]).total(part).rounded().tolist()
    assert found == [math.fsum(values[start:end]) for start, end in zip(part.starts, part.ends, strict=True)]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_terms_of_one_number_add_up(data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(WIDE, WIDE), min_size=1, max_size=20))
    part = ranges(len(pairs), data)
    found = sums_of_floats([np.array(term) for term in zip(*pairs, strict=True)]).total(part).rounded()
    for start, end, total in zip(part.starts, part.ends, found, strict=True):
        assert total == exact([number for pair in pairs[start:end] for number in pair])


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_what_is_left_of_a_sum_is_exact(data: st.DataObject) -> None:
    values = data.draw(st.lists(st.one_of(NARROW, st.sampled_from(TIES[:8])), min_size=1, max_size=20))
    part = ranges(len(values), data)
    total = sums_of_floats([np.array(values)]).total(part)
    nearest = total.rounded_in_units()
    left = total.minus(nearest).rounded()
    for start, end, high, low in zip(part.starts, part.ends, np.ldexp(nearest, total.unit), left, strict=True):
        assert low == float(sum(map(Fraction, values[start:end]), Fraction(0)) - Fraction(high))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), bits=st.sampled_from([8, 63]))
def test_integers_sum_without_loss(data: st.DataObject, bits: int) -> None:
    values = data.draw(st.lists(st.integers(-(2**bits), 2**bits - 1), max_size=20))
    part = ranges(len(values), data)
    check_wholes(sums_of_ints(np.array(values, dtype=np.int64)), part, values)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_128_bit_integers_sum_without_loss(data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(-(10**36), 10**36), max_size=20))
    part = ranges(len(values), data)
    low = np.array([value % 2**64 for value in values], dtype=np.uint64)
    high = np.array([value >> 64 for value in values], dtype=np.int64)
    check_wholes(sums_of_halves(low, high), part, values)


def check_wholes(sums: Sums, part: Part, values: list[int]) -> None:
    total = sums.total(part)
    expected = [sum(values[start:end]) for start, end in zip(part.starts, part.ends, strict=True)]
    low, high = total.halves()
    assert [(int(h) << 64) + int(w) for w, h in zip(low, high, strict=True)] == expected
    assert total.whole() == expected
    assert total.rounded().tolist() == [float(value) for value in expected]


def test_a_sum_past_128_bits_is_marked() -> None:
    largest = np.array([2**63 - 1] * 4, dtype=np.int64)
    total = sums_of_halves(np.zeros(4, dtype=np.uint64), largest).total(
        Part(queries=slice(0, 1), starts=np.array([0]), ends=np.array([4]))
    )
    assert total.halves()[1].tolist() == [2**63 - 1]


def test_the_range_of_bits_spans_from_the_lowest_bit_to_above_the_highest() -> None:
    assert exact_sums.bit_range(np.array([0.75, -5.0, 0.0])) == (-2, 3)
    assert exact_sums.bit_range(np.array([5e-324])) == (-1074, -1021)
    assert exact_sums.bit_range(np.array([0.0])) is None
