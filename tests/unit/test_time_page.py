"""The worked example of docs/time.md, by the rule in plain Python: a page that is wrong would be worse than none."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.oracle import Row, as_of, rerun

PAGE = Path(__file__).parents[2] / "docs" / "time.md"
DELAY, LOOKBACK = 30 * 60, 3 * 24 * 60 * 60


def table(heading: str) -> list[list[str]]:
    """The rows of the table that begins with a heading."""
    _, _, after = PAGE.read_text(encoding="utf-8").partition(f"\n| {heading} ")
    lines = after.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def at(text: str) -> int:
    moment = datetime.strptime(f"2024 {text}", "%Y %b %d %H:%M").replace(tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))


def row(seq: str, key: str, event: str, created: str, interval: str, what: str) -> Row:
    value = float(what.removeprefix("put ")) if what != "retract" else None
    return Row(key, at(event), at(created), at(interval), int(seq), value is not None, value)


LOG = [row(*cells) for cells in table("seq")]


def test_the_page_shows_the_log_that_its_runs_append() -> None:
    jan_2, jan_3, rerun_at = at("Jan 2 00:00"), at("Jan 3 00:00"), at("Jan 10 12:00")
    first = {("a", at("Jan 1 10:00")): 1.0, ("b", at("Jan 1 18:00")): 5.0}
    second = {("a", at("Jan 2 09:00")): 2.0, ("b", at("Jan 1 20:00")): 6.0}
    corrected = {("a", at("Jan 2 09:00")): 20.0}

    log = rerun([], first, interval=jan_2, created=jan_2 + DELAY, seq=1)
    log += rerun(log, second, interval=jan_3, created=jan_3 + DELAY, seq=2)
    log += rerun(log, corrected, interval=jan_3, created=rerun_at + DELAY, seq=3)

    assert sorted(log, key=repr) == sorted(LOG, key=repr)


@pytest.mark.parametrize(("key", "reader", "value", "unlimited", "by_event", "_why"), table("key"))
def test_the_page_shows_what_readers_get(
    key: str, reader: str, value: str, unlimited: str, by_event: str, _why: str
) -> None:
    answers = [
        as_of(LOG, key, at(reader), lookback=LOOKBACK, known_at="created"),
        as_of(LOG, key, at(reader), lookback=None, known_at="created"),
        as_of(LOG, key, at(reader), lookback=None, known_at="event"),
    ]

    assert answers == [None if cell == "null" else float(cell) for cell in (value, unlimited, by_event)]


def test_both_tables_of_the_page_are_found() -> None:
    assert (len(LOG), len(table("key"))) == (6, 11)
