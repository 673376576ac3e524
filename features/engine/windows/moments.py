"""Sum, mean and standard deviation of windows, from exact sums of values and of squares."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import frexp, isqrt, ldexp

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.core.dtypes import DType
from features.engine.windows import exact_sums
from features.engine.windows.arrays import Floats, Ints, Mask, WindowSpec
from features.engine.windows.exact_sums import Sums, Total
from features.engine.windows.ranges import Part, Windows
from features.engine.windows.series import Series, decimals_to_arrow, numbers_to_arrow
from features.errors import TransformError

# Within these, the square of a double is the sum of two doubles.
_SQUARED_MIN, _SQUARED_MAX = 2.0**-450, 2.0**500
_WHOLE_DOUBLES = 1 << 53
# Where the variance is this much smaller than the mean square, double-doubles have too few digits left.
_CANCELLED = 2.0**-48
# The nearest double of each number, and the nearest double of what that leaves.
_Halves = tuple[Floats, Floats]


def moments(series: Series, windows: Mapping[int, Windows], specs: Sequence[WindowSpec]) -> "list[pa.Array]":
    """The answers of sum, mean and stddev specs over one series; `windows` by width, over its values."""
    found = _Moments(series)
    answers = {}
    for width in {spec.width_us for spec in specs}:
        wanted = {spec.function for spec in specs if spec.width_us == width}
        answers.update({(width, name): answer for name, answer in found.of(windows[width], wanted).items()})
    return [answers[spec.width_us, spec.function] for spec in specs]


class _Moments:
    def __init__(self, series: Series) -> None:
        self._series = series
        self._dtype = series.dtype
        self._present = np.isfinite(series.values) if series.nonfinite else None
        self._values = series.values if self._present is None else np.where(self._present, series.values, 0.0)

    def of(self, windows: Windows, wanted: set[str]) -> "dict[str, pa.Array]":
        """The wanted ones of sum, mean and stddev, of each window."""
        length = len(windows)
        counts = np.empty(length, dtype=np.int64)
        floats = {name: np.empty(length) for name in wanted if name != "sum" or self._dtype.is_float}
        halves = (np.empty(length, dtype=np.uint64), np.empty(length, dtype=np.int64)) if "sum" in wanted else None
        for part in windows.parts():
            counts[part.queries] = n = part.counts()
            total = self._sums.total(part)
            if "sum" in floats or "mean" in floats:
                rounded = self._with_nonfinite(part, total.rounded())
                if "sum" in floats:
                    floats["sum"][part.queries] = rounded
                if "mean" in floats:
                    floats["mean"][part.queries] = rounded / (np.maximum(n, 1) * 10.0**self._dtype.scale)
            if "stddev" in floats:
                floats["stddev"][part.queries] = self._deviation(part, n, total)
            if halves is not None and "sum" not in floats:
                halves[0][part.queries], halves[1][part.queries] = total.halves()
        least = {"sum": 1, "mean": 1, "stddev": 2}
        answers = {name: numbers_to_arrow(out, counts >= least[name], DType.FLOAT64) for name, out in floats.items()}
        if halves is not None and "sum" not in floats:
            answers["sum"] = self._whole_sums(*halves, present=counts > 0)
        return answers

    @cached_property
    def _sums(self) -> Sums:
        if self._series.halves is not None:
            return exact_sums.sums_of_halves(*self._series.halves)
        if self._values.dtype == np.int64:
            return exact_sums.sums_of_ints(self._values)
        return exact_sums.sums_of_floats([self._values])

    @cached_property
    def _squares(self) -> Sums:
        if self._series.halves is not None:
            low, high = self._series.halves
            wholes = [(int(h) << 64) + int(w) for w, h in zip(low, high, strict=True)]
            return exact_sums.sums_of_wholes([whole * whole for whole in wholes], 0)
        sizes = np.abs(self._values)
        if self._values.dtype == np.int64:
            if len(sizes) and not 0 <= sizes.min() <= sizes.max() <= _WHOLE_DOUBLES:
                return exact_sums.sums_of_wholes([value * value for value in self._values.tolist()], 0)
        elif not bool(((sizes == 0) | ((sizes > _SQUARED_MIN) & (sizes < _SQUARED_MAX))).all()):
            unit, _ = exact_sums.bit_range(self._values) or (0, 0)
            wholes = [exact_sums.as_whole(value, unit) for value in self._values]
            return exact_sums.sums_of_wholes([whole * whole for whole in wholes], 2 * unit)
        return exact_sums.sums_of_floats(_product(*[self._values.astype(np.float64)] * 2))

    @cached_property
    def _changes(self) -> Ints:
        """How often the value has changed up to each place, from the first one on."""
        changes = np.zeros(len(self._values), dtype=np.int64)
        np.cumsum(self._values[1:] != self._values[:-1], out=changes[1:])
        return changes

    @cached_property
    def _nonfinite_before(self) -> tuple[Ints, ...]:
        """How many NaN, +inf and -inf stand before each value."""
        values = self._series.values
        marks = (np.isnan(values), values == np.inf, values == -np.inf)
        return tuple(np.concatenate([[0], np.cumsum(mark, dtype=np.int64)]) for mark in marks)

    def _nonfinite(self, part: Part) -> list[Mask]:
        counts = [part.per_window(np.add, n[part.ends] - n[part.starts]) for n in self._nonfinite_before]
        return [count > 0 for count in counts]

    def _with_nonfinite(self, part: Part, sums: Floats) -> Floats:
        if self._present is None:
            return sums
        missing, over, under = self._nonfinite(part)
        return np.select([missing | (over & under), over, under], [np.nan, np.inf, -np.inf], sums)

    def _deviation(self, part: Part, counts: Ints, total: Total) -> Floats:
        """Sample standard deviation; any number for windows of fewer than two values."""
        squares = self._squares.total(part)
        n = np.maximum(counts, 2).astype(np.float64)
        # Windows are evaluated alike however far apart the numbers beside them are: the digits must not show.
        split = _split_int64 if total.is_int64 and squares.is_int64 else _split_wholes
        halves_of_sums, halves_of_squares, unit = split(total, squares)
        spread, size = _spread(n, halves_of_sums, halves_of_squares)
        with np.errstate(over="ignore"):  # one beyond all doubles is infinite
            deviations = np.ldexp(np.sqrt(np.maximum(spread, 0.0) / (n * (n - 1.0))), unit)
        doubtful = np.flatnonzero((spread <= size * _CANCELLED) & (counts >= 2))
        if len(doubtful):
            constant = self._is_constant(part)[doubtful]
            deviations[doubtful[constant]] = 0.0
            doubtful = doubtful[~constant]
        sums, of_squares = total.at(doubtful).whole(), squares.at(doubtful).whole()
        for place, n_values, s, q in zip(doubtful, counts[doubtful].tolist(), sums, of_squares, strict=True):
            deviations[place] = _exact_deviation(n_values, s, q << (squares.unit - 2 * total.unit), total.unit)
        if self._present is not None:
            deviations[np.logical_or.reduce(self._nonfinite(part))] = np.nan
        return deviations / 10.0**self._dtype.scale

    def _is_constant(self, part: Part) -> Mask:
        """Whether all values of a window are equal; windows without values are not."""
        firsts, lasts = np.minimum(part.starts, len(self._values) - 1), np.maximum(part.ends, 1) - 1
        within = (self._changes[firsts] == self._changes[lasts]) | (part.starts == part.ends)
        # Several ranges: their first values must be equal too.
        first_values = np.where(part.starts < part.ends, self._values[firsts], np.nan)
        least, greatest = (part.per_window(f, first_values) for f in (np.fmin, np.fmax))
        constant: Mask = part.per_window(np.logical_and, within) & (least == greatest)
        return constant

    def _whole_sums(self, low: npt.NDArray[np.uint64], high: Ints, *, present: Mask) -> "pa.Array":
        limit = 10**38 if self._dtype.kind == "decimal" else 1 << 63
        if _beyond(low, high, limit):
            kind = "decimal(38)" if self._dtype.kind == "decimal" else "int64"
            raise TransformError(
                f"a window's sum of a {self._dtype} column does not fit {kind}: give it in a larger unit, or as float64"
            )
        if self._dtype.kind == "decimal":
            return decimals_to_arrow(low, high, present, min(38, self._dtype.precision + 10), self._dtype.scale)
        return numbers_to_arrow(low.view(np.int64), present, DType.INT64)


def _beyond(low: npt.NDArray[np.uint64], high: Ints, limit: int) -> bool:
    """Whether a 128-bit integer is at or above `limit`, or below -limit."""
    (over_high, over_low), (under_high, under_low) = divmod(limit, 1 << 64), divmod(-limit, 1 << 64)
    over = (high > over_high) | ((high == over_high) & (low >= np.uint64(over_low)))
    under = (high < under_high) | ((high == under_high) & (low < np.uint64(under_low)))
    return bool((over | under).any())


def _product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """(p, e): p is the rounded product and p + e the exact one. Dekker and Veltkamp, 1971."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halved(a), _halved(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halved(a: Floats) -> tuple[Floats, Floats]:
    """Two doubles of half a significand each, whose sum is `a`."""
    scaled = 134217729.0 * a
    high = scaled - (scaled - a)
    return high, a - high


