"""DuckDB, one process, two threads, reading the very files of the log: its ASOF JOIN, with the tie rule put before it.

ASOF JOIN asks one question, which row is the latest. The as-of rule asks two: which rows could be read, and which of
them ranks highest. So the rows are ranked, and of a key only those stay that outrank all that could be read before:
of these, the latest is the highest. The logs hold no retractions, with which this would not do.
"""

from collections.abc import Sequence

from benchmarks.pit.shape import LOOKBACK_DAYS, Layout, View

_SETTINGS = "SET threads = 2; SET preserve_insertion_order = false; SET TimeZone = 'UTC'"


def join_wide(folder: str, out: str) -> None:
    """Rank and join whole rows."""
    layout = Layout.read(folder)
    joined = f"SELECT * FROM {_parquet([layout.spine])}"
    for view in layout.views:
        joined = _as_of(layout, view, joined, view.features, view.features)
    _copy(joined, out)


def join_narrow(folder: str, out: str) -> None:
    """Rank and join keys, times and the addresses of rows, then read the features of the rows that won."""
    layout = Layout.read(folder)
    joined = f"SELECT * FROM {_parquet([layout.spine])}"
    for view in layout.views:
        address = {"file_index": f"{view.name}_file", "file_row_number": f"{view.name}_row"}
        joined = _as_of(layout, view, joined, address, list(address.values()))
    features = ", ".join(f"{view.name}.{feature}" for view in layout.views for feature in view.features)
    tables = f"({joined}) AS s"
    for view in layout.views:
        tables += (
            f" LEFT JOIN {_parquet(view.files)} AS {view.name}"
            f" ON s.{view.name}_file = {view.name}.file_index AND s.{view.name}_row = {view.name}.file_row_number"
        )
    spine = ", ".join(f"s.{column}" for column in ("row_id", *layout.keys, "event_timestamp"))
    _copy(f"SELECT {spine}, {features} FROM {tables}", out)


def _as_of(
    layout: Layout,
    view: View,
    spine: str,
    columns: "Sequence[str] | dict[str, str]",
    names: Sequence[str],
) -> str:
    """The query of a spine with a view's columns behind it; null where the row that won is past the lookback."""
    keys = ", ".join(layout.keys)
    taken = ", ".join(f"{column} AS {name}" for column, name in zip(columns, names, strict=True))
    matches = " AND ".join(f"s.{key} = t.{key}" for key in layout.keys)
    fresh = f"s.event_timestamp - t.event <= INTERVAL {LOOKBACK_DAYS} DAYS"
    values = ", ".join(f"CASE WHEN {fresh} THEN t.{name} END AS {name}" for name in names)
    return f"""
        WITH log AS (
            SELECT {keys}, greatest(event_timestamp, created_timestamp) AS available,
                event_timestamp AS event, _interval AS ending, created_timestamp AS created, _seq AS seq, {taken}
            FROM {_parquet(view.files)}),
        ranked AS (
            SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY event, ending, created, seq) AS rank FROM log),
        timeline AS (
            SELECT * FROM ranked QUALIFY rank = max(rank) OVER (PARTITION BY {keys} ORDER BY available))
        SELECT s.*, {values} FROM ({spine}) AS s
        ASOF LEFT JOIN timeline AS t ON {matches} AND s.event_timestamp >= t.available"""


def _parquet(paths: Sequence[str]) -> str:
    return "read_parquet([" + ", ".join(f"'{path}'" for path in paths) + "])"


def _copy(query: str, out: str) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(_SETTINGS)
        connection.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet)")
