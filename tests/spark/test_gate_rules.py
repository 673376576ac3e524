"""Each rule on each awkward value, decided by Great Expectations on Spark and counted by the gate, which must agree."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import DType, Expect, Feature
from features.core.applied import AppliedView
from features.quality import judge
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
    (DType.FLOAT64, Expect.between(0, NAN), [], [0.0, NAN, INF]),
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


def test_every_rule_decides_every_awkward_value_alone(spark: "SparkSession") -> None:
    """One column per value: Great Expectations decides it by itself, and a wrong decision would raise a disagreement."""
    features, row, expected = [], {"customer": "a"}, set()
    for dtype, rule, passing, failing in CASES:
        severity = "refuse" if dtype.is_list else "warn"
        for value, passes in [*((v, True) for v in passing), *((v, False) for v in failing), (None, rule.rule != "not_null")]:
            if dtype.is_list and value is None:
                continue
            name = f"f{len(features)}"
            features.append(Feature(name, dtype, expect=[] if dtype.is_list else [with_severity(rule, severity)]))
            row[name] = value
            if not passes:
                expected.add(name)
    view = view_of(features)
    with pytest.raises(RefusedWithResults) as refusal:
        judge(frame_of(spark, view, [row]), view)
    assert {r.column for r in refusal.value.results if not r.passed} == expected
