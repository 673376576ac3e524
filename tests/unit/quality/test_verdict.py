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


@pytest.mark.parametrize(("failed", "counted", "word"), [({0}, 0, "fails"), (set(), 2, "holds")])
def test_a_disagreement_between_the_two_readings_is_an_error(failed: set[int], counted: int, word: str) -> None:
    view = apply_view(make_view())
    rules = rules_of(view)
    failing = {rule.number: 0 for rule in rules} | {0: counted}
    evidence = IntervalEvidence(interval_end="", rows=5, withheld=0, failing=failing, keys={})
    with pytest.raises(FeatureStoreError, match=rf"customer: not_null\(\) {word}, but {counted} rows"):
        check_agreement(view, rules, failed, [evidence])
