"""The views that a view reads, in a trial of it: which they are, and their intervals, built before its own."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from features.core.aggregations import longest_window
from features.core.definitions import FeatureView
from features.core.schedule import Interval, next_tick, previous_tick
from features.core.times import earlier
from features.core.upstreams import order_views, view_sources
from features.core.view_source import ViewSource
from features.materialization.build import Builder

logger = logging.getLogger(__name__)


def with_upstreams(view: FeatureView, views: Mapping[str, FeatureView]) -> tuple[FeatureView, ...]:
    """The views that a view reads, directly or not, each behind those that it reads, and the view last.

    All as the code has them: a version that a source names is not there to be tried.

    Args: views: all that the code defines, by name.
    """
    found: dict[str, FeatureView] = {}
    waiting = [view]
    while waiting:
        code = waiting.pop()
        sources = [replace(s, view=s.reference.name) if isinstance(s, ViewSource) else s for s in code.sources]
        found[code.name] = replace(code, sources=sources)
        waiting += [views[name] for name in found[code.name].upstreams if name not in found]
    return tuple(found[name] for name in order_views({name: code.upstreams for name, code in found.items()}))


def build_upstreams(builder: Builder, views: Sequence[FeatureView], span: Interval) -> None:
    """Build what the last of some views reads over a range, and what that reads, in the trial's own logs.

    Args:
        views: as of `with_upstreams`; they are applied.
        span: whole intervals of the last view.

    Raises: as `Builder.build`.
    """
    needed: dict[str, list[Interval]] = {views[-1].name: [span]}
    for view in reversed(views):
        whole = _whole(view, needed[view.name])
        needed[view.name] = [whole]
        for source in view_sources(view):
            since = earlier(whole.start, source.history + longest_window(view.aggregations))
            needed.setdefault(source.view, []).append(Interval(since, whole.end))
    for view in views[:-1]:
        (whole,) = needed[view.name]
        logger.info("building a view that is read", extra={"view": view.name, "range": str(whole)})
        builder.build(view, builder.registry.view(view.name), whole.start, whole.end)


def _whole(view: FeatureView, spans: Sequence[Interval]) -> Interval:
    """The intervals of a view that cover some ranges."""
    start: datetime = min(span.start for span in spans)
    end: datetime = max(span.end for span in spans)
    if view.schedule is None:
        return Interval(start, end)
    start = previous_tick(view.schedule, start)
    return Interval(start, end if previous_tick(view.schedule, end) == end else next_tick(view.schedule, end))
