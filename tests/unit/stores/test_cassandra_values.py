from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from features import DType
from features.stores.cassandra_values import bind_column, bind_key, rescale


def test_timestamps_are_bound_as_microseconds_whatever_their_zone():
    column = pa.array([-1, 1_704_067_200_000_001, None], pa.timestamp("us", tz="America/New_York"))

    assert bind_column(column, DType.TIMESTAMP) == [-1, 1_704_067_200_000_001, None]


def test_dates_are_bound_as_days_from_2_to_the_31_days_before_1970():
    column = pa.array([date(1970, 1, 1), date(1, 1, 1), None])

    assert bind_column(column, DType.DATE) == [2**31, 2**31 - 719_162, None]


def test_lists_of_times_are_bound_element_by_element():
    column = pa.array([[date(1970, 1, 2)], [], None])

    assert bind_column(column, DType.ARRAY(DType.DATE)) == [[2**31 + 1], [], None]


def test_a_key_is_bound_as_its_column_was():
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)

    assert bind_key(DType.TIMESTAMP)(moment) == -1
    assert bind_key(DType.DATE)(date(1, 1, 1)) == 2**31 - 719_162
    assert bind_key(DType.STRING)("a") == "a"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, "5.00"),
        (Decimal("5.5"), "5.50"),
        (Decimal("5.5000"), "5.50"),
        (Decimal("-0.01"), "-0.01"),
        (Decimal("5E+3"), "5000.00"),
        (Decimal("0E-9"), "0.00"),
        (Decimal("1.005"), "1.005"),
        (Decimal("99999999999999999999999999999999999.5"), "99999999999999999999999999999999999.50"),
    ],
)
def test_a_decimal_key_is_given_the_scale_that_is_stored(given, expected):
    assert str(rescale(given, DType.DECIMAL(38, 2))) == expected
