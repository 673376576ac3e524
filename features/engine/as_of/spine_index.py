"""The rows of a spine in an order that answers, for many log rows at once, which of them a log row is first seen by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    Ints = np.ndarray[Any, np.dtype[np.int64]]

_ROOM = 1 << 62
# Integer keys within so wide a range, or so many times as wide as there are keys, are numbered by a table: a look-up
# in it costs a tenth of one in a hash table.
_DENSE, _SPARSEST = 1 << 20, 8
_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True)
class SpineIndex:
    """Spine rows sorted by (key, time). A *place* is an index into that order; keys are numbered from 0, in order.

    order: the row of the spine at each place, shape (n,), of the rows without a null key. codes, times: key number and
        time (microseconds) of each place.
    """

    order: "Ints"
    codes: "Ints"
    times: "Ints"
    keys: "KeyNumbers"
    _points: "Ints"
    _clock: "_Clock"

    @classmethod
    def of(cls, keys: Mapping[str, "pa.Array"], times: "Ints") -> "SpineIndex":
        """The index of spine rows: their key columns, and their times in microseconds, shape (n,)."""
        numbers, codes = KeyNumbers.of(keys)
        known = np.flatnonzero(codes >= 0)
        codes, times = codes[known], times[known]
        clock = _Clock.of(times, numbers.count)
        points = clock.points(codes, times)
        order = np.argsort(points, kind="stable")
        return cls(known[order], codes[order], times[order], numbers, points[order], clock)

    def __len__(self) -> int:
        return len(self.order)

    def first_places(self, codes: "Ints", available: "Ints") -> "Ints":
        """The first place that sees a log row, shape of `codes`; len(self) where none does.

        Args:
            codes: key numbers, 0 or more. available: from when on each row is visible, microseconds.
        """
        places = np.searchsorted(self._points, self._clock.points(codes, available), side="left")
        found = places < len(self)
        found[found] = self.codes[places[found]] == codes[found]
        places[~found] = len(self)
        return places


@dataclass(frozen=True)
class KeyNumbers:
    """A number for each distinct key of a spine, composite ones too; keys of a log are looked up among them.

    values: the distinct values of each key column, sorted. _pairs: for each column but the first, the sorted codes
        that pair what stands before it with its own.
    """

    names: tuple[str, ...]
    values: tuple["pa.Array", ...]
    _columns: tuple["_Distinct", ...]
    _pairs: tuple["Ints", ...]
    count: int

    @classmethod
    def of(cls, keys: Mapping[str, "pa.Array"]) -> "tuple[KeyNumbers, Ints]":
        """The numbers, and that of each row; -1 where a part of the key is null."""
        values, pairs = [], []
        codes: Ints | None = None
        for column in keys.values():
            distinct_values, own = _ranked(column)
            values.append(distinct_values)
            if codes is None:
                codes = own
                continue
            paired = _pair(codes, own, len(values[-1]))
            distinct = np.unique(paired[paired >= 0])
            pairs.append(distinct)
            codes = _position(distinct, paired)
        if codes is None:
            raise ValueError("a join needs at least one key")
        count = len(pairs[-1]) if pairs else len(values[0])
        return cls(tuple(keys), tuple(values), tuple(map(_Distinct.of, values)), tuple(pairs), count), codes

    def look_up(self, columns: Sequence["pa.ChunkedArray"]) -> "Ints":
        """The number of each key of a log, -1 where the spine has no such key; `columns` in the order of `names`."""
        codes: Ints | None = None
        for place, (column, distinct) in enumerate(zip(columns, self._columns, strict=True)):
            own = distinct.look_up(column)
            codes = own if codes is None else _position(self._pairs[place - 1], _pair(codes, own, len(distinct.values)))
        if codes is None:
            raise ValueError("a join needs at least one key")
        return codes


@dataclass(frozen=True)
class _Clock:
    """Puts (key number, time) on one line of 64-bit points, in which keys follow each other.

    Times are offsets from the first one where that fits, else ranks among the spine's own times.
    """

    start: int
    width: int
    ranks: "Ints | None"

    @classmethod
    def of(cls, times: "Ints", keys: int) -> "_Clock":
        if not len(times):
            return cls(0, 1, None)
        start, width = int(times.min()), int(times.max()) - int(times.min()) + 2
        if width * (keys + 1) < _ROOM:
            return cls(start, width, None)
        ranks = np.unique(times)
        return cls(0, len(ranks) + 1, ranks)

    def points(self, codes: "Ints", times: "Ints") -> "Ints":
        if self.ranks is not None:
            offsets = np.searchsorted(self.ranks, times, side="left")
        else:
            # What comes before the first row is seen by it; what comes after the last one falls behind its key.
            offsets = np.clip(times, self.start, self.start + self.width - 1) - self.start
        points: Ints = codes * np.int64(self.width) + offsets
        return points


def _ranked(column: "pa.Array") -> "tuple[pa.Array, Ints]":
    """The distinct values, sorted, and each value's number among them, -1 for null.

    A log is sorted by its keys: numbers in the same order are looked for in ascending order, which is times faster.
    """
    import pyarrow.compute as pc

    encoded = column.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy().astype(np.int64)
    ranks = np.empty(len(order) + 1, np.int64)
    ranks[order] = np.arange(len(order))
    # A null is index -1, and finds the -1 at the end.
    ranks[-1] = -1
    return encoded.dictionary.take(order), ranks[_numbers(encoded.indices)]


def _pair(left: "Ints", right: "Ints", width: int) -> "Ints":
    return np.where((left < 0) | (right < 0), np.int64(-1), left * np.int64(width) + right)


def _position(distinct: "Ints", wanted: "Ints") -> "Ints":
    """The index of each in a sorted array; -1 where it is not in there."""
    if not len(distinct):
        return np.full(len(wanted), -1, np.int64)
    found = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
    return np.where(distinct[found] == wanted, found, -1).astype(np.int64)


def _numbers(indices: "pa.Array | pa.ChunkedArray") -> "Ints":
    import pyarrow.compute as pc

    filled = pc.fill_null(indices, -1) if indices.null_count else indices
    numbers: Ints = filled.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


@dataclass(frozen=True)
class _Distinct:
    """The distinct values of one key column of a spine, sorted; a log's values are looked up among them.

    low, numbers: where the values are integers that lie close together, the number of each from low on, else -1. The
        first and the last one stand for all that lies outside.
    """

    values: "pa.Array"
    low: int
    numbers: "np.ndarray[Any, np.dtype[np.int32]] | None"

    @classmethod
    def of(cls, values: "pa.Array") -> "_Distinct":
        import pyarrow as pa

        if not pa.types.is_integer(values.type) or not len(values):
            return cls(values, 0, None)
        least, most = values[0].as_py(), values[-1].as_py()
        if most - least > max(_DENSE, _SPARSEST * len(values)) or least == _LEAST or most == _MOST:
            return cls(values, 0, None)
        numbers = np.full(most - least + 3, -1, np.int32)
        numbers[values.to_numpy().astype(np.int64) - (least - 1)] = np.arange(len(values))
        return cls(values, least - 1, numbers)

    def look_up(self, column: "pa.ChunkedArray") -> "Ints":
        """The index of each of a log's values among these; -1 where it is not there."""
        import pyarrow as pa

        if pa.types.is_dictionary(column.type):
            return self._of_words(column)
        if self.numbers is not None and not column.null_count:
            rows = column.cast(pa.int64()).to_numpy()
            found: Ints = self.numbers[np.clip(rows, self.low, self.low + len(self.numbers) - 1) - self.low]
            return found.astype(np.int64)
        return self._of_runs(column)

    def _of_words(self, column: "pa.ChunkedArray") -> "Ints":
        import pyarrow as pa
        import pyarrow.compute as pc

        chunks = [chunk for chunk in column.chunks if len(chunk)]
        words = pa.chunked_array([chunk.dictionary for chunk in chunks], column.type.value_type)
        starts = np.cumsum([0, *(len(chunk.dictionary) for chunk in chunks[:-1])])
        # A null in a row is index -1, and finds the -1 at the end.
        among = np.append(_numbers(pc.index_in(words.cast(self.values.type), value_set=self.values)), np.int64(-1))
        parts = []
        for chunk, start in zip(chunks, starts, strict=False):
            own = _numbers(chunk.indices)
            parts.append(among[np.where(own < 0, -1, own + start)])
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _of_runs(self, column: "pa.ChunkedArray") -> "Ints":
        """A log is sorted by its keys: equal ones come in runs, and each is looked up once."""
        import pyarrow.compute as pc

        runs = pc.run_end_encode(column.combine_chunks())
        ends = runs.run_ends.to_numpy(zero_copy_only=False)
        among = _numbers(pc.index_in(runs.values.cast(self.values.type), value_set=self.values))
        return np.repeat(among, np.diff(ends, prepend=ends.dtype.type(0)))
