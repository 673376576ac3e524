"""Which intervals of a view are expected by now, beside those that the ledger knows."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.materialization.backfill import Backfill
from features.materialization.coverage import Bounds, cover_view, find_holes
from features.registry import IntervalOutcome, Registry
from tests.builders import at, make_view


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Days of January 2024: 3 built, 4 empty, 6 refused; and an hourly, a weekly and an unscheduled view."""
    views = [
        make_view(),
        make_view(name="hourly", schedule="@hourly", delay=timedelta(minutes=10)),
        make_view(name="weekly", schedule="@weekly"),
        make_view(name="once", schedule=None),
    ]
    with Registry.open(f"sqlite:///{tmp_path}/registry.db") as registry:
        registry.apply(Definitions(views={view.name: view for view in views}, services={}))
        outcomes = [("03", "built"), ("04", "empty"), ("06", "refused")]
        registry.record_intervals(
            registry.view("last_payment"), "run", [outcome(f"2024-01-{day}", status) for day, status in outcomes]
        )
        yield registry


def outcome(day: str, status: str, days: int = 1) -> IntervalOutcome:
    interval = Interval(at(day), at(day) + timedelta(days=days))
    return IntervalOutcome(interval=interval, status=status, rows=2, position=1, delta_version=0)


def states(registry: Registry, name: str = "last_payment", **given: object) -> list[tuple[int, str]]:
    now = at("2024-01-09 00:29")
    found = cover_view(registry, registry.view(name), **{"now": now, "bounds": Bounds(), **given})  # type: ignore[arg-type]
    return [(item.start.day, item.state) for item in found]


JUDGED = [(3, "built"), (4, "empty"), (5, "missing"), (6, "refused")]


def test_what_is_due_since_the_first_that_was_judged_is_expected(registry: Registry) -> None:
    assert states(registry) == [*JUDGED, (7, "missing")]


def test_an_interval_is_due_when_its_delay_is_over(registry: Registry) -> None:
    assert states(registry, now=at("2024-01-09 00:30")) == [*JUDGED, (7, "missing"), (8, "missing")]


def test_the_schedule_s_bounds_widen_and_end_what_is_expected(registry: Registry) -> None:
    widened = Bounds(start=at("2024-01-01 12:00"), end=at("2024-01-08 12:00"))
    later = at("2030-01-01")
    assert states(registry, bounds=widened, now=later) == [(2, "missing"), *JUDGED, (7, "missing")]
    ended = Bounds(start=at("2024-01-05"), end=at("2024-01-06"))
    assert states(registry, bounds=ended, now=later) == JUDGED


def test_a_version_that_nothing_runs_lacks_only_what_lies_between(registry: Registry) -> None:
    assert states(registry, bounds=None, now=at("2030-01-01")) == JUDGED


def test_a_range_that_is_asked_for_is_expected_as_far_as_it_is_due(registry: Registry) -> None:
    early = states(registry, start=at("2024-01-01"), end=at("2024-01-04"))
    assert early == [(1, "missing"), (2, "missing"), (3, "built")]
    assert states(registry, start=at("2024-01-06 12:00"), end=at("2024-02-01")) == [(6, "refused"), (7, "missing")]


def test_nothing_is_expected_of_a_view_that_never_ran_and_has_no_start(registry: Registry) -> None:
    assert states(registry, "hourly") == []
    bounds = Bounds(start=at("2024-01-08 20:30"))
    assert states(registry, "hourly", bounds=bounds) == [(8, "missing")] * 3
    assert states(registry, "weekly", bounds=Bounds(start=at("2023-12-31"))) == [(31, "missing")]
    assert states(registry, "once", bounds=bounds) == []


def test_holes_are_what_no_run_has_built(registry: Registry) -> None:
    view = registry.view("last_payment")
    registry.record_intervals(view, "run", [outcome("2024-01-03", "failed")])
    covered = cover_view(registry, view, now=at("2024-01-08"), bounds=Bounds())
    assert [hole.start.day for hole in find_holes(covered)] == [5, 6]
    assert (covered[0].state, covered[0].built, covered[0].rows) == ("failed", True, 2)


def test_what_is_stale_past_the_retention_is_left_as_it_is(registry: Registry) -> None:
    view = registry.view("last_payment")
    assert registry.mark_stale(view, after=at("2024-01-03"), until=at("2024-01-05")) == 2
    backfill = Backfill(registry=registry, applied=view, start=at("2024-01-03"), end=at("2024-01-05"))
    assert [state for _, state in states(registry)][:2] == ["stale", "stale"]
    assert backfill.plan().intervals == 2

    registry.start_run(kind="retain", view=view, start=None, end=at("2024-01-04 12:00"), now=at("2024-01-09"))

    assert [state for _, state in states(registry)][:2] == ["built", "stale"]
    # As one that was tried all the same has left it.
    registry.record_intervals(view, "run", [outcome("2024-01-03", "failed")])
    assert [interval.start.day for chunk in backfill.plan().chunks for interval in chunk.intervals] == [4]


def test_what_was_never_built_and_lies_past_the_retention_is_no_hole(registry: Registry) -> None:
    view = registry.view("last_payment")
    registry.record_intervals(view, "run", [outcome("2024-01-03", "failed"), outcome("2024-01-01", "failed")])
    start = at("2023-12-30")
    wanted = Backfill(registry=registry, applied=view, start=start, end=at("2024-01-07"))
    assert [(d, state) for d, state in states(registry, start=start) if d != 4][:4] == [
        (30, "missing"), (31, "missing"), (1, "failed"), (2, "missing")
    ]  # fmt: skip
    assert wanted.plan().intervals == 7

    registry.start_run(kind="retain", view=view, start=None, end=at("2024-01-05 12:00"), now=at("2024-01-09"))

    assert states(registry, start=start)[:3] == [(3, "built"), (4, "empty"), (5, "missing")]
    assert [interval.start.day for chunk in wanted.plan().chunks for interval in chunk.intervals] == [5, 6]


def test_nothing_is_expected_that_is_not_over(registry: Registry) -> None:
    registry.record_intervals(registry.view("last_payment"), "run", [outcome("2024-01-12", "empty")])
    assert states(registry)[-3:] == [(7, "missing"), (8, "missing"), (12, "empty")]
