"""The calendar of a view's intervals, drawn for terminals of several kinds."""

import io
from collections.abc import Sequence
from datetime import timedelta

from features.cli.strip import Style, day_line, legend, month_rows
from features.materialization.coverage import IntervalState
from tests.builders import at

PLAIN = Style(unicode=False, colour=False, width=45)


def intervals(start: str, hours: int, statuses: Sequence[str]) -> list[IntervalState]:
    step = timedelta(hours=hours)
    return [
        IntervalState(start=at(start) + n * step, end=at(start) + (n + 1) * step, status=status, built=True)
        for n, status in enumerate(statuses)
    ]


def test_every_month_has_a_row_and_every_day_its_place() -> None:
    days = intervals("2024-01-30", 24, ["built", "empty", "refused", "failed", "missing", "built"])
    assert month_rows(days, PLAIN) == ["2024-01  " + " " * 29 + "#.", "2024-02  x!_#"]


def test_the_worst_of_a_day_is_shown_for_its_hours() -> None:
    hours = intervals("2024-01-01", 1, ["built"] * 24 + ["empty", "built", "missing"] + ["built"] * 21 + ["empty"] * 24)
    assert month_rows(hours, PLAIN) == ["2024-01  #_."]


def test_months_without_any_interval_keep_their_rows_and_leap_days_their_place() -> None:
    weeks = intervals("2024-02-29", 24, ["built"]) + intervals("2024-04-01", 24 * 7, ["built"] * 2)
    assert month_rows(weeks, PLAIN) == ["2024-02  " + " " * 28 + "#", "2024-03", "2024-04  #      #"]


def test_wide_terminals_get_months_beside_each_other_in_reading_order() -> None:
    days = intervals("2024-01-01", 24, ["built"] * (31 + 29 + 31))
    wide = Style(unicode=False, colour=False, width=84)
    first, second = month_rows(days, wide)
    assert first == f"2024-01  {'#' * 31}  2024-03  {'#' * 31}"
    assert second == f"2024-02  {'#' * 29}"
    assert month_rows(days, PLAIN, months=1) == [f"2024-03  {'#' * 31}"]


def test_a_line_ends_with_the_latest_day_and_fits() -> None:
    days = intervals("2024-01-01", 24, ["missing"] * 100 + ["built"])
    assert day_line(days, PLAIN, indent=5) == "_" * 39 + "#"


def test_stale_is_drawn_only_where_the_last_run_was_fine() -> None:
    stale, refused = (
        IntervalState(start=at("2024-01-01"), end=at("2024-01-02"), status=status, built=True, stale=True)
        for status in ("empty", "refused")
    )
    assert (stale.state, refused.state) == ("stale", "refused")


def test_colours_are_for_terminals_whose_owner_wants_them() -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    assert Style.of(Terminal(), {}).colour
    assert not Style.of(Terminal(), {"NO_COLOR": "1"}).colour
    assert not Style.of(Terminal(), {"TERM": "dumb"}).colour
    assert not Style.of(io.StringIO(), {}).colour
    assert not Style.of(None, {}).colour
    assert Style(unicode=True, colour=True, width=80).glyph("built") == "\033[32m█\033[0m"


def test_terminals_that_lack_the_glyphs_get_ascii() -> None:
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert not Style.of(latin, {}).unicode
    assert legend(PLAIN).isascii()
    assert Style.of(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), {}).unicode
