import json
from dataclasses import replace

import pytest

from features.errors import FeatureStoreError, RefusedError
from features.quality import GateRefusedError, RuleResult
from features.quality.evidence import IntervalEvidence, check_agreement
from features.quality.rules import rules_of
from tests.builders import apply_view, make_view

RESULT = RuleResult(
    column="amount", rule="between(0, 1)", severity="refuse", interval_end="2024-01-02T00:00:00+00:00",
    failing=2, rows=5, keys=("customer='a'",),
)  # fmt: skip


def test_a_result_survives_json() -> None:
    read = json.loads(json.dumps(RESULT.to_dict()))
    assert RuleResult(**{**read, "keys": tuple(read["keys"])}) == RESULT


def test_a_result_passes_when_no_row_fails() -> None:
    assert not RESULT.passed
    assert replace(RESULT, failing=0).passed


def test_a_refusal_carries_its_results() -> None:
    refusal = GateRefusedError("refused", [RESULT])
    assert isinstance(refusal, RefusedError)
    assert refusal.results == (RESULT,)


def test_a_disagreement_between_the_two_readings_is_an_error() -> None:
    view = apply_view(make_view())
    (first, second, *_) = rules_of(view)
    counted = {first.number: 2, second.number: 0}
    evidence = [IntervalEvidence(interval_end="", rows=5, withheld=0, failing=counted, keys={})]
    check_agreement(view, [first], evidence)
    with pytest.raises(FeatureStoreError, match=r"customer: key_bytes\(1, 65535\) fails, but 0 rows"):
        check_agreement(view, [first, second], evidence)


def test_what_a_rule_of_whole_intervals_found_is_told_in_its_place() -> None:
    told = str(
        replace(RESULT, column="*", rule="row_count(min_ratio=0.5)", failing=1, rows=1, keys=(), detail="3 rows")
    )
    assert told == "*: row_count(min_ratio=0.5) (refuse): 3 rows in the interval that ends at 2024-01-02T00:00:00+00:00"
