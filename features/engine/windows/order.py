"""First, last, and the last n values of windows, by (event, available, value)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from features.core.arrow_types import arrow_type
from features.engine.windows.arrays import Ints, WindowSpec
from features.engine.windows.ranges import Part, Windows
from features.engine.windows.series import Series


def in_order(series: Series, windows: Mapping[int, Windows], specs: Sequence[WindowSpec]) -> "list[pa.Array]":
    """The answers of first, last and last_n specs over one series; `windows` by width, over its values."""
    answers = []
    for spec in specs:
        over = windows[spec.width_us]
        answers.append(_first_or_last(series, over, spec.function) if spec.n is None else _last_n(series, over, spec.n))
    return answers


def _first_or_last(series: Series, windows: Windows, function: str) -> "pa.Array":
    """The value of the first or the last row of each window; null where it has none."""
    places = np.zeros(len(windows), dtype=np.int64)
    present = np.zeros(len(windows), dtype=np.bool_)
    for part in windows.parts():
        filled = part.starts < part.ends
        if function == "first":
            found = part.per_window(np.minimum, np.where(filled, part.starts, len(series)))
        else:
            found = part.per_window(np.maximum, np.where(filled, part.ends, 0)) - 1
        present[part.queries] = part.counts() > 0
        places[part.queries] = found
    if not len(series):
        return pa.nulls(len(windows), arrow_type(series.dtype))
    return series.decode(series.tied_by_value[np.where(present, places, 0)], present)


def _last_n(series: Series, windows: Windows, n: int) -> "pa.Array":
    """The last n values of each window, oldest first, fewer where it has fewer; null where it has none."""
    sizes = np.zeros(len(windows), dtype=np.int64)
    for part in windows.parts():
        sizes[part.queries] = np.minimum(part.counts(), n)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"last_n: {offsets[-1]} values do not fit one list array; ask for fewer points at a time")
    places = np.zeros(offsets[-1], dtype=np.int64)
    for part in windows.parts():
        # Where late rows are still in, a window may have more values than it will be left with.
        settled = np.flatnonzero(np.minimum(part.counts(), n) == sizes[part.queries])
        wanted = sizes[part.queries][settled]
        into = np.repeat(offsets[:-1][part.queries][settled], wanted) + _counting(wanted)
        places[into] = _last_places(part, settled, wanted)
    values = series.decode(series.tied_by_value[places], None)
    ends = pa.array(offsets.astype(np.int32), mask=np.append(sizes == 0, False))
    return pa.ListArray.from_arrays(ends, values).cast(pa.list_(arrow_type(series.dtype)))


def _last_places(part: Part, windows: Ints, sizes: Ints) -> Ints:
    """The places of the last `sizes` values of some of a part's windows, window by window, ascending."""
    if part.offsets is None:
        return np.repeat(part.ends[windows] - sizes, sizes) + _counting(sizes)
    # All ranges of the part in one line: a window's values end where its last range does.
    line: Ints = np.cumsum(part.ends - part.starts)
    last_ranges = np.append(part.offsets[1:], len(part.ends))[windows] - 1
    positions = np.repeat(line[last_ranges] - sizes, sizes) + _counting(sizes)
    ranges = np.searchsorted(line, positions, side="right")
    places: Ints = part.ends[ranges] - (line[ranges] - positions)
    return places


def _counting(sizes: Ints) -> Ints:
    """0, 1, ... size - 1 for each size, one after another."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
