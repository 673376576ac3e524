"""Whether two builds of the same intervals, in one run and in several, gave the same rows."""

from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.errors import TransformError
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_SHOWN_KEYS = 3


def check_equal(together: "DataFrame", apart: "DataFrame", view: AppliedView) -> None:
    """Compare two logs of a view: keys, event, created, operation, interval and features. NaN equals NaN.

    Raises: TransformError: they differ; names the columns and a few keys.
    """
    from pyspark.sql import functions as F

    identity = [*view.join_keys, EVENT, INTERVAL, *([CREATED] if view.is_imported else [])]
    compared = [*([] if view.is_imported else [CREATED]), OP, *(f.name for f in view.features)]

    def packed(frame: "DataFrame", side: str) -> "DataFrame":
        return frame.select(*identity, F.struct(*compared).alias(side))

    both = packed(together, "_together").join(packed(apart, "_apart"), identity, "full_outer")
    lone_together, lone_apart = F.col("_apart").isNull(), F.col("_together").isNull()
    changed = {name: _differs(name) & ~lone_together & ~lone_apart for name in compared}
    places = {name: f"c{place}" for place, name in enumerate(compared)}
    counts = both.agg(
        F.count_if(lone_together).alias("together"),
        F.count_if(lone_apart).alias("apart"),
        *(F.count_if(changed[name]).alias(places[name]) for name in compared),
    ).collect()[0]
    columns = {name: counts[place] for name, place in places.items() if counts[place]}
    if not (columns or counts["together"] or counts["apart"]):
        return
    anything = lone_together | lone_apart
    for condition in changed.values():
        anything = anything | condition
    keys = both.where(anything).select(*view.join_keys).distinct().orderBy(*view.join_keys).limit(_SHOWN_KEYS)
    shown = "; ".join(", ".join(f"{k}={v!r}" for k, v in row.items()) for row in keys.toArrow().to_pylist())
    parts = [f"{count} rows differ in {name!r}" for name, count in columns.items()]
    parts += [f"{counts[side]} rows come only when built {side}" for side in ("together", "apart") if counts[side]]
    raise TransformError(
        f"the transform of {view.name!r} gives other rows when its intervals are built together than when they are "
        f"built apart: {', '.join(parts)}, such as {shown}. It looks ahead at rows that come later, or needs rows from "
        f"longer ago than history: widen the source's history (now {view.history}), or look back only"
    )


def _differs(name: str) -> "Column":
    from pyspark.sql import functions as F

    return ~F.col(f"_together.`{name}`").eqNullSafe(F.col(f"_apart.`{name}`"))
