"""Which rows the demo reads back."""

import pandas as pd

from features.demo.reading import choose_rows


def test_the_last_flights_of_the_busiest_carriers_are_chosen() -> None:
    flights = pd.DataFrame(
        [
            ("AA", 1, "JFK", "LAX", "N1", "2013-03-11T10:00Z"),
            ("AA", 2, "JFK", "SFO", "N2", "2013-03-11T11:00Z"),
            ("UA", 3, "EWR", "SFO", "N3", "2013-03-11T09:00Z"),
            ("UA", 4, "EWR", "ORD", None, "2013-03-11T12:00Z"),
            ("UA", 5, "EWR", "ORD", "N4", None),
            ("UA", 6, "EWR", "BOS", "N5", "2013-03-11T08:00Z"),
            ("ZZ", 7, "LGA", "BOS", "N6", "2013-03-11T23:00Z"),
        ],
        columns=["carrier", "flight", "origin", "dest", "tailnum", "landed_at"],
    )
    flights["landed_at"] = pd.to_datetime(flights["landed_at"], utc=True)
    assert choose_rows(flights, count=2) == [
        {"carrier": "AA", "origin": "JFK", "dest": "SFO", "tailnum": "N2"},
        {"carrier": "UA", "origin": "EWR", "dest": "SFO", "tailnum": "N3"},
    ]
