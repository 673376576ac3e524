"""Exact sums of row ranges: numbers as whole digits of a common unit, digits summed as integers, rounded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.engine.windows.arrays import Floats, Ints
from features.engine.windows.ranges import Part

# Digits hold at most this many bits, so that splitting a double stays exact and half a sum fits its significand.
_MAX_BASE = 42
# Numbers further apart than this many digits are added up as Python's integers.
_MAX_DIGITS = 8
_SIGNIFICAND = 53


@dataclass(frozen=True, slots=True)
class Total:
    """One exact sum per window: sum(digits[i] * 2**(base * i)) * 2**unit.

    All digits but the last are in [0, 2**base), the last is signed: a canonical form of the sum, given base and unit.
    One array of Python's integers stands for numbers too far apart for int64 digits.
    """

    digits: tuple[npt.NDArray[Any], ...]
    base: int
    unit: int

    @property
    def is_int64(self) -> bool:
        """Whether digits are int64, and not Python's integers."""
        return self.digits[0].dtype == np.int64

    def at(self, windows: Ints) -> "Total":
        """The sums of some of the windows."""
        return Total(tuple(digit[windows] for digit in self.digits), self.base, self.unit)

    def whole(self) -> list[int]:
        """The sums as Python's integers, in units."""
        rows = zip(*(digit.tolist() for digit in self.digits), strict=True)
        return [sum(digit << self.base * place for place, digit in enumerate(row)) for row in rows]

    def rounded(self) -> Floats:
        """The nearest double of each sum, ties to even: what math.fsum gives of the numbers."""
        if not self.is_int64:
            return np.array([nearest(value, self.unit) for value in self.digits[0]], dtype=np.float64)
        with np.errstate(over="ignore"):  # a sum beyond all doubles is infinite
            return np.ldexp(self.rounded_in_units(), self.unit)

    def rounded_in_units(self) -> Floats:
        """As `rounded`, times 2**-unit; for digits in int64 only."""
        if len(self.digits) == 1:
            return self.digits[0].astype(np.float64)
        low, high = self.digits[0], self.digits[1]
        if len(self.digits) == 2 and _fits_double(high):
            # Both digits are doubles without loss, so that adding them rounds once.
            sums: Floats = np.ldexp(high.astype(np.float64), self.base) + low
            return sums
        return self._rounded_from_head()

    def _rounded_from_head(self) -> Floats:
        """As `rounded`, for sums of any size: the leading 62 bits, the last of them odd if a bit was left behind.

        Rounding that to a double is rounding the whole: Boldo and Melquiond, Emulation of FMA and correctly rounded
        sums: proved algorithms using rounding to odd, 2008.
        """
        head = self.digits[-1].copy()
        exponent = np.full(len(head), self.base * (len(self.digits) - 1))
        left = np.zeros(len(head), dtype=np.bool_)
        for digit in self.digits[-2::-1]:
            bits = np.frexp((head ^ (head >> 63)).astype(np.float64))[1]
            # No room is left once a digit did not fit as a whole.
            room = np.clip(62 - bits, 0, self.base).astype(np.int64)
            rest = self.base - room
            head = (head << room) | (digit >> rest)
            left |= (digit & ((np.int64(1) << rest) - 1)) != 0
            exponent -= room
        rounded: Floats = np.ldexp((head | left).astype(np.float64), exponent)
        return rounded

    def halves(self) -> tuple[npt.NDArray[np.uint64], Ints]:
        """The low and high 64 bits of each sum, in two's complement; for digits of integers.

        The high half is the greatest int64 where a sum does not fit 128 bits.
        """
        low, high = self.digits[0].view(np.uint64), self.digits[-1] >> 63
        if len(self.digits) == 2:
            low, high = low | (self.digits[1].view(np.uint64) << np.uint64(32)), self.digits[1] >> 32
        elif len(self.digits) == 4:
            low, top = low | (self.digits[1].view(np.uint64) << np.uint64(32)), self.digits[3]
            fits = (top >= -(1 << 31)) & (top < 1 << 31)
            high = np.where(fits, self.digits[2] | (top << 32), np.iinfo(np.int64).max)
        return low, high

    def minus(self, numbers: Floats) -> "Total":
        """The sums less a whole number of units each; for digits in int64 only."""
        taken = _split(numbers, 0, self.base, len(self.digits))
        return _carried([a - b for a, b in zip(self.digits, taken, strict=True)], self.base, self.unit)


@dataclass(frozen=True, slots=True)
class Sums:
    """Running sums of the digits of numbers; they may wrap, their differences over ranges do not."""

    running: tuple[npt.NDArray[Any], ...]
    base: int
    unit: int

    def total(self, part: Part) -> Total:
        """The exact sum of each of the part's windows."""
        found = []
        for running in self.running:
            digit = running.take(part.ends)
            digit -= running.take(part.starts)
            found.append(part.per_window(np.add, digit))
        return _carried(found, self.base, self.unit)


