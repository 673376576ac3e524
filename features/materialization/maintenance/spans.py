"""Which events retention takes out of a log: those before a cutoff, save the ones that held training sets need."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from features.core.applied import AppliedView
from features.core.times import duration_micros, parse_instant, to_micros
from features.errors import UsageError
from features.registry import StoredManifest
from features.stores.log_state import EVENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Events in [start, end), int64 microseconds since 1970; None: no bound there."""

    start: int | None
    end: int | None

    def sql(self) -> str:
        """As a condition on the rows of a log."""
        bounds = [] if self.start is None else [f"{EVENT} >= timestamp_micros({self.start})"]
        bounds += [] if self.end is None else [f"{EVENT} < timestamp_micros({self.end})"]
        return " AND ".join(bounds) or "true"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """The events of a view that rebuilding a held training set takes. training_set: `name@number`."""

    training_set: str
    span: Span


def find_holds(manifests: Iterable[StoredManifest], view: AppliedView) -> tuple[Hold, ...]:
    """What held training sets need of a view version.

    A join reads events from its spine's earliest time less the lookback up to its latest; rows of a range are those of
    that range. A set whose manifest does not say needs all events.
    """
    found = []
    for manifest in manifests:
        if manifest.held and _reads(manifest.content, view):
            span = _needed(manifest.content, view)
            if span is not None:
                found.append(Hold(training_set=manifest.reference, span=span))
    return tuple(found)


def spans_to_remove(cutoff: int, holds: Iterable[Hold]) -> tuple[Span, ...]:
    """The events before a cutoff that no hold needs, as spans that share none, earliest first.

    (key, event) histories go as wholes: all rows of an event, whatever their keys, corrections and retractions, are in
    one span or in none. No row within lookback of the present is in one, since retention is no shorter than that.
    """
    held = sorted((hold.span for hold in holds), key=lambda span: _low(span.start))
    removed: list[Span] = []
    reached: int | None = None
    for span in held:
        start = _low(span.start)
        if start >= cutoff:
            break
        if start > _low(reached):
            removed.append(Span(start=reached, end=span.start))
        if span.end is None:
            return tuple(removed)
        reached = max(_low(reached), span.end)
    if _low(reached) < cutoff:
        removed.append(Span(start=reached, end=cutoff))
    return tuple(removed)


# Earlier than every time there is.
_BEGINNING = -(1 << 63)


def _low(start: int | None) -> int:
    return _BEGINNING if start is None else start


def _reads(content: Mapping[str, Any], view: AppliedView) -> bool:
    views = content.get("views")
    if not isinstance(views, list):
        return True
    mine = [item for item in views if isinstance(item, Mapping) and item.get("view") == view.reference]
    # At position 0 the log held nothing.
    return any(item.get("position") != 0 for item in mine) or any(not isinstance(item, Mapping) for item in views)


def _needed(content: Mapping[str, Any], view: AppliedView) -> Span | None:
    """None: nothing."""
    try:
        if content["kind"] == "rows":
            return Span(start=_micros(content["start"]), end=_micros(content["end"]))
        if content["rows"] == 0:
            return None
        times = content["statistics"][EVENT]
        first, last = _micros(times["min"]), _micros(times["max"])
    except (KeyError, TypeError, UsageError):
        return Span(start=None, end=None)
    start = None if view.lookback is None else first - duration_micros(view.lookback)
    return Span(start=None if start is None or start < _BEGINNING else start, end=last + 1)


def _micros(text: str) -> int:
    return to_micros(parse_instant(text))
