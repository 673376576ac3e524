"""The spine of the demo's model: the flights that arrived, at their scheduled departure, and whether they were late."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from features.errors import SourceError

LATE_MINUTES = 15
_NEW_YORK = "America/New_York"
_COLUMNS = ("carrier", "flight", "tailnum", "origin", "dest", "event_timestamp", "distance", "hour", "late")


def read_flights(landing: Path, start: datetime, end: datetime) -> pd.DataFrame:
    """The flights that were scheduled to leave in [start, end), as they were landed.

    Raises: SourceError: nothing was landed there.
    """
    # A flight is landed on the day when its report was final: a day after it left at the latest.
    days = pd.date_range(start.date(), end.date() + pd.Timedelta(days=1), freq="D")
    files = [landing / "flights" / f"day={day.date()}" / "flights.parquet" for day in days]
    found = [pd.read_parquet(file, partitioning=None) for file in files if file.exists()]
    if not found:
        raise SourceError(f"no flights of [{start}, {end}) lie under {landing}; land them again")
    flights = pd.concat(found, ignore_index=True)
    return flights[(flights["scheduled_at"] >= start) & (flights["scheduled_at"] < end)]


def spine_of(flights: pd.DataFrame) -> pd.DataFrame:
    """One row per flight with a known arrival delay, in the order of event_timestamp, carrier, flight, origin.

    Columns: join keys, flight, event_timestamp (the scheduled departure), distance in miles, hour (of the scheduled
    departure in New York, 0 to 24) and late (by more than 15 minutes at the gate).
    """
    arrived = flights[flights["arrival_delay"].notna()]
    local = arrived["scheduled_at"].dt.tz_convert(_NEW_YORK)
    spine = arrived.assign(
        event_timestamp=arrived["scheduled_at"],
        hour=local.dt.hour + local.dt.minute / 60,
        late=arrived["arrival_delay"] > LATE_MINUTES,
    )
    ordered = spine.sort_values(["event_timestamp", "carrier", "flight", "origin"], kind="stable")
    return ordered[list(_COLUMNS)].reset_index(drop=True)


def write_spine(spine: pd.DataFrame, path: Path) -> bool:
    """Writes the spine as Parquet, unless the file holds it already; whether it was written."""
    table = pa.Table.from_pandas(spine, preserve_index=False).replace_schema_metadata(None)
    if path.exists() and parquet.read_table(path).equals(table):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return True


def read_rows(path: str | Path) -> pd.DataFrame:
    """The rows of Parquet files, with event_timestamp in UTC, whichever of Parquet's types holds it.

    Raises: FileNotFoundError.
    """
    rows = pd.read_parquet(path)
    # Spark's default type has no zone and counts nanoseconds.
    return rows.assign(event_timestamp=pd.to_datetime(rows["event_timestamp"], utc=True).dt.as_unit("us"))
