"""What the gate does with its findings: refuse, withhold, warn, and say so."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from features import DType, Entity, Expect, Feature
from features.core.applied import AppliedView
from features.errors import DefinitionError
from features.quality import GateRefusedError, judge
from tests.builders import apply_view, at, make_view

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

DAY_1, DAY_2 = at("2024-01-02"), at("2024-01-03")


def view_of(*expect: Any, dtype: DType = DType.FLOAT64, keys: Mapping[str, DType] | None = None) -> AppliedView:
    """A view of one feature, `amount`."""
    entity = Entity(name="customer", join_keys=keys or {"customer": DType.STRING})
    return apply_view(make_view(entities=[entity], features=[Feature("amount", dtype, expect=expect)]))


def frame_of(spark: "SparkSession", view: AppliedView, rows: Sequence[tuple[Any, ...]]) -> "DataFrame":
    """Rows of (keys..., amount, end of interval)."""
    columns = {**view.join_keys, "amount": view.feature("amount").dtype}
    schema = ", ".join(f"{name} {dtype.spark}" for name, dtype in columns.items())
    times = "_interval timestamp, event_timestamp timestamp, created_timestamp timestamp"
    return spark.createDataFrame([(*row, row[-1], row[-1]) for row in rows], f"{schema}, {times}")


def refusal_of(rows: "DataFrame", view: AppliedView) -> GateRefusedError:
    with pytest.raises(GateRefusedError) as refusal:
        judge(rows, view)
    return refusal.value


def test_a_refusal_says_what_failed_where_how_often_and_for_which_keys(spark: "SparkSession") -> None:
    view = view_of(Expect.between(0, 1000))
    rows = [(key, -1.5, DAY_1) for key in "dcbaa"] + [("a", 1.0, DAY_1), ("a", 2.0, DAY_2)]
    refusal = refusal_of(frame_of(spark, view, rows), view)
    assert str(refusal) == (
        "the gate refused last_payment@1: nothing of the range was published\n"
        "  amount: between(0, 1000) (refuse): 5 of 6 rows fail in the interval that ends at 2024-01-02T00:00:00+00:00,"
        " such as customer='a'; customer='b'; customer='c'\n"
        "repair the source or change the expectation, then rerun"
    )
    assert "-1.5" not in str(refusal)
    assert [(r.column, r.failing, r.rows) for r in refusal.results if not r.passed] == [("amount", 5, 6)]


def test_two_intervals_are_judged_apart(spark: "SparkSession") -> None:
    view = view_of(Expect.not_null(), Expect.unique(severity="warn"))
    rows = [("a", 1.0, DAY_1), ("b", None, DAY_1), ("a", 1.0, DAY_2), ("b", None, DAY_2), ("c", None, DAY_2)]
    failures = [result for result in refusal_of(frame_of(spark, view, rows), view).results if not result.passed]
    assert [(r.rule, r.interval_end, r.failing, r.rows) for r in failures] == [
        ("not_null()", "2024-01-02T00:00:00+00:00", 1, 2),
        ("not_null()", "2024-01-03T00:00:00+00:00", 2, 3),
    ]


def test_quarantine_withholds_the_failing_rows_with_their_reasons(spark: "SparkSession") -> None:
    rules = (Expect.between(0, 10, severity="quarantine"), Expect.unique(severity="quarantine"))
    view = view_of(*rules)
    rows = [("a", 1.0, DAY_1), ("b", 11.0, DAY_1), ("c", 11.0, DAY_1), ("d", 2.0, DAY_1), ("e", 2.0, DAY_1)]
    rows += [("f", 1.0, DAY_2), ("g", None, DAY_2), ("h", None, DAY_2)]
    frame = frame_of(spark, view, rows)
    verdict = judge(frame, view)
    assert verdict.quarantined is not None
    assert {row["customer"]: row["_reasons"] for row in verdict.quarantined.collect()} == {
        "b": ["amount: between(0, 10)", "amount: unique()"],
        "c": ["amount: between(0, 10)", "amount: unique()"],
        "d": ["amount: unique()"],
        "e": ["amount: unique()"],
    }
    assert verdict.quarantined_rows == 4
    assert sorted(row["customer"] for row in verdict.accepted.collect()) == ["a", "f", "g", "h"]
    assert verdict.accepted.schema == frame.schema


def test_what_one_rule_would_withhold_another_still_refuses(spark: "SparkSession") -> None:
    view = view_of(Expect.between(0, 10, severity="quarantine"), Expect.between(0, 100, severity="refuse"))
    refusal = refusal_of(frame_of(spark, view, [("a", 1000.0, DAY_1)]), view)
    assert {(r.rule, r.severity) for r in refusal.results if not r.passed} == {
        ("between(0, 10)", "quarantine"),
        ("between(0, 100)", "refuse"),
    }
    assert "(quarantine)" not in str(refusal)


def test_a_warning_publishes_every_row_and_is_logged_with_counts(
    spark: "SparkSession", caplog: pytest.LogCaptureFixture
) -> None:
    view = view_of(Expect.between(0, 10, severity="warn"), Expect.between(0, 99, severity="quarantine"))
    rows = frame_of(spark, view, [("a", 11.0, DAY_1), ("b", 1.0, DAY_1)])
    with caplog.at_level(logging.WARNING, logger="features.quality"):
        verdict = judge(rows, view)
    assert verdict.accepted is rows
    assert (verdict.quarantined, verdict.quarantined_rows) == (None, 0)
    assert [(r.failing, r.keys) for r in verdict.results if not r.passed] == [(1, ("customer='a'",))]
    assert [r.getMessage() for r in caplog.records] == ["last_payment@1: amount: between(0, 10) fails for 1 of 2 rows"]


def test_rows_that_pass_are_accepted_as_they_are_and_nothing_stays_cached(spark: "SparkSession") -> None:
    view = view_of(Expect.not_null())
    rows = frame_of(spark, view, [("a", 1.0, DAY_1), ("b", 2.0, DAY_2)])
    cached = spark.sparkContext._jsc.getPersistentRDDs().size()
    verdict = judge(rows, view)
    assert verdict.accepted is rows
    assert {(r.interval_end, r.failing, r.rows) for r in verdict.results} == {("", 0, 2)}
    assert [r.column for r in verdict.results] == ["customer", "customer", "event_timestamp", "amount"]
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == cached


def test_every_key_of_a_composite_must_be_there_not_empty_and_not_too_long(spark: "SparkSession") -> None:
    view = view_of(keys={"origin": DType.STRING, "token": DType.BYTES, "number": DType.INT64})
    longest = "é" * 10_921  # 65,535 bytes in three parts, each with three bytes beside it
    rows = [
        ("a", b"x", 0, 1.0, DAY_1),
        (longest, b"x" * 21_842, 1, 1.0, DAY_1),
        (longest + "a", b"x", 2, 1.0, DAY_1),
        ("", b"", 3, 1.0, DAY_1),
        ("a", None, 4, 1.0, DAY_1),
        (None, b"x" * 21_843, None, 1.0, DAY_1),
    ]
    failures = [result for result in refusal_of(frame_of(spark, view, rows), view).results if not result.passed]
    assert [(r.column, r.rule, r.failing) for r in failures] == [
        ("origin", "not_null()", 1),
        ("origin", "key_bytes(1, 21842)", 2),
        ("token", "not_null()", 1),
        ("token", "key_bytes(1, 21842)", 2),
        ("number", "not_null()", 1),
    ]
    long_bytes, long_text = "b'" + "x" * 40 + "'...", "'" + "é" * 40 + "'..."
    assert failures[0].keys == (f"origin=null, token={long_bytes}, number=null",)
    assert failures[1].keys == ("origin='', token=b'', number=3", f"origin={long_text}, token=b'x', number=2")


def test_a_null_event_time_is_refused(spark: "SparkSession") -> None:
    from pyspark.sql import functions as F

    view = view_of(keys={"born": DType.TIMESTAMP})
    rows = frame_of(spark, view, [(at("1999-12-31T23:59:59.5"), 1.0, DAY_1)])
    failures = refusal_of(rows.withColumn("event_timestamp", F.lit(None).cast("timestamp")), view).results
    assert [(r.column, r.keys) for r in failures if not r.passed] == [
        ("event_timestamp", ("born=1999-12-31T23:59:59.500000+00:00",))
    ]


def test_a_regular_expression_that_java_does_not_take_is_a_definition_error(spark: "SparkSession") -> None:
    view = view_of(Expect.matches("(?P<code>a)"), dtype=DType.STRING)
    with pytest.raises(DefinitionError, match=r"amount: matches\(.*Java's dialect"):
        judge(frame_of(spark, view, [("a", "a", DAY_1)]), view)


def test_the_context_that_a_caller_has_open_is_put_back(spark: "SparkSession") -> None:
    from features.quality.gx import load_great_expectations

    gx = load_great_expectations()
    mine = gx.get_context(mode="ephemeral")
    view = view_of()
    judge(frame_of(spark, view, [("a", 1.0, DAY_1)]), view)
    assert gx.data_context.data_context.context_factory.project_manager.get_current_project() is mine