def sums_of_floats(terms: Sequence[Floats]) -> Sums:
    """Running sums of numbers that are given as sums of finite doubles: one array per term."""
    length = len(terms[0])
    ranges = [found for found in map(bit_range, terms) if found]
    unit, top = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else (0, 0)
    # A window's sum of one digit must fit int64, whatever the number of rows and terms.
    spare = 62 - (len(terms) * length).bit_length()
    base = spare if top - unit <= spare else min(spare, _MAX_BASE)
    count = max(-(-(top - unit) // base), 1)
    if count > _MAX_DIGITS:
        return sums_of_wholes([sum(as_whole(number, unit) for number in row) for row in zip(*terms, strict=True)], unit)
    digits = [np.zeros(length, dtype=np.int64) for _ in range(count)]
    for term in terms:
        for digit, more in zip(digits, _split(term, unit, base, count), strict=True):
            digit += more
    return _running(digits, base, unit)


def sums_of_ints(values: Ints) -> Sums:
    """Running sums of int64 values, in units of 1."""
    largest = max(abs(int(values.min(initial=0))), abs(int(values.max(initial=0))))
    if largest * len(values) < 1 << 62:
        return _running([values], 62, 0)
    return _running([values & 0xFFFFFFFF, values >> 32], 32, 0)


def sums_of_halves(low: npt.NDArray[np.uint64], high: Ints) -> Sums:
    """Running sums of 128-bit integers, in units of 1."""
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    digits = [(low & mask).view(np.int64), (low >> shift).view(np.int64), high & 0xFFFFFFFF, high >> 32]
    return _running(digits, 32, 0)


def sums_of_wholes(values: Sequence[int], unit: int) -> Sums:
    """Running sums of Python's integers, in units of 2**unit: slow, for numbers of any size."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return _running([array], 62, unit)


def _running(digits: Sequence[npt.NDArray[Any]], base: int, unit: int) -> Sums:
    running = []
    for digit in digits:
        sums = np.zeros(len(digit) + 1, dtype=digit.dtype)
        np.cumsum(digit, out=sums[1:])
        running.append(sums)
    return Sums(tuple(running), base, unit)


def _carried(digits: list[npt.NDArray[Any]], base: int, unit: int) -> Total:
    """Digits of any size in canonical form: what exceeds a digit goes to the next one."""
    for i in range(len(digits) - 1):
        digits[i + 1] += digits[i] >> base
        digits[i] &= (1 << base) - 1
    return Total(tuple(digits), base, unit)


def _split(numbers: Floats, unit: int, base: int, count: int) -> list[Ints]:
    """`count` digits of each number, a multiple of 2**unit; exact, as what is left is always the number's own tail."""
    digits: list[Ints] = []
    for place in range(count - 1, 0, -1):
        scale = unit + base * place
        digit = np.trunc(np.ldexp(numbers, -scale))
        numbers = numbers - np.ldexp(digit, scale)
        digits.append(digit.astype(np.int64))
    digits.append(np.ldexp(numbers, -unit).astype(np.int64))
    return digits[::-1]


def bit_range(numbers: Floats) -> tuple[int, int] | None:
    """(low, high): every number is a multiple of 2**low and less than 2**high in magnitude; None if all are zero."""
    bits = numbers.view(np.int64) & 0x7FFFFFFFFFFFFFFF
    largest = int(bits.max(initial=0))
    if not largest:
        return None
    exponent = np.maximum(bits >> 52, 1)
    significand = bits & 0xFFFFFFFFFFFFF
    significand |= (bits >> 52 != 0).astype(np.int64) << 52
    # The exponent field of a power of two, as a double, is its place.
    places = ((significand & -significand).astype(np.float64).view(np.int64) >> 52) - 1023 + exponent - 1075
    return int(places[significand != 0].min()), max(largest >> 52, 1) - 1022


def _fits_double(values: Ints) -> bool:
    return len(values) == 0 or (int(values.max()) < 1 << _SIGNIFICAND and int(values.min()) > -(1 << _SIGNIFICAND))


def as_whole(number: float, unit: int) -> int:
    """A multiple of 2**unit, in units."""
    over, under = float(number).as_integer_ratio()
    return (over << max(-unit, 0)) // (under << max(unit, 0))


def nearest(value: int, unit: int) -> float:
    """The nearest double of value * 2**unit: Python's division of integers rounds once."""
    try:
        return (value << max(unit, 0)) / (1 << max(-unit, 0))
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
