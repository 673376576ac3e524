"""How much of an interval may be withheld before all of it is refused."""

from collections.abc import Sequence

from features.core.applied import AppliedView
from features.quality.evidence import IntervalEvidence
from features.quality.verdict import GateRefusedError, RuleResult

_SHOWN_INTERVALS = 20


def check_limit(view: AppliedView, evidence: Sequence[IntervalEvidence], results: Sequence[RuleResult]) -> None:
    """Compare what would be withheld of each interval with the view's `quarantine_limit`.

    Args:
        view: whose limit it is.
        evidence: of every interval that has rows; a row that was released counts as one that fails, too.
        results: how the rules fared, for the error.

    Raises: GateRefusedError: of some interval more would be withheld.
    """
    # Divided, not multiplied: 29 / 100 is the very number that a limit of 0.29 is, and 0.29 * 100 is less than 29.
    over = [i for i in evidence if i.withheld and i.withheld / i.rows > view.quarantine_limit]
    if not over:
        return
    shown = [
        f"  {interval.withheld} of {interval.rows} rows ({interval.withheld / interval.rows:.1%}) "
        f"in the interval that ends at {interval.interval_end}"
        for interval in over[:_SHOWN_INTERVALS]
    ]
    if len(over) > _SHOWN_INTERVALS:
        shown.append(f"  and {len(over) - _SHOWN_INTERVALS} more intervals")
    failed = [f"  {result}" for result in results if result.severity == "quarantine" and not result.passed]
    raise GateRefusedError(
        "\n".join(
            [
                f"the gate refused {view.reference}: more rows would be withheld than its quarantine_limit of "
                f"{view.quarantine_limit:g} lets, and nothing of the range was published",
                *shown,
                "because of",
                *failed[:_SHOWN_INTERVALS],
                "repair the source, or change the expectation or the limit, then rerun",
            ]
        ),
        results,
    )
