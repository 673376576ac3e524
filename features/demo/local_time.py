"""Instants from clocks on the wall: the moment in UTC that a clock showed, over both changes of the clocks."""

from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd

_DAYS = (pd.Timedelta(days=-1), pd.Timedelta(days=0), pd.Timedelta(days=1))
_ONE_HOUR = pd.Timedelta(hours=1)
_MINUTES_OF_A_DAY = 24 * 60
_MINUTE_MICROS = 60_000_000
_OUT_OF_REACH = np.iinfo(np.int64).max


def nearest_instants(*, clock: pd.Series, zone: pd.Series, expected: pd.Series, after: pd.Series) -> pd.Series:
    """The instants at which local clocks showed `clock`: of those later than `after`, the one nearest to `expected`.

    A clock shows 01:30 on every day, and twice in the night in which it goes back: those are the candidates. In the
    night in which it goes forward 02:30 does not exist; a record that holds it comes from a clock not yet put forward,
    so it is read with the offset from before the change (02:30 is the instant that others call 03:30).

    Args:
        clock: HHMM as a number, local, 0 to 2400 (both ends are midnight); null gives null.
        zone: IANA zone names, never null.
        expected: UTC, a guess within half a day of the answer, and within half an hour in the hour that a clock
            shows twice; null gives null.
        after: UTC, not later than expected. Null where expected is.

    Returns:
        UTC, microseconds, on the index of `clock`, which all four share. Of two equally near the earlier one is taken.
    """
    instants = pd.Series(pd.NaT, index=clock.index, dtype="datetime64[us, UTC]")
    known = clock.notna() & expected.notna()
    for name, rows in zone[known].groupby(zone[known]).groups.items():
        instants.loc[rows] = _in_one_zone(clock.loc[rows], str(name), expected.loc[rows], after.loc[rows])
    return instants


def minutes_long(minutes: pd.Series) -> pd.Series:
    """So many minutes as timedeltas of microseconds, on the same index; null gives null."""
    # Nulls apart: pandas casts a NaN to an integer too, and whether that overflows is the processor's to say.
    known = minutes.notna().to_numpy()
    lengths = np.full(len(minutes), np.timedelta64("NaT"), dtype="timedelta64[us]")
    lengths[known] = np.rint(minutes[known].to_numpy(dtype="float64") * _MINUTE_MICROS).astype(np.int64)
    return pd.Series(lengths, index=minutes.index)


def _in_one_zone(clock: pd.Series, zone: str, expected: pd.Series, after: pd.Series) -> pd.Series:
    since_midnight = minutes_long((clock // 100 * 60 + clock % 100) % _MINUTES_OF_A_DAY)
    midnight = expected.dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
    shown = [midnight + day + since_midnight for day in _DAYS]
    # A clock that shows a time twice does so first in daylight saving time.
    first_time = [np.full(len(clock), first) for first in (True, False)]
    candidates = np.stack(
        [
            _microseconds(local.dt.tz_localize(zone, ambiguous=first, nonexistent=_ONE_HOUR))
            for local, first in product(shown, first_time)
        ]
    )
    gap = np.abs(candidates - _microseconds(expected))
    gap[candidates <= _microseconds(after)] = _OUT_OF_REACH
    nearest = np.take_along_axis(candidates, gap.argmin(axis=0)[np.newaxis], axis=0)[0]
    return pd.Series(pd.to_datetime(nearest, unit="us", utc=True), index=clock.index).dt.as_unit("us")


def _microseconds(times: pd.Series) -> npt.NDArray[np.int64]:
    instants: npt.NDArray[np.datetime64] = times.dt.tz_convert("UTC").to_numpy(dtype="datetime64[us]")
    return instants.astype(np.int64)
