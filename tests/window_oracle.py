"""The rules of docs/windows.md in slow, obvious, plain Python: what builds over windows are checked against."""

import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One source row. Times are integers."""

    key: Hashable
    event: int
    available: int
    value: Any = None
    counts: bool = True


@dataclass(frozen=True)
class Window:
    """One feature: a function of the values over a window; `filtered`: of the rows alone that count."""

    function: str
    width: int
    filtered: bool = False


def at_event(events: Iterable[Event], key: Hashable, t: int, visible: int, window: Window) -> Any:
    """Over (t - w, t], of rows available at or before `visible`."""
    seen = [e for e in events if e.key == key and t - window.width < e.event <= t and e.available <= visible]
    return answer(window, seen)


def at_tick(events: Iterable[Event], key: Hashable, t: int, window: Window) -> Any:
    """Over [t - w, t), of rows available before t."""
    return answer(window, _before_tick(events, key, t, window.width))


def event_rows(
    events: Sequence[Event], windows: Mapping[str, Window]
) -> dict[tuple[Hashable, int, int], dict[str, Any]]:
    """The features of every (key, event, available)."""
    return {
        (e.key, e.event, e.available): {
            name: at_event(events, e.key, e.event, e.available, window) for name, window in windows.items()
        }
        for e in events
    }


def tick_rows(
    events: Sequence[Event], windows: Mapping[str, Window], ticks: Sequence[int]
) -> dict[tuple[Hashable, int], dict[str, Any]]:
    """The features of every key and tick but the first, while the longest window holds rows and once it has emptied."""
    longest = max(window.width for window in windows.values())
    found = {}
    for key in {e.key for e in events}:
        holds = [bool(_before_tick(events, key, t, longest)) for t in ticks]
        for place in range(1, len(ticks)):
            if holds[place] or holds[place - 1]:
                t = ticks[place]
                found[key, t] = {name: at_tick(events, key, t, window) for name, window in windows.items()}
    return found


def answer(window: Window, seen: Sequence[Event]) -> Any:
    """One function, nulls skipped."""
    counting = [e for e in seen if e.counts or not window.filtered]
    if window.function == "rows":
        return len(counting)
    ordered = sorted((e for e in counting if e.value is not None), key=lambda e: (e.event, e.available, e.value))
    values = [e.value for e in ordered]
    if window.function == "count":
        return len(values)
    if window.function == "count_distinct":
        return len(set(values))
    return _FUNCTIONS[window.function](values) if values else None


def _stddev(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


_FUNCTIONS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "sum": math.fsum,
    "mean": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "stddev": _stddev,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "last_2": lambda values: list(values[-2:]),
    "median": lambda values: sorted(values)[max(math.ceil(len(values) / 2), 1) - 1],
}


def _before_tick(events: Iterable[Event], key: Hashable, t: int, width: int) -> list[Event]:
    return [e for e in events if e.key == key and t - width <= e.event < t and e.available < t]
