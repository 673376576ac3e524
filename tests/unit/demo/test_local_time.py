from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from features.demo.local_time import minutes_long, nearest_instants


def read_clock(
    clock: float | None, zone: str, expected: datetime | None, after: datetime | None = None
) -> datetime | None:
    """One clock read on its own."""
    times = pd.Series([expected], dtype="datetime64[us, UTC]")
    instant = nearest_instants(
        clock=pd.Series([clock], dtype="float64"),
        zone=pd.Series([zone]),
        expected=times,
        after=times - pd.Timedelta(days=2) if after is None else pd.Series([after], dtype="datetime64[us, UTC]"),
    )[0]
    return None if pd.isna(instant) else instant.to_pydatetime()


def at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2013, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("clock", "zone", "expected", "instant"),
    [
        pytest.param(600, "America/New_York", at(1, 15, 12), at(1, 15, 11), id="winter"),
        pytest.param(600, "America/New_York", at(7, 15, 12), at(7, 15, 10), id="summer"),
        pytest.param(600, "America/Phoenix", at(7, 15, 12), at(7, 15, 13), id="zone without daylight saving"),
        pytest.param(5, "America/New_York", at(1, 15, 4, 40), at(1, 15, 5, 5), id="just past midnight"),
        pytest.param(2355, "America/New_York", at(1, 15, 5, 20), at(1, 15, 4, 55), id="just before midnight"),
        pytest.param(2400, "America/New_York", at(1, 15, 4), at(1, 15, 5), id="midnight as 2400"),
        pytest.param(0, "America/New_York", at(1, 15, 4), at(1, 15, 5), id="midnight as 0"),
        pytest.param(130, "America/New_York", at(11, 3, 5, 10), at(11, 3, 5, 30), id="first 01:30 of the long night"),
        pytest.param(130, "America/New_York", at(11, 3, 6, 50), at(11, 3, 6, 30), id="second 01:30 of the long night"),
        pytest.param(
            300, "America/New_York", at(3, 10, 7), at(3, 10, 7), id="first moment after the short night's gap"
        ),
        pytest.param(
            203, "America/New_York", at(3, 10, 6, 47), at(3, 10, 7, 3), id="a time that the short night skips"
        ),
    ],
)
def test_clock_shows_the_instant_nearest_to_the_guess(clock, zone, expected, instant):
    assert read_clock(clock, zone, expected) == instant


def test_instant_that_is_not_later_is_passed_over_for_the_next_day():
    # 11:48 in Chicago is 16:48 UTC: nearer to the guess on the 12th, but that was before the departure.
    assert read_clock(1148, "America/Chicago", at(6, 12, 22, 48), after=at(6, 12, 20, 23)) == at(6, 13, 16, 48)


def test_equal_instant_is_not_later():
    assert read_clock(600, "America/New_York", at(1, 15, 11), after=at(1, 15, 11)) == at(1, 16, 11)


@pytest.mark.parametrize(("clock", "expected"), [(None, at(1, 15, 12)), (600, None)])
def test_unknown_clock_or_guess_gives_null(clock, expected):
    assert read_clock(clock, "America/New_York", expected) is None


def test_each_row_is_read_in_its_own_zone_and_keeps_its_index():
    guess = pd.Series([at(7, 1, 12)] * 3, index=[7, 3, 5], dtype="datetime64[us, UTC]")
    instants = nearest_instants(
        clock=pd.Series([800.0, 700.0, 500.0], index=[7, 3, 5]),
        zone=pd.Series(["America/New_York", "America/Chicago", "America/Los_Angeles"], index=[7, 3, 5]),
        expected=guess,
        after=guess - pd.Timedelta(days=1),
    )
    assert instants.to_dict() == dict.fromkeys([7, 3, 5], pd.Timestamp(at(7, 1, 12)))


def test_minutes_are_lengths_and_null_ones_are_never_computed_with():
    with np.errstate(all="raise"):
        lengths = minutes_long(pd.Series([-5.0, np.nan, 0.5, 1_440.0], index=[3, 1, 4, 2]))
    assert lengths.dtype == "timedelta64[us]"
    assert lengths.index.tolist() == [3, 1, 4, 2]
    micros = [None if pd.isna(length) else length // pd.Timedelta(microseconds=1) for length in lengths]
    assert micros == [-300_000_000, None, 30_000_000, 86_400_000_000]
