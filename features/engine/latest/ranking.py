"""Which row of each key counts, among rows of a log as plain columns: section 3 of the design, created times aside."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    Ints = np.ndarray[Any, np.dtype[np.int64]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

_MOST = 1 << 62


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Rows of a log, by what ranks them; times in microseconds. codes: equal for equal keys, and for no others."""

    codes: "Ints"
    event: "Ints"
    interval: "Ints"
    created: "Ints"
    seq: "Ints"
    is_put: "Flags"

    def where(self, chosen: "Flags | Ints") -> "Ranked":
        """Some of the rows."""
        return Ranked(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def choose_winners(rows: Ranked) -> "tuple[Ints, Ints]":
    """The places of the rows that win, and one row of each key that has none: all of its rows are retracted.

    Of each (key, event, interval) the row with the greatest (created, seq) counts; a retraction is out. Of what remains
    the greatest (event, interval) wins.
    """
    ordered = np.sort(rows.codes)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.flatnonzero(rows.is_put), np.flatnonzero(~rows.is_put)
    order = np.lexsort((rows.seq, rows.created, rows.interval, rows.event, rows.codes))
    codes, event, interval = rows.codes[order], rows.event[order], rows.interval[order]
    new_key = codes[1:] != codes[:-1]
    counts = np.append(new_key | (event[1:] != event[:-1]) | (interval[1:] != interval[:-1]), True)
    puts = order[counts & rows.is_put[order]]
    winners = puts[_last_of_each(rows.codes[puts])]
    one_of_each = order[np.append(new_key, True)]
    has_winner = np.isin(rows.codes[one_of_each], rows.codes[winners], kind="sort")
    return winners, one_of_each[~has_winner]


def number_keys(columns: "Sequence[pa.ChunkedArray]") -> "Ints":
    """A number for each row: equal where all columns are equal, and nowhere else."""
    codes: Ints | None = None
    for column in columns:
        values, size = _number(column)
        if codes is None:
            codes, most = values, size
            continue
        if most * size >= _MOST:
            codes, most = _number_again(codes)
        codes, most = codes * size + values, most * size
    if codes is None:
        raise ValueError("a key has at least one column")
    return codes


def _number(column: "pa.ChunkedArray") -> "tuple[Ints, int]":
    import pyarrow as pa

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    return coded.indices.to_numpy().astype(np.int64), max(1, len(coded.dictionary))


def _number_again(codes: "Ints") -> "tuple[Ints, int]":
    known, places = np.unique(codes, return_inverse=True)
    return places.astype(np.int64), len(known)


def _last_of_each(sorted_codes: "Ints") -> "Flags":
    last: Flags = np.append(sorted_codes[1:] != sorted_codes[:-1], len(sorted_codes) > 0)
    return last[: len(sorted_codes)]
