"""What windows over the events must hold, worked out by another way than any contender's: exact integers of cents."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.compare import read
from benchmarks.windows.shape import FUNCTIONS, WIDTHS, feature

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of the sum of magnitudes.
_TOLERANCE = 1e-12
_SAMPLE = 5_000
_MICROSECOND = timedelta(microseconds=1)
_INSTANTS = 1 << 43  # more microseconds than the days of the events have


class Truth:
    """Events by customer and time, and for each of them where its windows begin and where it and its equals end."""

    def __init__(self, folder: Path) -> None:
        events = read(folder, ["row_id", "customer", "event_timestamp", "amount"])
        ids = events["row_id"].to_numpy()
        times = events["event_timestamp"].cast("int64").to_numpy()
        places = events["customer"].to_numpy() * _INSTANTS + (times - times.min())
        order = np.argsort(places, kind="stable")
        places, amounts = places[order], events["amount"].to_numpy()[order]
        self.rows = len(ids)
        self._ids = ids[order]
        self._amounts = amounts
        cents = np.rint(amounts * 100).astype(np.int64)
        self._cents, self._magnitudes = _running(cents), _running(np.abs(cents))
        first_of_key = (places // _INSTANTS) * _INSTANTS
        self._ends = np.searchsorted(places, places, side="right")
        # (t - w, t]: the first place that lies behind t - w, and is of the same customer.
        self._starts = {
            width: np.searchsorted(places, np.maximum(places - reach // _MICROSECOND, first_of_key - 1), side="right")
            for width, reach in WIDTHS.items()
        }

    def wrong(self, path: Path) -> dict[str, int]:
        """How many values of a result are not what they must be, by column; columns that are right are left out.

        Counts are exact, sums and means within 1e-12 of the sum of magnitudes; minima and maxima are sampled.
        Raises: ValueError: the rows are not those of the events.
        """
        ids = read(path, ["row_id"])["row_id"].to_numpy()
        order = np.argsort(ids, kind="stable")
        if not np.array_equal(ids[order], np.sort(self._ids)):
            raise ValueError(f"{len(ids)} rows, or other ones, instead of the {self.rows} events")
        at = order[np.argsort(np.argsort(self._ids, kind="stable"), kind="stable")]
        found = {}
        for width in WIDTHS:
            for function in FUNCTIONS:
                name = feature(function, width)
                values = read(path, [name])[name].to_numpy()[at]
                count = int(self._unlike(function, width, values).sum())
                if count:
                    found[name] = count
        return found

    def _unlike(self, function: str, width: str, values: "NDArray[Any]") -> "NDArray[np.bool_]":
        starts, ends = self._starts[width], self._ends
        if function == "count":
            return np.asarray(values != ends - starts)
        if function in ("sum", "mean"):
            wanted = (self._cents[ends] - self._cents[starts]) / 100
            allowed = (self._magnitudes[ends] - self._magnitudes[starts]) / 100 * _TOLERANCE
            if function == "mean":
                wanted, allowed = wanted / (ends - starts), allowed / (ends - starts)
            return ~(np.abs(values - wanted) <= allowed)
        sample = np.random.default_rng(0).integers(0, self.rows, _SAMPLE)
        best = {"min": np.min, "max": np.max}[function]
        return np.asarray([best(self._amounts[starts[row] : ends[row]]) != values[row] for row in sample])


def _running(values: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """Sums of all values before each place, and of all."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])


def describe(wrong: Mapping[str, int]) -> str:
    """In words."""
    return ", ".join(f"{count} of {name}" for name, count in wrong.items())
