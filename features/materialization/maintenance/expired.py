"""Builds over what retention has removed: rows that may be gone from the log count on neither side of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from features.core.aggregations import longest_window
from features.core.applied import AppliedView
from features.core.schedule import Interval
from features.core.times import format_instant
from features.core.upstreams import view_sources
from features.core.view_source import ViewSource
from features.errors import IntervalError
from features.registry import Registry
from features.stores.delta import micros_literal
from features.stores.log_state import EVENT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def check_not_expired(registry: Registry, view: AppliedView, intervals: Sequence[Interval]) -> None:
    """That retention has left something of each interval to compare with, and all that it is computed from.

    Raises: IntervalError: one lies wholly before what is kept, or reads rows of another view that were removed there;
        the message says what to do.
    """
    _check_upstreams(registry, view, intervals[0])
    kept_from = registry.retained_from(view)
    if kept_from is None:
        return
    expired = [interval for interval in intervals if interval.end < kept_from]
    if expired:
        later = next((i for i in intervals if i.end >= kept_from), None)
        advice = "there is nothing to build" if later is None else f"start at {format_instant(later.start)}"
        raise IntervalError(
            f"{expired[0]} lies past the retention of {view.reference}: rows of events before "
            f"{format_instant(kept_from)} were removed, and a rerun would take them for new ones; {advice}"
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """What retention has left of a view version, and of the views that it reads.

    own: from when on events are in its log, None: all are. sources: the same of each view that it reads, and how far
    back an interval reads it.
    """

    own: datetime | None
    sources: tuple[tuple[datetime, timedelta], ...]

    @classmethod
    def of(cls, registry: Registry, view: AppliedView) -> "Kept":
        """As the registry knows it now."""
        read = [(registry.retained_from(registry.view(s.view)), _reach(view, s)) for s in view_sources(view)]
        sources = tuple((kept_from, reach) for kept_from, reach in read if kept_from is not None)
        return cls(own=registry.retained_from(view), sources=sources)

    def is_past(self, interval: Interval) -> bool:
        """Whether an interval lies past the retention of the view itself: it is never built, or built again."""
        return self.own is not None and interval.end < self.own

    def lacks(self, interval: Interval) -> bool:
        """Whether what an interval would be compared with, or is computed from, may be gone."""
        return self.is_past(interval) or any(interval.start - kept_from < reach for kept_from, reach in self.sources)


def _reach(view: AppliedView, source: ViewSource) -> timedelta:
    return source.history + longest_window(view.aggregations)


def _check_upstreams(registry: Registry, view: AppliedView, first: Interval) -> None:
    for source in view_sources(view):
        kept_from = registry.retained_from(registry.view(source.view))
        reach = _reach(view, source)
        if kept_from is not None and first.start - kept_from < reach:
            raise IntervalError(
                f"{first} of {view.reference} is computed from rows of {source.view} of {reach} before too, but those "
                f"of events before {format_instant(kept_from)} were removed by its retention; start at least {reach} "
                f"after that, or give {source.view.partition('@')[0]} a longer retention"
            )


def drop_expired(frame: "DataFrame", kept_from: datetime | None) -> "DataFrame":
    """The rows whose events retention has left in the log. kept_from: of `Registry.retained_from`."""
    from pyspark.sql import functions as F

    return frame if kept_from is None else frame.where(F.col(EVENT) >= micros_literal(kept_from))
