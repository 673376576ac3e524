"""The gate: what a run computed is judged before anything of it is published."""

import logging
from collections.abc import Sequence

from pyspark.sql import DataFrame

from features.core.applied import AppliedView
from features.errors import DefinitionError, FeatureStoreError
from features.quality.evidence import IntervalEvidence, check_agreement, gather_evidence, split_off
from features.quality.gx import read_exception, validate
from features.quality.limit import check_limit
from features.quality.rules import Rule, rules_of
from features.quality.suite import build_batch, build_suite
from features.quality.verdict import GateRefusedError, RuleResult, Verdict

logger = logging.getLogger(__name__)

_SHOWN_RESULTS = 20


def judge(rows: DataFrame, view: AppliedView) -> Verdict:
    """Which rows of a range may be published.

    Great Expectations decides whether each rule holds; only where one fails are failing rows counted, by interval, with
    the gate's own reading of the same rules, and the two must agree. Every rule is judged on all rows, so what is
    quarantined by one rule can still be refused by another. `unique` looks at one interval at a time.

    Args:
        rows: one row per key, event and interval, cached by the caller: join keys, event_timestamp, created_timestamp,
            the features in the exact types of the view, and `_interval`, the end of the row's interval, never null.
        view: whose rules they must satisfy; see docs/decisions/gate.md for nulls, NaN and regular expressions.

    Raises:
        GateRefusedError: a rule of severity refuse fails in some interval, or more rows of one would be withheld than
            the view's quarantine_limit lets; nothing of the range may be published.
        DefinitionError: a regular expression that Python takes and Java does not.
        FeatureStoreError: a rule could not be judged, or the two readings of the rules disagree.
    """
    rules = rules_of(view)
    total = rows.count()
    failed = _find_failed(rows, view, rules) if total else frozenset()
    if not failed:
        return Verdict(accepted=rows, quarantined=None, quarantined_rows=0, results=_passes(rules, total))
    evidence = gather_evidence(rows, view, rules, failed)
    check_agreement(view, rules, failed, evidence)
    failures = tuple(_failures([rule for rule in rules if rule.number in failed], evidence))
    results = (*failures, *_passes([rule for rule in rules if rule.number not in failed], total))
    _log_warnings(view, failures)
    if refused := [failure for failure in failures if failure.severity == "refuse"]:
        raise GateRefusedError(_tell(view, refused), results)
    withholding = [rule for rule in rules if rule.number in failed and rule.severity == "quarantine"]
    if not withholding:
        return Verdict(accepted=rows, quarantined=None, quarantined_rows=0, results=results)
    check_limit(view, evidence, results)
    accepted, quarantined = split_off(rows, withholding)
    withheld = sum(interval.withheld for interval in evidence)
    return Verdict(accepted=accepted, quarantined=quarantined, quarantined_rows=withheld, results=results)


def _find_failed(rows: DataFrame, view: AppliedView, rules: Sequence[Rule]) -> frozenset[int]:
    """The numbers of the rules that Great Expectations finds broken."""
    failed = set()
    for number, result in validate(build_batch(rows, rules), build_suite(view)).items():
        rule = rules[number]
        if why := read_exception(result):
            _refuse_to_guess(view, rule, why)
        if not result.success:
            failed.add(rule.number)
    return frozenset(failed)


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
                "%s: %s: %s fails for %d of %d rows",
                view.reference,
                failure.column,
                failure.rule,
                failure.failing,
                failure.rows,
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
