"""Events to compute windows of: `python -m benchmarks.windows.data`.

One Parquet file for each of 90 days: row_id, customer, event_timestamp, amount. Times spread evenly; one event in a
thousand comes at the very microsecond of another of its customer. Amounts are in whole cents, one in twenty negative.
"""

import argparse
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.windows.shape import DAYS, SKEWS, START, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_START = int(START.timestamp()) * 1_000_000
_DAY = 86_400_000_000
_TIED, _REFUNDED, _HOT_SHARE = 0.001, 0.05, 0.05


def generate(shape: Shape) -> None:
    """Write the events; what was there before is replaced once all are written."""
    partial = shape.folder.with_name(f"{shape.folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    rng = np.random.default_rng(shape.events)
    first = 0
    for day in range(DAYS):
        count = shape.events * (day + 1) // DAYS - first
        pq.write_table(_day(rng, shape, day, first, count), partial / f"{day:03d}.parquet")
        first += count
    shutil.rmtree(shape.folder, ignore_errors=True)
    partial.rename(shape.folder)


def _day(rng: np.random.Generator, shape: Shape, day: int, first: int, count: int) -> pa.Table:
    times = np.sort(_START + day * _DAY + rng.integers(0, _DAY, count))
    customers = rng.integers(0, shape.keys, count)
    if shape.skew == "hot":
        customers[rng.random(count) < _HOT_SHARE] = shape.keys // 3
    tied = np.flatnonzero(rng.random(count) < _TIED)
    tied = tied[tied > 0]
    times[tied], customers[tied] = times[tied - 1], customers[tied - 1]
    return pa.table(
        {
            "row_id": np.arange(first, first + count),
            "customer": customers,
            "event_timestamp": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
            "amount": _amounts(rng, count),
        }
    )


def _amounts(rng: np.random.Generator, count: int) -> "NDArray[np.float64]":
    amounts = np.round(rng.lognormal(3.0, 1.5, count), 2)
    amounts[rng.random(count) < _REFUNDED] *= -1
    return amounts


def main(argv: Sequence[str] | None = None) -> None:
    """Write the events that the flags name."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.windows.data", description=__doc__)
    flags.add_argument("--events", type=int, default=Shape().events, help="how many (default %(default)s)")
    flags.add_argument("--skew", choices=SKEWS, default=Shape().skew, help="over keys (default %(default)s)")
    given = flags.parse_args(argv)
    generate(Shape(events=given.events, skew=given.skew))


if __name__ == "__main__":
    main()
