from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from features import Check
from features.core.interval_checks import IntervalCheck
from features.core.profile import Profile
from features.quality import RuleResult, Span
from features.quality.looking_back import judge_intervals
from tests.builders import apply_view, at, make_view

DAYS = [at("2024-01-02") + timedelta(days=day) for day in range(30)]


def judge_one(check: IntervalCheck, earlier: list[Profile], mine: Profile) -> RuleResult:
    span = Span(ends=DAYS[:1], earlier=earlier)
    (result,) = judge_intervals(apply_view(make_view(checks=[check])), span, {DAYS[0]: mine})
    return result


def rows(*counts: int) -> list[Profile]:
    return [Profile(rows=count) for count in counts]


@pytest.mark.parametrize(("count", "holds"), [(4, False), (5, True), (20, True), (21, False), (0, False)])
def test_rows_are_compared_with_the_median_before(count: int, holds: bool) -> None:
    check = Check.row_count(min_ratio=0.5, max_ratio=2, severity="refuse")
    result = judge_one(check, rows(1, 10, 100), Profile(rows=count))
    assert (result.passed, result.column, result.severity) == (holds, "*", "refuse")
    assert f"{count} rows; the median of 3 intervals before is 10" in result.detail


def test_only_the_latest_intervals_count_and_too_few_hold_and_say_so() -> None:
    check = Check.row_count(min_ratio=1, over=3, min_intervals=3)
    assert judge_one(check, rows(1000, 1000, 5, 5, 5), Profile(rows=5)).passed
    few = judge_one(check, rows(1000, 1000), Profile(rows=5))
    assert (few.passed, few.detail) == (True, "not judged: 2 intervals before it, 3 are required")
    assert judge_one(check, rows(0, 0, 0), Profile(rows=5)).detail.startswith("not judged: 5 rows; the median")


@pytest.mark.parametrize(("nulls", "holds"), [(20, True), (21, False)])
def test_a_share_of_nulls_may_rise_so_much_above_the_median(nulls: int, holds: bool) -> None:
    check = Check.null_share("amount", max_increase=0.1)
    earlier = [Profile(rows=10, nulls={"amount": 1}), *rows(0, 0), *[Profile(rows=100, nulls={"amount": 10})] * 2]
    assert judge_one(check, earlier, Profile(rows=100, nulls={"amount": nulls})).passed is holds
    assert "no values" in judge_one(check, earlier, Profile(rows=0, nulls={"amount": 0})).detail


def means(*values: float | None) -> list[Profile]:
    return [Profile(rows=9, means={"amount": value}) for value in values]


@pytest.mark.parametrize(
    ("check", "mean", "holds"),
    [
        (Check.mean("amount", max_deviations=2), 4.0, True),
        (Check.mean("amount", max_deviations=2), 4.1, False),
        (Check.mean("amount", max_change=0.5), 1.0, True),
        (Check.mean("amount", max_change=0.5), 3.1, False),
        (Check.mean("amount", max_change=0.5), None, True),
    ],
)
def test_a_mean_is_compared_with_those_before(check: IntervalCheck, mean: float | None, holds: bool) -> None:
    assert judge_one(check, means(1.0, None, 2.0, 3.0), *means(mean)).passed is holds


@pytest.mark.parametrize(
    ("newest", "holds"), [("2024-01-01T18:00", True), ("2024-01-01T17:59:59.999999", False), (None, False)]
)
def test_a_source_is_fresh_up_to_its_age_inclusive(newest: str | None, holds: bool) -> None:
    view = apply_view(make_view(checks=[Check.freshness("payments", max_age=timedelta(hours=6))]))
    found = {"payments": {DAYS[0]: None if newest is None else at(newest)}}
    (result,) = judge_intervals(view, Span(ends=DAYS[:1], newest=found), {DAYS[0]: Profile(rows=0)})
    assert (result.passed, result.column) == (holds, "payments")
    assert ("no row of the 6:00:00 before the interval's end" in result.detail) is not holds


def test_a_month_at_once_is_judged_as_its_days_one_by_one() -> None:
    view = apply_view(
        make_view(checks=[Check.row_count(min_ratio=0.8, max_ratio=1.2), Check.mean("amount", max_change=1)])
    )
    profiles = {
        end: Profile(rows=(day * 37) % 11 + 5, means={"amount": None if day % 7 == 3 else float((day * 13) % 17)})
        for day, end in enumerate(DAYS)
    }
    together = judge_intervals(view, Span(ends=DAYS, earlier=rows(7, 9)), profiles)
    apart: list[RuleResult] = []
    earlier = rows(7, 9)
    for end in DAYS:
        apart += judge_intervals(view, Span(ends=[end], earlier=earlier), {end: profiles[end]})
        earlier.append(profiles[end])
    failed = [result for result in together if not result.passed]
    assert sorted(map(str, failed)) == sorted(str(result) for result in apart if not result.passed)
    assert {result.rule.partition("(")[0] for result in failed} == {"row_count", "mean"}
    ends = [datetime.fromisoformat(r.interval_end) for r in failed if r.column == "*"]
    assert all(first < second for first, second in pairwise(ends))
