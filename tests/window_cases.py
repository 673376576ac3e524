"""Events with ties, late rows, nulls and filtered rows, drawn on a coarse clock; and windows that fall on its edges."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import isclose
from typing import Any

from hypothesis import strategies as st

from features import Aggregation, DType
from features.core.times import to_micros
from tests.builders import at
from tests.window_oracle import Event, Window

BASE = at("2024-01-01")
BASE_US = to_micros(BASE)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAY_US = 86_400_000_000
DAYS = 3
# ("a", "bc") and ("ab", "c") are one text when joined without a delimiter.
KEYS: Sequence[tuple[str | None, str | None]] = (("a", "bc"), ("ab", "c"), (None, "c"))
WHERE = "counts and kind <> 'now()'"

WINDOWS: Mapping[str, Window] = {
    "rows_6h": Window("rows", DAY_US // 4),
    "rows_2d": Window("rows", 2 * DAY_US),
    "value_count_24h": Window("count", DAY_US),
    "value_sum_6h": Window("sum", DAY_US // 4),
    "value_sum_2d": Window("sum", 2 * DAY_US),
    "value_mean_24h": Window("mean", DAY_US, filtered=True),
    "value_min_24h": Window("min", DAY_US),
    "value_max_6h": Window("max", DAY_US // 4, filtered=True),
    "value_max_2d": Window("max", 2 * DAY_US),
    "value_stddev_2d": Window("stddev", 2 * DAY_US),
    "value_first_24h": Window("first", DAY_US),
    "value_last_24h": Window("last", DAY_US, filtered=True),
    "value_last_two": Window("last_2", DAY_US),
    "value_median": Window("median", 2 * DAY_US),
    "value_count_distinct_2d": Window("count_distinct", 2 * DAY_US),
}
# Compared to within the rounding of one division or root; all else to the bit.
ROUNDED = ("value_mean_24h", "value_stddev_2d")


def aggregate_value(function: str, *windows: timedelta, **more: Any) -> Aggregation:
    """An aggregation of the column `value`."""
    return Aggregation(column="value", dtype=DType.FLOAT64, function=function, windows=windows, **more)


AGGREGATIONS = (
    Aggregation(function="count", windows=[6 * HOUR, 2 * DAY], name="rows_{window}"),
    aggregate_value("count", DAY),
    aggregate_value("sum", 6 * HOUR, 2 * DAY),
    aggregate_value("mean", DAY, where=WHERE),
    aggregate_value("min", DAY),
    aggregate_value("max", 2 * DAY),
    aggregate_value("max", 6 * HOUR, where=WHERE),
    aggregate_value("stddev", 2 * DAY),
    aggregate_value("first", DAY),
    aggregate_value("last", DAY, where=WHERE),
    aggregate_value("last_n", DAY, n=2, name="value_last_two"),
    aggregate_value("percentile", 2 * DAY, q=0.5, name="value_median"),
    aggregate_value("count_distinct", 2 * DAY),
)

values = st.one_of(st.none(), st.sampled_from([0.1, 0.2, 0.3, -0.3, 1e16, -1e16, 1.0, 1e-17]), st.floats(-1e3, 1e3))


@st.composite
def moments(draw: st.DrawFn) -> int:
    """A microsecond of the first days: often on a window's or an interval's edge, or right beside it."""
    return (
        BASE_US + draw(st.integers(0, 4 * DAYS - 1)) * (DAY_US // 4) + draw(st.sampled_from([0, 0, 1, 3_600_000_000]))
    )


@st.composite
def event_lists(draw: st.DrawFn, keys: Sequence[Any] = KEYS) -> list[Event]:
    """Up to a dozen rows; a third of them late by up to two days and a half."""
    found = []
    for _ in range(draw(st.integers(0, 12))):
        event = draw(moments())
        late = draw(st.sampled_from([0, 0, 1, DAY_US // 4, DAY_US, 5 * DAY_US // 2]))
        found.append(Event(draw(st.sampled_from(keys)), event, event + late, draw(values), draw(st.booleans())))
    return found


def assert_agree(found: Mapping[Any, Mapping[str, Any]], wanted: Mapping[Any, Mapping[str, Any]]) -> None:
    """Rows by what identifies them: the same ones, with the same features."""
    assert sorted(found, key=repr) == sorted(wanted, key=repr)
    for place, row in wanted.items():
        for name, value in row.items():
            got = found[place][name]
            if name in ROUNDED and value is not None and got is not None:
                assert isclose(got, value, rel_tol=1e-12), (place, name, got, value)
            else:
                assert got == value, (place, name, got, value)


def day(number: int) -> datetime:
    """Midnight, days after the first."""
    return BASE + number * DAY
