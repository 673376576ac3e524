from decimal import Decimal

import pytest

from features import DType
from features.stores.cassandra_values import rescale


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
