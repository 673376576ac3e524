"""The gate: what a run computed is judged before anything of it is published."""

import logging
from collections.abc import Sequence

from pyspark.sql import DataFrame

from features.core.applied import AppliedView
from features.errors import DefinitionError, FeatureStoreError
from features.quality.evidence import IntervalEvidence, check_agreement, gather_evidence, split_off
from features.quality.gx import read_exception, validate
from features.quality.limit import check_limit
from features.quality.looking_back import Span, judge_intervals
from features.quality.profiling import empty_profile, profile_intervals
from features.quality.rules import Rule, rules_of
from features.quality.suite import build_batch, build_suite
from features.quality.team_suite import judge_suite
from features.quality.verdict import GateRefusedError, RuleResult, Verdict

logger = logging.getLogger(__name__)

_SHOWN_RESULTS = 20


def judge(rows: DataFrame, view: AppliedView, span: Span | None = None) -> Verdict:
    """Which rows of a range may be published.

    Great Expectations decides whether each rule holds, and each expectation of the view's own suite; only where a rule
    fails are failing rows counted, by interval, with the gate's own reading of the same rules, and the two must agree.
    Every rule is judged on all rows, so what is quarantined by one rule can still be refused by another. `unique`, the
    suite and the view's checks look at one interval at a time.

    Args:
        rows: one row per key, event and interval, cached by the caller: join keys, event_timestamp, created_timestamp,
            the features in the exact types of the view, and `_interval`, the end of the row's interval, never null.
        view: whose rules they must satisfy; see docs/decisions/gate.md for nulls, NaN and regular expressions.
        span: the run's intervals, and what checks compare them with; None: those that have rows, with nothing before.

    Raises:
        GateRefusedError: a rule of severity refuse fails in some interval, or more rows of one would be withheld than
            the view's quarantine_limit lets; nothing of the range may be published.
        DefinitionError: a regular expression that Python takes and Java does not, or a suite that cannot be judged.
        FeatureStoreError: a rule could not be judged, or the two readings of the rules disagree.
    """
    rules = rules_of(view)
    filled = profile_intervals(rows, view)
    span = Span(ends=sorted(filled)) if span is None else span
    profiles = {end: filled.get(end) or empty_profile(view) for end in span.ends}
    total = sum(profile.rows for profile in filled.values())
    broken = _find_broken(rows, view, rules, total) if total else []
    evidence = gather_evidence(rows, view, broken, filled) if broken else ()
    check_agreement(view, broken, evidence)
    judged = [*judge_suite(rows, view, filled), *judge_intervals(view, span, profiles)]
    failures = (*_failures(broken, evidence), *(result for result in judged if not result.passed))
    passes = _passes([rule for rule in rules if rule not in broken], total)
    results = (*failures, *passes, *(result for result in judged if result.passed))
    _log_warnings(view, failures)
    if refused := [failure for failure in failures if failure.severity == "refuse"]:
        raise GateRefusedError(_tell(view, refused), results)
    withholding = [rule for rule in broken if rule.severity == "quarantine"]
    if withholding:
        check_limit(view, evidence, results)
    accepted, quarantined = split_off(rows, withholding) if withholding else (rows, None)
    withheld = sum(interval.withheld for interval in evidence) if withholding else 0
    return Verdict(
        accepted=accepted, quarantined=quarantined, quarantined_rows=withheld, results=results, profiles=profiles
    )


def _find_broken(rows: DataFrame, view: AppliedView, rules: Sequence[Rule], total: int) -> list[Rule]:
    """The rules that Great Expectations finds broken, in order."""
    broken = set()
    not_null = [rule.column for rule in rules if rule.name == "not_null"]
    batch, suite = build_batch(rows, rules), build_suite(view)
    for result in validate(batch, suite.expectations, rows=total, null_columns=not_null):
        rule = rules[result.expectation_config.meta["rule"]]
        if why := read_exception(result):
            _refuse_to_guess(view, rule, why)
        if not result.success:
            broken.add(rule.number)
    return [rule for rule in rules if rule.number in broken]


def _refuse_to_guess(view: AppliedView, rule: Rule, why: str) -> None:
    where = f"{view.reference}: {rule} could not be judged: {why}"
    if rule.name == "matches":
        raise DefinitionError(f"{where}; regular expressions run in Java's dialect: rewrite it, apply, then rerun")
    raise FeatureStoreError(f"{where}; nothing was published: change the expectation, or report this, then rerun")


def _failures(failed: Sequence[Rule], evidence: Sequence[IntervalEvidence]) -> list[RuleResult]:
    return [
        RuleResult(
            column=rule.column,
            rule=str(rule.expectation),
            severity=rule.severity,
            interval_end=interval.interval_end,
            failing=interval.failing[rule.number],
            rows=interval.rows,
            keys=interval.keys[rule.number],
        )
        for rule in failed
        for interval in evidence
        if interval.failing[rule.number]
    ]


def _passes(rules: Sequence[Rule], rows: int) -> tuple[RuleResult, ...]:
    return tuple(
        RuleResult(column=r.column, rule=str(r.expectation), severity=r.severity, interval_end="", failing=0, rows=rows)
        for r in rules
    )


def _log_warnings(view: AppliedView, failures: Sequence[RuleResult]) -> None:
    for failure in failures:
        if failure.severity == "warn":
            counts = {"failing": failure.failing, "rows": failure.rows, "interval_end": failure.interval_end}
            logger.warning(
                "%s: %s: %s fails%s",
                view.reference,
                failure.column,
                failure.rule,
                f": {failure.detail}" if failure.detail else f" for {failure.failing} of {failure.rows} rows",
                extra={"view": view.reference, "column": failure.column, "rule": failure.rule, **counts},
            )


def _tell(view: AppliedView, refused: Sequence[RuleResult]) -> str:
    shown = [f"  {failure}" for failure in refused[:_SHOWN_RESULTS]]
    if len(refused) > _SHOWN_RESULTS:
        shown.append(f"  and {len(refused) - _SHOWN_RESULTS} more")
    return "\n".join(
        [
            f"the gate refused {view.reference}: nothing of the range was published",
            *shown,
            "repair the source or change the expectation, then rerun",
        ]
    )
