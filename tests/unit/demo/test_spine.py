"""The demo's spine: flights with a known arrival delay, at their scheduled departure."""

from pathlib import Path

import pandas as pd
import pytest

from features.demo.spine import read_flights, spine_of, write_spine
from features.errors import SourceError
from tests.builders import at


def flights(*rows: tuple[str, str, float | None]) -> pd.DataFrame:
    """Flights as (carrier, scheduled_at, arrival_delay)."""
    return pd.DataFrame(
        {
            "carrier": [row[0] for row in rows],
            "flight": range(len(rows)),
            "tailnum": "N1",
            "origin": "JFK",
            "dest": "LAX",
            "scheduled_at": pd.to_datetime([row[1] for row in rows], utc=True).as_unit("us"),
            "distance": 2475.0,
            "arrival_delay": [row[2] for row in rows],
        }
    )


def test_late_is_more_than_fifteen_minutes() -> None:
    spine = spine_of(flights(("AA", "2013-03-08T12:00Z", 15.0), ("UA", "2013-03-08T12:00Z", 16.0)))
    assert spine["late"].tolist() == [False, True]


def test_flights_that_never_arrived_have_no_label_and_are_left_out() -> None:
    spine = spine_of(flights(("AA", "2013-03-08T12:00Z", None), ("UA", "2013-03-08T12:00Z", 1.0)))
    assert spine["carrier"].tolist() == ["UA"]


def test_the_hour_is_that_of_new_york_before_and_after_clocks_change() -> None:
    spine = spine_of(flights(("AA", "2013-03-09T17:30Z", 0.0), ("AA", "2013-03-10T17:30Z", 0.0)))
    assert spine["hour"].tolist() == [12.5, 13.5]


def test_rows_come_in_the_order_of_their_times() -> None:
    spine = spine_of(
        flights(("UA", "2013-03-09T12:00Z", 0.0), ("AA", "2013-03-09T12:00Z", 0.0), ("ZZ", "2013-03-08T12:00Z", 0.0))
    )
    assert spine["carrier"].tolist() == ["ZZ", "AA", "UA"]


def test_a_spine_is_written_once(tmp_path: Path) -> None:
    spine, path = spine_of(flights(("AA", "2013-03-08T12:00Z", 1.0))), tmp_path / "deep" / "spine.parquet"
    assert write_spine(spine, path)
    assert not write_spine(spine, path)
    assert write_spine(spine.assign(late=True), path)


def test_flights_are_read_by_their_scheduled_departure_from_the_day_they_landed(tmp_path: Path) -> None:
    evening = flights(("AA", "2013-03-08T23:59Z", 1.0), ("UA", "2013-03-09T00:00Z", 1.0))
    folder = tmp_path / "flights" / "day=2013-03-09"
    folder.mkdir(parents=True)
    evening.to_parquet(folder / "flights.parquet")
    found = read_flights(tmp_path, at("2013-03-08"), at("2013-03-09"))
    assert found["carrier"].tolist() == ["AA"]


def test_nothing_landed_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="land them again"):
        read_flights(tmp_path, at("2013-03-08"), at("2013-03-09"))
