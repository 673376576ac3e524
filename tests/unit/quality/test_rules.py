from features import DType, Entity, Expect, Feature
from features.quality import build_suite
from features.quality.rules import rules_of
from tests.builders import apply_view, make_view

ROUTE = Entity(name="route", join_keys={"origin": DType.STRING, "number": DType.INT64})
VIEW = apply_view(
    make_view(
        entities=[ROUTE],
        features=[
            Feature("tags", DType.ARRAY(DType.STRING), expect=[Expect.not_null(severity="warn")]),
            Feature("embedding", DType.VECTOR(3)),
            Feature("delay", DType.FLOAT64, expect=[Expect.between(0, 5, severity="quarantine"), Expect.unique()]),
        ],
    )
)


def test_the_schema_asks_for_rules_before_the_author_does() -> None:
    assert [(str(rule), rule.severity) for rule in rules_of(VIEW)] == [
        ("origin: not_null()", "refuse"),
        ("origin: key_bytes(1, 32764)", "refuse"),
        ("number: not_null()", "refuse"),
        ("event_timestamp: not_null()", "refuse"),
        ("tags: no_null_elements()", "refuse"),
        ("tags: not_null()", "warn"),
        ("embedding: no_null_elements()", "refuse"),
        ("embedding: length(3)", "refuse"),
        ("delay: between(0, 5)", "quarantine"),
        ("delay: unique()", "refuse"),
    ]


def test_the_suite_holds_one_expectation_per_rule_without_a_spark_session() -> None:
    expectations = {e.meta["rule"]: e for e in build_suite(VIEW).expectations}
    assert [expectations[rule.number].meta["says"] for rule in rules_of(VIEW)] == [str(r) for r in rules_of(VIEW)]
    assert expectations[8].expectation_type == "expect_column_values_to_be_between"
    assert (expectations[8].column, expectations[8].min_value, expectations[8].max_value) == ("delay", 0, 5)
    assert [expectations[number].severity.value for number in (0, 5, 8, 9)] == [
        "critical", "warning", "warning", "critical",
    ]  # fmt: skip


def test_two_rules_that_differ_in_severity_alone_both_stay() -> None:
    twice = [Expect.between(0, 1, severity="warn"), Expect.between(0, 1, severity="quarantine")]
    view = apply_view(make_view(features=[Feature("amount", DType.FLOAT64, expect=twice)]))
    assert len(build_suite(view).expectations) == len(rules_of(view)) == 5
