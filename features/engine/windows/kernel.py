"""The window kernel: aggregates of sliding windows, for many keys at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from features.core.dtypes import DType
from features.engine.windows.arrays import Queries, Rows, WindowSpec
from features.engine.windows.bounds import Bounds
from features.engine.windows.distinct import count_distinct
from features.engine.windows.extremes import extremes
from features.engine.windows.moments import moments
from features.engine.windows.order import in_order
from features.engine.windows.percentiles import percentiles
from features.engine.windows.ranges import Windows
from features.engine.windows.series import Series, kept_rows, numbers_to_arrow, series_of
from features.engine.windows.sketches import approx_count_distinct
from features.engine.windows.visibility import Visibility


def aggregate(rows: Rows, queries: Queries, specs: Sequence[WindowSpec]) -> "list[pa.Array]":
    """One Arrow array per spec, in order, each with one value per query, in the queries' order.

    A value is a function of the multiset of rows that count at its point: neither other rows, nor the order of ties,
    nor how rows were split into calls, change a bit of it. Float sums are exact and rounded once, as math.fsum does, so
    that a cancelled or emptied window never shows 1e-17. -0.0 counts as 0.0, and all NaN as one, greater than +inf.
    A sum with a NaN, or with infinities of both signs, is NaN, and so is a stddev with any of the three.
    A window without values gives null, and 0 for count, count_distinct and approx_count_distinct.
    Types: `spec.output_dtype` in Arrow; timestamps are timestamp[us, UTC], last_n gives list<element>.

    Cost: n log n in rows and points, whatever the length of windows and the size of keys; where rows came late, also
    the number of ranges of rows inside windows that their points must not see, worked off in parts of bounded size.
    Some 65,536 points a call are cheapest, as what they need stays in the cache, unless more history comes with them.
    Raises: TransformError: the sum of a whole or decimal column does not fit its type.
    """
    if not specs:
        return []
    found = _find(rows, queries, {spec.width_us for spec in specs})
    answers: dict[WindowSpec, pa.Array] = {}
    for column, where in dict.fromkeys((spec.column, spec.where) for spec in specs):
        group = [spec for spec in specs if (spec.column, spec.where) == (column, where)]
        kept = kept_rows(rows, column, where)
        before = None if kept is None else np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        windows = {spec.width_us: found[spec.width_us].among(before) for spec in group}
        answers.update((spec, _counts(windows[spec.width_us])) for spec in group if spec.function == "count")
        others = [spec for spec in group if spec.function != "count"]
        if others and others[0].column is not None and others[0].dtype is not None:
            series = series_of(rows, others[0].column, others[0].dtype, kept)
            answers.update(_of_values(series, windows, others))
    return [answers[spec] for spec in specs]


def _find(rows: Rows, queries: Queries, widths: set[int]) -> dict[int, Windows]:
    """The windows of every width, over all rows."""
    bounds = Bounds(rows, queries)
    ends = bounds.ends()
    begins = {width: bounds.begins(width) for width in widths}
    visibility = Visibility(rows, queries, widest=begins[max(widths)], ends=ends)
    return {w: Windows(begins=begins[w], ends=ends, late=partial(visibility.parts, begins[w])) for w in widths}


def _counts(windows: Windows) -> "pa.Array":
    counts = np.empty(len(windows), dtype=np.int64)
    for part in windows.parts():
        counts[part.queries] = part.counts()
    return numbers_to_arrow(counts, None, DType.INT64)


def _of_values(
    series: Series, windows: Mapping[int, Windows], specs: Sequence[WindowSpec]
) -> "Iterator[tuple[WindowSpec, pa.Array]]":
    """The answers over one series. What several specs share is built once, and let go before the next family's turn."""
    for functions, family in _FAMILIES:
        asked = [spec for spec in specs if spec.function in functions]
        if asked:
            yield from zip(asked, family(series, windows, asked), strict=True)


_Family = Callable[[Series, Mapping[int, Windows], Sequence[WindowSpec]], "list[pa.Array]"]
_FAMILIES: tuple[tuple[tuple[str, ...], _Family], ...] = (
    (("sum", "mean", "stddev"), moments),
    (("min", "max"), extremes),
    (("first", "last", "last_n"), in_order),
    (("count_distinct",), count_distinct),
    (("approx_count_distinct",), approx_count_distinct),
    (("percentile",), percentiles),
)
