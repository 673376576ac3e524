"""What a build needs of the views that it reads, and what their commits make stale: by the ledger alone."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from features import Aggregation, FeatureView, ViewSource
from features.core.applied import AppliedView
from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.errors import UpstreamError
from features.materialization.readers import mark_readers
from features.materialization.upstreams import check_built
from features.registry import IntervalOutcome, Registry
from tests.builders import at, make_view

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as opened:
        yield opened


def reader(name: str = "reader", *, history: timedelta = timedelta(0), view: str = "last_payment", **changes: object):
    source = ViewSource(name="given", view=view, history=history)
    return make_view(name=name, sources=[source], delay=DAY, **changes)


def apply(registry: Registry, *views: FeatureView) -> list[AppliedView]:
    registry.apply(Definitions(views={view.name: view for view in views}, services={}))
    return [registry.view(view.name) for view in views]


def day(number: int) -> Interval:
    start = at("2024-01-01") + (number - 1) * DAY
    return Interval(start, start + DAY)


def record(
    registry: Registry, view: AppliedView, numbers: Sequence[int], *, version: int | None = None, status: str = "built"
) -> None:
    """What a build of these days tells, each by itself."""
    for number in numbers:
        interval = day(number)
        run = registry.start_run(kind="build", view=view, start=interval.start, end=interval.end, now=interval.end)
        outcome = IntervalOutcome(interval=interval, status=status, rows=1, delta_version=version)
        registry.record_intervals(view, run, [outcome])
        registry.finish_run(run, status=status, delta_version=version)


def span(first: int, last: int) -> Interval:
    return Interval(day(first).start, day(last).end)


def test_a_range_that_is_built_is_fine_whatever_else_is_missing(registry: Registry) -> None:
    base, view = apply(registry, make_view(), reader())
    record(registry, base, [3, 4])
    record(registry, base, [5], status="empty")
    record(registry, base, [4], status="refused")  # its first build still stands
    registry.mark_stale(base, after=day(3).start, until=day(3).end)

    check_built(registry, view, base, span(3, 5), None)


def test_missing_intervals_are_named_with_what_builds_them(registry: Registry) -> None:
    base, view = apply(registry, make_view(), reader())
    record(registry, base, [1, 2, 6])
    record(registry, base, [3], status="refused")

    with pytest.raises(UpstreamError) as raised:
        check_built(registry, view, base, span(2, 8), None)

    assert str(raised.value) == (
        f"reader@1 over {span(2, 8)} needs {day(3)} (refused), {day(4)} (never built), {day(5)} (never built) and 2 "
        "more of last_payment@1; run `features backfill last_payment --start 2024-01-03T00:00:00+00:00 --end "
        "2024-01-09T00:00:00+00:00`, then this again"
    )


def test_history_is_needed_since_the_first_build_and_without_a_gap(registry: Registry) -> None:
    base, view, windowed = apply(
        registry,
        make_view(),
        reader(history=3 * DAY),
        reader(
            "windowed",
            transform=None,
            features=(),
            aggregations=[Aggregation(function="count", windows=[2 * DAY], name="payments")],
        ),
    )
    record(registry, base, [4, 5])
    check_built(registry, view, base, span(5, 5), None)
    record(registry, base, [7])

    check_built(registry, windowed, base, span(4, 5), None)
    for slow in (view, windowed):
        with pytest.raises(
            UpstreamError, match=r"needs \[2024-01-06T00:00:00\+00:00.* \(never built\) of last_payment@1"
        ):
            check_built(registry, slow, base, span(7, 7), None)


def test_intervals_count_by_where_they_end(registry: Registry) -> None:
    base, hourly = apply(registry, make_view(), reader(schedule="@hourly"))
    record(registry, base, [1])
    midnight, noon = at("2024-01-02"), at("2024-01-02 12:00")

    check_built(registry, hourly, base, Interval(midnight - HOUR, midnight), None)
    check_built(registry, hourly, base, Interval(noon, noon + HOUR), None)
    with pytest.raises(UpstreamError, match="2024-01-02T00:00:00"):
        check_built(registry, hourly, base, Interval(noon, noon + 12 * HOUR), None)


def test_a_delta_version_holds_what_was_built_by_then(registry: Registry) -> None:
    base, view = apply(registry, make_view(), reader())
    record(registry, base, [1, 2, 3], version=4)
    record(registry, base, [2], version=6)
    record(registry, base, [4], version=7)

    check_built(registry, view, base, span(1, 3), 4)  # day 2 was built before, if otherwise
    check_built(registry, view, base, span(1, 4), 7)
    with pytest.raises(UpstreamError, match=r"\(built later\) .* at Delta version 6; read a later version: --upstream"):
        check_built(registry, view, base, span(1, 4), 6)


def test_a_commit_of_a_killed_run_was_built_too(registry: Registry) -> None:
    base, view = apply(registry, make_view(), reader())
    run = registry.start_run(kind="build", view=base, start=day(1).start, end=day(1).end, now=day(1).end)
    registry.record_commit(base, position=1, delta_version=0, committed_at=day(2).start, run_id=run)
    record(registry, base, [1], version=3)

    check_built(registry, view, base, day(1), 0)


def test_without_a_schedule_ranges_leave_no_gap(registry: Registry) -> None:
    base, view = apply(registry, make_view(schedule=None), reader(schedule=None))
    record(registry, base, [1, 2, 4])

    check_built(registry, view, base, span(1, 2), None)
    with pytest.raises(UpstreamError) as raised:
        check_built(registry, view, base, span(2, 6), None)
    assert f"{day(3)} (never built), {span(5, 6)} (never built) of" in str(raised.value)


def test_a_version_that_is_built_no_more_is_told(registry: Registry) -> None:
    first, view = apply(registry, make_view(), reader(view="last_payment@1"))
    apply(registry, make_view(delay=HOUR), reader(view="last_payment@1"))

    with pytest.raises(UpstreamError, match="last_payment@1 is built no more, since its code has changed; let the sou"):
        check_built(registry, view, first, day(1), None)


def test_rows_appended_make_stale_what_reads_them_in_all_versions(registry: Registry) -> None:
    base, plain, long = apply(registry, make_view(), reader(), reader("long", history=2 * DAY))
    (*_, later, hourly, monthly) = apply(
        registry,
        make_view(),
        reader(),
        reader("long", history=2 * DAY, description="moved", lookback=DAY),
        reader("hourly", schedule="@hourly"),
        reader("monthly", schedule="0 0 1 * *"),
    )
    for view in (base, plain, long, later):
        record(registry, view, range(1, 8))
    month = Interval(at("2024-01-01"), at("2024-02-01"))
    ends = [Interval(day(2).start + n * HOUR, day(2).start + (n + 1) * HOUR) for n in range(24)]
    for view, intervals in ((hourly, ends), (monthly, [month])):
        outcomes = [IntervalOutcome(interval=interval, status="built") for interval in intervals]
        registry.record_intervals(view, "run", outcomes)

    mark_readers(registry, base, [day(2).end, day(5).end])

    stale = {
        view.reference: [e.interval for e in registry.ledger(view) if e.stale]
        for view in (base, plain, long, later, hourly, monthly)
    }
    assert stale == {
        "last_payment@1": [],
        "reader@1": [day(2), day(5)],
        "long@1": [day(n) for n in (2, 3, 4, 5, 6, 7)],
        "long@2": [day(n) for n in (2, 3, 4, 5, 6, 7)],
        "hourly@1": [ends[-1]],
        "monthly@1": [month],
    }
