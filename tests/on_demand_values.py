"""Values of every type for on-demand functions, as Hypothesis draws them, and what counts as the same."""

import math
import struct
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

_INSTANTS = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
_FLOATS32 = st.floats(width=32)
_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float32": _FLOATS32,
    "float64": st.floats(),
    "decimal": st.integers(-(10**20) + 1, 10**20 - 1).map(lambda unscaled: Decimal(unscaled).scaleb(-4)),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "bytes": st.binary(max_size=20),
    "date": st.dates(date.min, date.max),
    "timestamp": _INSTANTS,
    "strings": st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=3),
    "timestamps": st.lists(_INSTANTS, max_size=3),
    "vector": st.lists(_FLOATS32, min_size=3, max_size=3),
}


def every_row() -> st.SearchStrategy[dict[str, Any]]:
    """One value of each type, any of which may be null."""
    return st.fixed_dictionaries({name: st.none() | values for name, values in _VALUES.items()})


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal to the bit, NaN being one value."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        both_nan = math.isnan(left) and math.isnan(right)
        return both_nan or struct.pack("<d", left) == struct.pack("<d", right)
    return type(left) is type(right) and bool(left == right)
