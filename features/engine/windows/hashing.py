"""Hashes of values: the same on every machine, in every run and in whatever company a value comes."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.engine.windows.series import Series

Hashes = npt.NDArray[np.uint64]
# How many bytes of strings are hashed together; more only where one string alone has more.
_BYTES = 1 << 18


def hashes_of(series: Series) -> Hashes:
    """64 well-mixed bits for each value of a series, in the order of its rows; equal values have equal ones.

    A function of the value and the kind of its type alone: numbers of their 64-bit form (-0.0 as 0.0, all NaN as one),
    decimals of both halves however few digits their neighbours have, strings and bytes of their bytes.
    """
    if series.dtype.kind == "decimal":
        low, high = series.halves or (series.values.view(np.uint64), series.values >> 63)
        return _mixed(low ^ _mixed(high.view(np.uint64)))
    if series.dictionary is not None:
        return _of_bytes(series.dictionary)[series.values]
    return _mixed(series.values.view(np.uint64))


def _mixed(words: Hashes) -> Hashes:
    """One step of splitmix64, from each word as its state: a bijection whose every bit depends on every bit.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), with the constants of Vigna's
    splitmix64.c. Adding the increment first keeps 0, a common value, from being its own hash.
    """
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def _of_bytes(strings: "pa.Array") -> Hashes:
    """Simple tabulation (Patrascu and Thorup, 2012): one random word per byte and place, summed; mixed with the length.

    Every place of a string has a table of its own; as no length bounds them, the words are drawn by splitmix64.
    """
    found = np.empty(len(strings), dtype=np.uint64)
    if not len(strings):
        return found
    strings = strings.cast(pa.large_binary())
    offsets = np.frombuffer(strings.buffers()[1], dtype=np.int64)[strings.offset : strings.offset + len(strings) + 1]
    data = np.frombuffer(strings.buffers()[2] or b"", dtype=np.uint8)
    blocks = np.flatnonzero(np.diff(offsets[:-1] // _BYTES)) + 1
    for first, last in pairwise([0, *blocks.tolist(), len(strings)]):
        starts, lengths = offsets[first:last], np.diff(offsets[first : last + 1])
        begin, end = int(starts[0]), int(offsets[last])
        place = np.arange(begin, end) - np.repeat(starts, lengths)
        words = _mixed((place << 8 | data[begin:end]).view(np.uint64))
        # Sums wrap around, and so do their differences: both are exact modulo 2**64.
        sums = np.append(np.uint64(0), np.cumsum(words, dtype=np.uint64))
        totals = sums[offsets[first + 1 : last + 1] - begin] - sums[starts - begin]
        found[first:last] = _mixed(totals + lengths.view(np.uint64))
    return found
