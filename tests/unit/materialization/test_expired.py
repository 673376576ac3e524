"""Which ranges can still be built once retention has removed rows."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from features.core.applied import AppliedView
from features.core.discovery import Definitions
from features.core.schedule import cover
from features.core.view_source import ViewSource
from features.errors import IntervalError
from features.materialization.maintenance.expired import check_not_expired
from features.registry import Registry
from tests.builders import at, make_view, passes_on

DAY = timedelta(days=1)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A view, and one that reads two days of it before its intervals."""
    reader = make_view(
        name="reader", sources=[ViewSource(name="payments", view="last_payment", history=2 * DAY)], transform=passes_on
    )
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as opened:
        opened.apply(Definitions(views={"last_payment": make_view(), "reader": reader}, services={}))
        yield opened


def check(registry: Registry, view: AppliedView, first: int, end: int) -> None:
    check_not_expired(registry, view, cover("@daily", at(f"2024-01-{first:02}"), at(f"2024-01-{end:02}")))


def retain(registry: Registry, view: AppliedView, cutoff: str) -> None:
    registry.start_run(kind="retain", view=view, start=None, end=at(cutoff), now=at("2024-02-01"))


def test_intervals_that_are_wholly_past_are_refused(registry: Registry) -> None:
    view = registry.view("last_payment")
    check(registry, view, 1, 3)
    retain(registry, view, "2024-01-05T12:00")
    with pytest.raises(IntervalError, match=r"lies past the retention of last_payment@1.* start at 2024-01-05T00:00"):
        check(registry, view, 4, 8)
    with pytest.raises(IntervalError, match="there is nothing to build"):
        check(registry, view, 1, 3)
    check(registry, view, 5, 8)


def test_a_row_of_the_tick_that_ends_an_interval_may_be_left_of_it(registry: Registry) -> None:
    view = registry.view("last_payment")
    retain(registry, view, "2024-01-05")
    check(registry, view, 4, 5)
    retain(registry, view, "2024-01-05T00:00:00.000001")
    with pytest.raises(IntervalError):
        check(registry, view, 4, 5)


def test_what_reads_rows_that_were_removed_from_another_view_is_refused(registry: Registry) -> None:
    view, reader = registry.view("last_payment"), registry.view("reader")
    check(registry, reader, 6, 7)
    retain(registry, view, "2024-01-05")
    with pytest.raises(IntervalError, match=r"reader@1 is computed from rows of last_payment@1 of 2 days"):
        check(registry, reader, 6, 7)
    check(registry, reader, 7, 8)
    check(registry, view, 5, 6)
