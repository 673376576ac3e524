"""The truth that windows are held against: right ones pass, and a value off by a row, a tie or a residue does not."""

from datetime import timedelta
from math import fsum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.windows.shape import COLUMNS, FUNCTIONS, WIDTHS, feature
from benchmarks.windows.truth import Truth

HOUR = 3_600_000_000
# Two of customer 1 at one microsecond; one exactly an hour before another; customer 2 right behind customer 1.
EVENTS = [
    (10, 1, 0, 0.1),
    (11, 2, 0, 5.0),
    (12, 1, HOUR - 1, 0.2),
    (13, 1, HOUR, 0.3),
    (14, 1, HOUR, -0.7),
    (15, 2, 1, 2.0),
]


def naive(row: tuple[int, int, int, float], width: timedelta) -> dict[str, float]:
    _, customer, time, _ = row
    reach = width // timedelta(microseconds=1)
    held = [amount for _, c, t, amount in EVENTS if c == customer and time - reach < t <= time]
    total = fsum(held)
    return {"count": len(held), "sum": total, "mean": total / len(held), "min": min(held), "max": max(held)}


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    folder = tmp_path / "events"
    folder.mkdir()
    ids, customers, times, amounts = zip(*EVENTS, strict=True)
    instants = pa.array(times, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    table = pa.table({"row_id": ids, "customer": customers, "event_timestamp": instants, "amount": amounts})
    pq.write_table(table, folder / "000.parquet")
    return Truth(folder)


def result(path: Path, **changes: tuple[int, float]) -> Path:
    """The right answer in another order, but for changes: column to (row, value)."""
    rows = [EVENTS[place] for place in (3, 0, 5, 1, 4, 2)]
    columns: dict[str, list[float]] = {"row_id": [row[0] for row in rows]}
    for width, reach in WIDTHS.items():
        for function in FUNCTIONS:
            columns[feature(function, width)] = [naive(row, reach)[function] for row in rows]
    for column, (row_id, value) in changes.items():
        columns[column][columns["row_id"].index(row_id)] = value
    pq.write_table(pa.table(columns), path / "result.parquet")
    return path / "result.parquet"


def test_windows_are_open_at_their_start_and_hold_all_rows_of_their_end(truth: Truth, tmp_path: Path) -> None:
    assert truth.wrong(result(tmp_path)) == {}


@pytest.mark.parametrize(
    ("column", "row_id", "value"),
    [
        ("amount_count_1h", 13, 2),  # one of two ties
        ("amount_count_1h", 14, 4),  # the row that lies an hour back
        ("amount_sum_1h", 13, -0.2 + 1e-11),
        ("amount_mean_1d", 12, 0.15 + 1e-11),
        ("amount_min_7d", 14, 0.1),
        ("amount_max_30d", 15, 2.0),
        ("amount_sum_1h", 10, float("nan")),
    ],
)
def test_a_wrong_value_is_found(truth: Truth, tmp_path: Path, column: str, row_id: int, value: float) -> None:
    assert list(truth.wrong(result(tmp_path, **{column: (row_id, value)}))) == [column]


def test_rounding_is_forgiven(truth: Truth, tmp_path: Path) -> None:
    assert truth.wrong(result(tmp_path, amount_sum_1h=(13, -0.2 + 1e-14))) == {}


def test_rows_that_are_missing_are_no_result(truth: Truth, tmp_path: Path) -> None:
    table = pq.read_table(result(tmp_path))
    pq.write_table(table.slice(1), tmp_path / "short.parquet")
    with pytest.raises(ValueError, match="5 rows, or other ones, instead of the 6 events"):
        truth.wrong(tmp_path / "short.parquet")


def test_the_columns_of_a_result_are_named_once() -> None:
    assert len(COLUMNS) == len(set(COLUMNS)) == 3 + 20
