import pytest

from features.quality.evidence import IntervalEvidence
from features.quality.limit import check_limit
from features.quality.verdict import GateRefusedError, RuleResult
from tests.builders import apply_view, make_view

RESULTS = [
    RuleResult(column="amount", rule="between(0, 3)", severity="quarantine", interval_end="x", failing=29, rows=100),
    RuleResult(column="amount", rule="not_null()", severity="warn", interval_end="x", failing=1, rows=100),
]


def evidence(day: int, withheld: int, rows: int) -> IntervalEvidence:
    return IntervalEvidence(
        interval_end=f"2024-01-0{day}T00:00:00+00:00", rows=rows, withheld=withheld, failing={}, keys={}
    )


@pytest.mark.parametrize(("limit", "withheld"), [(0.29, 29), (0.07, 7), (1.0, 100), (0, 0)])
def test_as_many_rows_as_the_limit_says_may_be_withheld_and_no_more(limit: float, withheld: int) -> None:
    view = apply_view(make_view(quarantine_limit=limit))
    check_limit(view, [evidence(1, withheld, 100)], RESULTS)
    if withheld < 100:
        with pytest.raises(GateRefusedError):
            check_limit(view, [evidence(1, withheld + 1, 100)], RESULTS)


def test_a_refusal_names_the_intervals_past_the_limit_and_the_rules() -> None:
    view = apply_view(make_view(quarantine_limit=0.25))
    with pytest.raises(GateRefusedError) as refused:
        check_limit(view, [evidence(2, 1, 4), evidence(3, 2, 4)], RESULTS)
    assert str(refused.value).splitlines() == [
        "the gate refused last_payment@1: more rows would be withheld than its quarantine_limit of 0.25 lets, and "
        "nothing of the range was published",
        "  2 of 4 rows (50.0%) in the interval that ends at 2024-01-03T00:00:00+00:00",
        "because of",
        "  amount: between(0, 3) (quarantine): 29 of 100 rows fail in the interval that ends at x",
        "repair the source, or change the expectation or the limit, then rerun",
    ]
    assert refused.value.results == tuple(RESULTS)
