"""Each rule on each awkward value, decided by Great Expectations on Spark and counted by the gate, which must agree."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features import DType, Expect, Feature
from features.core.applied import AppliedView
from features.quality import GateRefusedError, judge
from tests.builders import apply_view, at, make_view

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

NAN, INF = math.nan, math.inf
D = Decimal
TENTH = 0.10000000149011612  # the float32 nearest to 0.1
DAY_1, DAY_2 = at("2024-01-02"), at("2024-01-03")

# type, rule, values that satisfy it, values that do not; null is judged with each.
CASES: list[tuple[DType, Any, list[Any], list[Any]]] = [
    (DType.FLOAT64, Expect.between(0, 1), [0.0, -0.0, 1.0, 0.5], [-5e-324, 1.0000000000000002, NAN, INF, -INF]),
    (DType.FLOAT64, Expect.between(0, INF), [0.0, INF, 1.7e308], [NAN, -INF, -1.0]),
    (DType.FLOAT64, Expect.between(-INF, INF), [INF, -INF, 0.0], [NAN]),
    (DType.FLOAT64, Expect.in_set([0, 1.5]), [0.0, -0.0, 1.5], [NAN, INF, 1.0]),
    (DType.FLOAT64, Expect.in_set([0.0, *range(1, 20)]), [-0.0, 19.0], [19.5]),
    (DType.FLOAT64, Expect.in_set([NAN, INF]), [NAN, INF], [0.0, -INF]),
    (DType.FLOAT32, Expect.between(0.1, 0.2), [TENTH, 0.15], [0.25, NAN, INF]),
    (DType.FLOAT32, Expect.between(0, 1e300), [1e38], [INF, NAN, -1.0]),
    (DType.FLOAT32, Expect.in_set([0.1]), [TENTH], [0.2]),
    (DType.INT32, Expect.between(0, 2.5), [0, 1, 2], [3, -1, 2**31 - 1, -(2**31)]),
    (DType.INT64, Expect.between(2**53, 2**53 + 2), [2**53, 2**53 + 2], [2**53 - 1, 2**53 + 3]),
    (DType.INT64, Expect.between(0, 2**53 - 1), [2**53 - 1], [2**53, 2**53 + 1]),
    (DType.INT64, Expect.between(-INF, INF), [2**63 - 1, -(2**63)], []),
    (DType.INT64, Expect.between(0.2, 0.8), [], [0, 1]),
    (DType.INT64, Expect.in_set([1, 2.0, 2.5, 2**63 - 1]), [1, 2, 2**63 - 1], [3, 2**63 - 2]),
    (DType.INT64, Expect.in_set([0.5]), [], [0, 1]),
    (DType.DECIMAL(12, 2), Expect.between(0, D("0.105")), [D("0.00"), D("0.10")], [D("0.11"), D("-0.01")]),
    (DType.DECIMAL(12, 2), Expect.in_set([0.1, 3]), [D("0.10"), D("3.00")], [D("0.11")]),
    (DType.DECIMAL(38, 0), Expect.between(0, 10**38 - 2), [D(10**38 - 2)], [D(10**38 - 1), D(-1)]),
    (DType.BOOL, Expect.in_set([True]), [True], [False]),
    (DType.STRING, Expect.in_set(["a", "", "é"]), ["a", "", "é"], ["A", "a ", "e\u0301"]),
    (DType.STRING, Expect.matches("^[a-z]+[0-9]$"), ["a1", "abc9"], ["", "A1", "a1b"]),
    (DType.STRING, Expect.matches("b"), ["abc"], ["", "ac"]),
    (DType.BYTES, Expect.in_set([b"\x00", b"ab"]), [b"\x00", b"ab"], [b"", b"a"]),
    (DType.DATE, Expect.between(date(1500, 1, 1), date(2024, 2, 29)), [date(1500, 1, 1), date(2024, 2, 29)],
     [date(1499, 12, 31), date(2024, 3, 1)]),
    (DType.DATE, Expect.in_set([date(1, 1, 1)]), [date(1, 1, 1)], [date(1, 1, 2)]),
    (DType.TIMESTAMP, Expect.between(at("2024-01-01"), at("2024-01-02")), [at("2024-01-02")],
     [at("2024-01-02T00:00:00.000001"), at("2023-12-31T23:59:59.999999")]),
    (DType.TIMESTAMP, Expect.in_set([at("2024-01-01T02:00:00+02:00")]), [at("2024-01-01")], [at("2024-01-01T02:00")]),
    (DType.ARRAY(DType.INT64), Expect.not_null(), [[], [1]], [[None], [1, None]]),
    (DType.ARRAY(DType.FLOAT64), Expect.not_null(), [[NAN, INF]], [[None]]),
    (DType.VECTOR(2), Expect.not_null(), [[1.0, 2.0], [NAN, INF]], [[1.0], [], [1.0, 2.0, 3.0], [1.0, None]]),
]  # fmt: skip


def view_of(features: Sequence[Feature]) -> AppliedView:
    return apply_view(make_view(features=features))


def frame_of(spark: "SparkSession", view: AppliedView, rows: Sequence[Mapping[str, Any]]) -> "DataFrame":
    """Rows of one interval unless they say otherwise."""
    types = {
        **view.join_keys,
        **dict.fromkeys(("event_timestamp", "created_timestamp", "_interval"), DType.TIMESTAMP),
        **{feature.name: feature.dtype for feature in view.features},
    }
    times = dict.fromkeys(("event_timestamp", "created_timestamp", "_interval"), DAY_1)
    schema = ", ".join(f"{name} {dtype.spark}" for name, dtype in types.items())
    return spark.createDataFrame([tuple({**times, **row}.get(name) for name in types) for row in rows], schema)


def test_every_rule_decides_every_awkward_value(spark: "SparkSession") -> None:
    """One column per value, so that Great Expectations decides each alone; a wrong decision would be a disagreement."""
    features, row, failing = [], {"customer": "a"}, set()
    for dtype, rule, satisfying, breaking in CASES:
        nulls = [(None, rule.rule != "not_null")]
        for value, passes in [*((v, True) for v in satisfying), *((v, False) for v in breaking), *nulls]:
            name = f"f{len(features)}"
            features.append(Feature(name, dtype, expect=replace(rule, severity="warn")))
            row[name] = value
            failing |= set() if passes else {name}
    view = view_of(features)
    with pytest.raises(GateRefusedError) as refusal:  # the lists: only their expectations can warn
        judge(frame_of(spark, view, [row]), view)
    assert {result.column for result in refusal.value.results if not result.passed} == failing


def test_an_empty_frame_satisfies_every_rule(spark: "SparkSession") -> None:
    view = view_of([Feature("amount", DType.FLOAT64, expect=[Expect.not_null(), Expect.between(0, 1)])])
    rows = frame_of(spark, view, [])
    verdict = judge(rows, view)
    assert verdict.accepted is rows
    assert all(result.passed and result.rows == 0 for result in verdict.results)


RANDOM = {
    "ratio": (DType.FLOAT64, [Expect.between(0, 1), Expect.unique()]),
    "small": (DType.FLOAT32, [Expect.between(0.1, 0.7), Expect.not_null()]),
    "count": (DType.INT64, [Expect.between(-3, 2**60), Expect.in_set([0, 1, 2**60, -4])]),
    "price": (DType.DECIMAL(4, 1), [Expect.between(-1, 1), Expect.unique()]),
    "code": (DType.STRING, [Expect.matches("^a"), Expect.in_set(["a", "b"]), Expect.unique()]),
    "seen": (DType.TIMESTAMP, [Expect.between(at("2024-01-01"), at("2024-01-02")), Expect.unique()]),
}  # fmt: skip
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "ratio": st.floats() | st.sampled_from([0.0, -0.0, 1.0, NAN]),
    "small": st.floats(width=32) | st.sampled_from([TENTH, 0.699999988079071, 0.7000000476837158]),
    "count": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -3, -4, 2**60, 2**60 + 1]),
    "price": st.decimals(D("-2"), D("2"), places=1),
    "code": st.sampled_from(["a", "b", "ab", "", "ba"]) | st.text(st.characters(codec="utf-8")),
    "seen": st.datetimes(datetime(2023, 12, 31), datetime(2024, 1, 3), timezones=st.just(UTC)),  # noqa: DTZ001
}  # fmt: skip
LIMITS = {"ratio": (0, 1), "small": (TENTH, 0.699999988079071), "count": (-3, 2**60), "price": (-1, 1),
          "seen": (at("2024-01-01"), at("2024-01-02"))}  # fmt: skip


def breaks(column: str, rule: Any, row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """The rules in plain Python."""
    value = row[column]
    if value is None or rule.rule == "not_null":
        return value is None and rule.rule == "not_null"
    if rule.rule == "between":
        low, high = LIMITS[column]
        return not low <= value <= high
    if rule.rule == "in_set":
        return value not in rule.arguments
    if rule.rule == "matches":
        return re.search(rule.arguments[0], value) is None
    alike = [other for other in rows if other["_interval"] == row["_interval"] and same(other[column], value)]
    return len(alike) > 1


def same(one: Any, other: Any) -> bool:
    """Equality as grouping has it: NaN is NaN, and 0.0 is -0.0."""
    return one == other or (one is not None and one != one and other != other)


@given(data=st.data())
@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_random_rows_are_split_as_plain_python_splits_them(spark: "SparkSession", data: st.DataObject) -> None:
    view = view_of(
        [
            Feature(name, dtype, expect=[replace(rule, severity="quarantine") for rule in rules])
            for name, (dtype, rules) in RANDOM.items()
        ]
    )
    drawn = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})
    rows = [
        {**row, "customer": str(n), "_interval": (DAY_1, DAY_2)[n % 2]}
        for n, row in enumerate(data.draw(st.lists(drawn, min_size=20, max_size=60)))
    ]
    reasons = {
        row["customer"]: [f"{column}: {rule}" for column, (_, rules) in RANDOM.items() for rule in rules
                          if breaks(column, rule, row, rows)]
        for row in rows
    }  # fmt: skip
    verdict = judge(frame_of(spark, view, rows), view)
    withheld = {name: why for name, why in reasons.items() if why}
    assert {row["customer"] for row in verdict.accepted.collect()} == reasons.keys() - withheld.keys()
    found = verdict.quarantined.collect() if verdict.quarantined is not None else []
    assert {row["customer"]: row["_reasons"] for row in found} == withheld
    assert verdict.quarantined_rows == len(withheld)
    counted = Counter((row["_interval"].isoformat(), why) for row in rows for why in reasons[row["customer"]])
    failures = [result for result in verdict.results if not result.passed]
    assert {(r.interval_end, f"{r.column}: {r.rule}"): r.failing for r in failures} == counted
