"""Row ranges of windows against counting, with keys and times of any size."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engine.windows.arrays import MAX_WIDTH_US, Ints, Queries, Rows, WindowSpec
from features.engine.windows.bounds import Bounds
from features.errors import DefinitionError

# The first and the last microsecond that Spark knows: few keys share one int64 with times so far apart.
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
TIMES = st.one_of(st.integers(0, 20), st.sampled_from([FIRST, FIRST + 1, LAST - 1, LAST]))
KEYS = st.one_of(st.integers(0, 60), st.sampled_from([-(2**63), 2**63 - 1]))
WIDTHS = [1, 5, MAX_WIDTH_US]
PLACES = st.lists(st.tuples(KEYS, TIMES), max_size=60)


def ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


@settings(max_examples=300, deadline=None)
@given(
    rows=PLACES, queries=PLACES, closed=st.sampled_from(["left", "right"]), width=st.sampled_from([1, 5, MAX_WIDTH_US])
)
def test_bounds_are_where_counting_finds_them(
    rows: list[tuple[int, int]], queries: list[tuple[int, int]], closed: Literal["left", "right"], width: int
) -> None:
    rows, queries = sorted(rows), sorted(queries)
    times = ints([time for _, time in rows])
    bounds = Bounds(
        Rows(keys=ints([key for key, _ in rows]), event=times, available=times, columns={}),
        Queries(
            keys=ints([key for key, _ in queries]),
            time=ints([time for _, time in queries]),
            visible=ints([time for _, time in queries]),
            closed=closed,
        ),
    )
    edge = 1 if closed == "right" else 0
    assert bounds.ends().tolist() == [sum(row < (key, time + edge) for row in rows) for key, time in queries]
    expected = [sum(row < (key, time + edge - width) for row in rows) for key, time in queries]
    assert bounds.begins(width).tolist() == expected


def test_what_is_not_sorted_or_not_of_one_length_is_refused() -> None:
    one, two = ints([1]), ints([2, 1])
    with pytest.raises(ValueError, match="rows must be sorted"):
        Rows(keys=two, event=two, available=two, columns={})
    with pytest.raises(ValueError, match="rows must be sorted"):
        Rows(keys=ints([1, 1]), event=ints([1, 1]), available=two, columns={})
    with pytest.raises(ValueError, match="queries must be sorted"):
        Queries(keys=ints([1, 1]), time=two, visible=two, closed="left")
    with pytest.raises(ValueError, match="event has 2 values, keys have 1"):
        Rows(keys=one, event=two, available=one, columns={})
    with pytest.raises(ValueError, match="flag has 2 values"):
        Rows(keys=one, event=one, available=one, columns={}, filters={"flag": np.array([True, False])})


@pytest.mark.parametrize("width", [0, -1, MAX_WIDTH_US + 1])
def test_a_window_has_a_width(width: int) -> None:
    with pytest.raises(DefinitionError, match="width_us must be between 1 and"):
        WindowSpec(function="count", width_us=width)
