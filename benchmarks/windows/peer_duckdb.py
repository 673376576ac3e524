"""DuckDB: RANGE windows, one process, two threads."""

from datetime import timedelta

from benchmarks.windows.shape import FUNCTIONS, WIDTHS, feature

_SETTINGS = "SET threads = 2; SET preserve_insertion_order = false; SET TimeZone = 'UTC'"
_FUNCTIONS = {"mean": "avg"}


def compute(folder: str, out: str) -> None:
    """One row for each event. The windows leave out their first microsecond: (t - w, t]."""
    import duckdb

    values = ", ".join(
        f"{_FUNCTIONS.get(function, function)}(amount) OVER last_{width} AS {feature(function, width)}"
        for width in WIDTHS
        for function in FUNCTIONS
    )
    by_time = "PARTITION BY customer ORDER BY us"
    windows = ", ".join(
        f"last_{width} AS ({by_time} RANGE BETWEEN {_micros(reach) - 1} PRECEDING AND CURRENT ROW)"
        for width, reach in WIDTHS.items()
    )
    events = f"SELECT *, epoch_us(event_timestamp) AS us FROM read_parquet('{folder}/*.parquet')"
    query = f"SELECT row_id, customer, event_timestamp, {values} FROM ({events}) WINDOW {windows}"
    with duckdb.connect() as connection:
        connection.execute(_SETTINGS)
        connection.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet)")


def _micros(reach: timedelta) -> int:
    return reach // timedelta(microseconds=1)
