"""A view's intervals as a calendar in the terminal: one glyph a day, or an interval where schedules are coarser."""

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from features.materialization.coverage import IntervalState

# State to its glyph, the same in ASCII, and the colour of a terminal (SGR).
_GLYPHS = {
    "built": ("█", "#", "32"),
    "empty": ("·", ".", "2"),
    "stale": ("~", "~", "33"),
    "refused": ("x", "x", "31"),
    "failed": ("!", "!", "31"),
    "missing": ("_", "_", "31"),
}
_DAYS = 31
_MARGIN = 2
_LABEL = len("2013-03") + _MARGIN


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """What a terminal can show. width: in columns."""

    unicode: bool
    colour: bool
    width: int

    @classmethod
    def of(cls, stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> Self:
        """What a stream can show: colours on a terminal alone, and not where NO_COLOR is set."""
        is_terminal = stream is not None and stream.isatty()
        try:
            "".join(glyphs[0] for glyphs in _GLYPHS.values()).encode(getattr(stream, "encoding", None) or "ascii")
            unicode = True
        except (UnicodeEncodeError, LookupError):
            unicode = False
        colour = is_terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        return cls(unicode=unicode, colour=colour, width=shutil.get_terminal_size().columns)

    def glyph(self, state: str) -> str:
        """The glyph of a state."""
        block, plain, colour = _GLYPHS[state]
        shown = block if self.unicode else plain
        return f"\033[{colour}m{shown}\033[0m" if self.colour else shown


def legend(style: Style) -> str:
    """What each glyph means."""
    return "  ".join(f"{style.glyph(state)} {state}" for state in _GLYPHS)


def month_rows(covered: "Sequence[IntervalState]", style: Style, *, months: int | None = None) -> list[str]:
    """A line for each month, a place for each day; as many months beside each other as the terminal is wide.

    An interval stands on the day that it starts on, in UTC; of several on one day the worst is shown.

    Args:
        months: at most so many, the latest; None: all.
    """
    days = _by_day(covered)
    if not days:
        return []
    listed = _months(min(days), max(days))
    listed = listed if months is None else listed[-months:]
    across = max(1, (style.width + _MARGIN) // (_LABEL + _DAYS + _MARGIN))
    height = -(-len(listed) // across)
    rows = []
    for place in range(height):
        blocks = [_month(listed[column], days, style) for column in range(place, len(listed), height)]
        rows.append((" " * _MARGIN).join(blocks).rstrip())
    return rows


def day_line(covered: "Sequence[IntervalState]", style: Style, *, indent: int = 0) -> str:
    """The latest days on one line of the terminal, without blanks between intervals that are days apart."""
    days = _by_day(covered)
    shown = sorted(days)[-max(1, style.width - indent) :]
    return "".join(style.glyph(days[day]) for day in shown)


def _by_day(covered: "Sequence[IntervalState]") -> dict[date, str]:
    from features.materialization.coverage import worst

    states: dict[date, list[str]] = defaultdict(list)
    for item in covered:
        states[item.start.date()].append(item.state)
    return {day: worst(found) for day, found in states.items()}


def _months(first: date, last: date) -> list[date]:
    listed = [first.replace(day=1)]
    while (following := (listed[-1] + timedelta(days=_DAYS)).replace(day=1)) <= last:
        listed.append(following)
    return listed


def _month(month: date, days: Mapping[date, str], style: Style) -> str:
    cells = []
    for offset in range(_DAYS):
        day = month + timedelta(days=offset)
        cells.append(style.glyph(days[day]) if day.month == month.month and day in days else " ")
    return f"{month:%Y-%m}{' ' * _MARGIN}{''.join(cells)}"
