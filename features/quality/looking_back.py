"""Judging intervals as a whole: their figures beside those of the intervals before them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from features.core.definitions import ViewSpec
from features.core.interval_checks import IntervalCheck
from features.core.profile import Profile
from features.core.times import format_instant
from features.quality.verdict import RuleResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """What the rows of a run do not tell of its intervals.

    ends: of all of them, in order, those without rows too. earlier: the profiles of the intervals built before the
    first, oldest first. newest: by source and end of interval, its newest available time before that, where a check
    asks; None: it is older than any check tolerates.
    """

    ends: Sequence[datetime]
    earlier: Sequence[Profile] = ()
    newest: Mapping[str, Mapping[datetime, datetime | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Finding:
    """holds: None where there was nothing to compare with, or nothing to compare."""

    holds: bool | None
    detail: str


def judge_intervals(view: ViewSpec, span: Span, profiles: Mapping[datetime, Profile]) -> list[RuleResult]:
    """One result for each check and interval that fails it; one for the whole range of each check that never fails.

    Each interval is judged by itself, against the `over` intervals before it, whether they were built by this run or
    by earlier ones: a month at once gives what its days one by one give.

    Args:
        profiles: of the intervals of the span, by their end.
    """
    results: list[RuleResult] = []
    for check in view.checks:
        findings = {end: _judge(check, span, profiles, end) for end in span.ends}
        failed = {end: finding for end, finding in findings.items() if finding.holds is False}
        results += [_result(check, 1, 1, finding.detail, end) for end, finding in failed.items()]
        if not failed:
            results.append(_result(check, 0, len(findings), _tell_passed(list(findings.values()))))
    return results


def _judge(check: IntervalCheck, span: Span, profiles: Mapping[datetime, Profile], end: datetime) -> _Finding:
    if check.rule == "freshness":
        return _judge_freshness(check, span, end)
    before = [*span.earlier, *(profiles[other] for other in span.ends if other < end)][-check.over :]
    figures = [figure for profile in before if (figure := _FIGURES[check.rule](check, profile)) is not None]
    mine = _FIGURES[check.rule](check, profiles[end])
    if len(figures) < check.min_intervals:
        return _Finding(None, f"not judged: {len(figures)} intervals before it, {check.min_intervals} are required")
    if mine is None:
        return _Finding(None, "not judged: it has no values")
    return _COMPARISONS[check.rule](check, mine, figures)


def _judge_freshness(check: IntervalCheck, span: Span, end: datetime) -> _Finding:
    newest, max_age = span.newest.get(check.column, {}).get(end), check.limits["max_age"]
    # One run may have looked further back than another: what is too old is told alike.
    if newest is None or end - newest > max_age:
        return _Finding(False, f"no row of the {max_age} before the interval's end")
    return _Finding(True, f"newest row of {format_instant(newest)}, {end - newest} before the interval's end")


def _judge_rows(check: IntervalCheck, rows: float, figures: Sequence[float]) -> _Finding:
    usual = statistics.median(figures)
    told = f"{rows:g} rows; the median of {len(figures)} intervals before is {usual:g}"
    if not usual:
        return _Finding(None, f"not judged: {told}")
    low, high = check.limits.get("min_ratio", 0), check.limits.get("max_ratio", float("inf"))
    return _Finding(low <= rows / usual <= high, f"{told}, ratio {rows / usual:.3g}")


def _judge_nulls(check: IntervalCheck, share: float, figures: Sequence[float]) -> _Finding:
    usual = statistics.median(figures)
    told = f"{share:.3%} null; the median of {len(figures)} intervals before is {usual:.3%}"
    return _Finding(share - usual <= check.limits["max_increase"], told)


def _judge_mean(check: IntervalCheck, mean: float, figures: Sequence[float]) -> _Finding:
    limits = check.limits
    if "max_change" in limits:
        usual = statistics.median(figures)
        far, allowed = abs(mean - usual), limits["max_change"] * abs(usual)
        return _Finding(far <= allowed, f"mean {mean:g}; the median of {len(figures)} intervals before is {usual:g}")
    usual, deviation = statistics.mean(figures), statistics.stdev(figures)
    told = f"mean {mean:g}; {len(figures)} intervals before average {usual:g}, deviation {deviation:g}"
    return _Finding(abs(mean - usual) <= limits["max_deviations"] * deviation, told)


_FIGURES: Mapping[str, Callable[[IntervalCheck, Profile], float | None]] = {
    "row_count": lambda _, profile: profile.rows,
    "null_share": lambda check, profile: profile.null_share(check.column),
    "mean": lambda check, profile: profile.means.get(check.column),
}
_COMPARISONS: Mapping[str, Callable[[IntervalCheck, float, Sequence[float]], _Finding]] = {
    "row_count": _judge_rows,
    "null_share": _judge_nulls,
    "mean": _judge_mean,
}


def _tell_passed(findings: Sequence[_Finding]) -> str:
    if len(findings) == 1:
        return findings[0].detail
    unjudged = [finding for finding in findings if finding.holds is None]
    if not unjudged:
        return f"holds in {len(findings)} intervals"
    return f"{len(unjudged)} of {len(findings)} intervals {unjudged[-1].detail}"


def _result(check: IntervalCheck, failing: int, judged: int, detail: str, end: datetime | None = None) -> RuleResult:
    return RuleResult(
        column=check.column,
        rule=str(check),
        severity=check.severity,
        interval_end="" if end is None else format_instant(end),
        failing=failing,
        rows=judged,
        detail=detail,
    )
