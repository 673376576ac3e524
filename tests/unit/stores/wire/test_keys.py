"""Keys serialised one by one are the keys that loads write, which are serialised by columns."""

from datetime import UTC
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import DType
from features.core.arrow_types import arrow_type
from features.stores.cells import encode_column
from features.stores.tokens import partition_keys
from features.stores.wire.keys import key_serialiser, partition_key

KEYS: dict[DType, st.SearchStrategy[Any]] = {
    DType.BOOL: st.booleans(),
    DType.INT32: st.integers(-(2**31), 2**31 - 1),
    DType.INT64: st.integers(-(2**63), 2**63 - 1),
    DType.STRING: st.text(max_size=20),
    DType.BYTES: st.binary(max_size=20),
    DType.DATE: st.dates(),
    DType.TIMESTAMP: st.datetimes(timezones=st.just(UTC)),
    DType.DECIMAL(20, 4): st.integers(-(10**20) + 1, 10**20 - 1).map(
        lambda n: Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -4))
    ),
}


# By name: Hypothesis would print a DType with all that hangs on its class.
TYPES = {str(dtype): dtype for dtype in KEYS}
PARTS = st.one_of([st.tuples(st.just(str(dtype)), values) for dtype, values in KEYS.items()])


@settings(deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=3))
def test_a_key_is_asked_for_by_the_bytes_that_a_load_wrote(drawn):
    key = [(TYPES[name], value) for name, value in drawn]
    parts = [key_serialiser(dtype)(value) for dtype, value in key]
    cells = [encode_column(pa.array([value], arrow_type(dtype)), dtype) for dtype, value in key]

    assert parts == [column.data.tobytes() for column in cells]
    # A load refuses a lone key that is empty.
    if parts != [b""]:
        assert partition_key(parts) == partition_keys(cells).data.tobytes()


def test_equal_numbers_of_different_scale_are_one_key():
    serialise = key_serialiser(DType.DECIMAL(10, 2))

    assert serialise(Decimal("1.5")) == serialise(Decimal("1.50")) == serialise(Decimal("1.500"))
    assert serialise(Decimal("-0.00")) == serialise(Decimal(0)) == serialise(0)


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ([b""], False),
        ([b"x" * 65535], True),
        ([b"x" * 65536], False),
        ([b"", b""], True),
        ([b"x" * 65536, b""], False),
        ([b"x" * 40_000, b"y" * 40_000], False),
    ],
)
def test_keys_that_no_table_can_hold_have_no_partition(parts, found):
    assert (partition_key(parts) is not None) is found
