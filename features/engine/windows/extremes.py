"""Minimum and maximum of windows."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa

from features.engine.windows.arrays import WindowSpec
from features.engine.windows.range_extrema import Spans, range_extrema
from features.engine.windows.ranges import Windows
from features.engine.windows.series import Series


def extremes(series: Series, windows: Mapping[int, Windows], specs: Sequence[WindowSpec]) -> "list[pa.Array]":
    """The answers of min and max specs over one series; `windows` by width, over its values."""
    widths = sorted({spec.width_us for spec in specs})
    functions = {name: _function(name, series) for name in sorted({spec.function for spec in specs})}
    found = {(w, f): np.empty(len(windows[w]), dtype=series.values.dtype) for w in widths for f in functions}
    present = {width: np.empty(len(windows[width]), dtype=np.bool_) for width in widths}
    # The n-th parts of all widths go together, so that they share the tables that answer them.
    for parts in zip_longest(*(windows[width].whole() for width in widths)):
        asked = {width: part for width, part in zip(widths, parts, strict=True) if part is not None}
        spans = [Spans(part.starts, part.ends) for part in asked.values()]
        for width, part in asked.items():
            present[width][part.queries] = part.counts() > 0
        for function, (ufunc, empty) in functions.items():
            answers = range_extrema(series.values, spans, ufunc, empty)
            for (width, part), answer in zip(asked.items(), answers, strict=True):
                found[width, function][part.queries] = part.per_window(ufunc, answer)
    return [series.decode(found[spec.width_us, spec.function], present[spec.width_us]) for spec in specs]


def _function(name: str, series: Series) -> tuple[np.ufunc, Any]:
    """What to take of two values, and the value that loses to all others: an empty range's, beside others."""
    if series.values.dtype == np.int64:
        limits = np.iinfo(np.int64)
        return (np.maximum, limits.min) if name == "max" else (np.minimum, limits.max)
    # NaN is greatest: a maximum passes it on, a minimum prefers anything else. fmin is the slower one.
    if name == "max":
        return np.maximum, -np.inf
    return (np.fmin, np.nan) if series.nonfinite else (np.minimum, np.inf)
