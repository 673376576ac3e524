import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from features import DType
from features.quality.operands import allowed_values, between_limits

INF, NAN = math.inf, math.nan
CENTS = DType.DECIMAL(12, 2)
FLOAT32_MAX = 3.4028234663852886e38


@pytest.mark.parametrize(
    ("dtype", "low", "high", "limits"),
    [
        (DType.INT32, 0.5, 2.5, (1, 2)),
        (DType.INT32, -INF, 10**400, (-(2**31), 2**31 - 1)),
        (DType.INT64, Decimal("-0.5"), 2**63, (0, 2**63 - 1)),
        (DType.INT64, 0.2, 0.8, None),
        (DType.INT64, INF, INF, None),
        (DType.FLOAT64, 0, 10**400, (0.0, 1.7976931348623157e308)),
        (DType.FLOAT64, -INF, Decimal("1e400"), (-INF, 1.7976931348623157e308)),
        (DType.FLOAT64, NAN, 1, None),
        (DType.FLOAT32, 0.1, INF, (0.10000000149011612, INF)),
        (DType.FLOAT32, -1e300, 1e300, (-FLOAT32_MAX, FLOAT32_MAX)),
        (CENTS, 0.1, 0.129, (Decimal("0.10"), Decimal("0.12"))),
        (CENTS, -INF, INF, (Decimal("-9999999999.99"), Decimal("9999999999.99"))),
        (DType.DECIMAL(38, 0), 0, 10**38 - 1, (Decimal(0), Decimal("9" * 38))),
        (DType.DATE, date(1970, 1, 1), date(1969, 12, 31), (0, -1)),
        (DType.TIMESTAMP, datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, 0, 0, 1, 5, UTC), (0, 1_000_005)),
    ],
)
def test_limits_are_the_outermost_values_of_the_type(dtype: DType, low: Any, high: Any, limits: Any) -> None:
    assert between_limits(dtype, low, high) == limits


@pytest.mark.parametrize(
    ("dtype", "values", "allowed"),
    [
        (DType.INT64, [1, 2.0, 2.5, 2**63, NAN, INF], (1, 2)),
        (DType.FLOAT64, [1, 10**400, INF], (1.0, INF)),
        (DType.FLOAT32, [0.1, 1e300, -INF], (0.10000000149011612, -INF)),
        (CENTS, [0.1, Decimal("0.125"), 10**10], (Decimal("0.10"),)),
        (DType.STRING, ["a", ""], ("a", "")),
        (DType.BOOL, [False], (False,)),
        (DType.DATE, [date(1970, 1, 2)], (1,)),
    ],
)
def test_values_that_the_type_cannot_hold_are_left_out(dtype: DType, values: list[Any], allowed: Any) -> None:
    assert allowed_values(dtype, values) == allowed


def test_both_zeros_are_allowed_where_one_is() -> None:
    zeros = [math.copysign(1, value) for value in allowed_values(DType.FLOAT64, [0]) if value == 0]
    assert {1.0, -1.0} == set(zeros)