def _split_int64(total: Total, squares: Total) -> tuple[_Halves, _Halves, Ints]:
    """Both sums as their nearest double and the nearest double of the rest, in a unit and its square; and the unit."""
    high, square_high = total.rounded_in_units(), squares.rounded_in_units()
    low, square_low = total.minus(high).rounded_in_units(), squares.minus(square_high).rounded_in_units()
    scale = squares.unit - 2 * total.unit
    of_squares = np.ldexp(square_high, scale), np.ldexp(square_low, scale)
    return (high, low), of_squares, np.full(len(high), total.unit)


def _split_wholes(total: Total, squares: Total) -> tuple[_Halves, _Halves, Ints]:
    """The same of sums that no int64 digits hold; each window has a unit of its own, near its numbers' size."""
    scale = squares.unit - 2 * total.unit
    halves, sizes = [], []
    for whole, unscaled in zip(total.whole(), squares.whole(), strict=True):
        square = unscaled << scale
        size = max(whole.bit_length(), (square.bit_length() + 1) // 2)
        halves.append((*_halves_of(whole, size), *_halves_of(square, 2 * size)))
        sizes.append(size)
    high, low, square_high, square_low = np.array(halves, dtype=np.float64).reshape(-1, 4).T
    return (high, low), (square_high, square_low), np.array(sizes, dtype=np.int64) + total.unit


def _halves_of(whole: int, unit: int) -> tuple[float, float]:
    """An integer as its nearest double and the nearest double of the rest, times 2**-unit."""
    high = exact_sums.nearest(whole, -unit)
    fraction, exponent = frexp(high)
    taken, shift = int(ldexp(fraction, 53)), exponent - 53 + unit
    rest = whole - (taken << shift if shift >= 0 else taken >> -shift)
    return high, exact_sums.nearest(rest, -unit)


def _spread(n: Floats, sums: _Halves, squares: _Halves) -> tuple[Floats, Floats]:
    """The spread, n * sum(x**2) - sum(x)**2, in double-doubles; and n * sum(x**2)."""
    (sum_high, sum_low), (square_high, square_low) = sums, squares
    size, size_low = _product(n, square_high)
    size_low += n * square_low
    taken, taken_low = _product(sum_high, sum_high)
    taken_low += 2.0 * sum_high * sum_low
    spread = size - taken
    back = spread - size
    lost = (size - (spread - back)) - (taken + back)
    return spread + (lost + (size_low - taken_low)), size


def _exact_deviation(n: int, total: int, squares: int, unit: int) -> float:
    """sqrt((squares - total**2 / n) / (n - 1)) * 2**unit from integers, to 64 digits."""
    spread, divisor = n * squares - total * total, n * (n - 1)
    if spread == 0:
        return 0.0
    # An even shift, so that it leaves the root as an integer one; the quotient then has about 130 bits.
    shift = (130 + divisor.bit_length() - spread.bit_length()) // 2
    shifted = spread << 2 * shift if shift >= 0 else spread >> -2 * shift
    return exact_sums.nearest(isqrt(shifted // divisor), unit - shift)
