"""Whether every layout of a log gives the same rows: those of a join, and those that a build appends."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from benchmarks.compare import difference
from benchmarks.layout.shape import DAY, day_start, working_copy
from benchmarks.racing import ContenderFailedError
from features.stores.log_state import CREATED, EVENT, INTERVAL, SEQ

_ORDER = [("customer", "ascending"), (EVENT, "ascending")]


def check_alike(results: Iterable[tuple[str, pa.Table]]) -> None:
    """Hold the rows of each contender against those of the first, whatever their order.

    Args:
        results: name and rows; rows of one customer and event are equal throughout. Read one at a time.

    Raises: ContenderFailedError: one has other rows or columns, or the first has none.
    """
    wanted: pa.Table | None = None
    for name, rows in results:
        found = _number(rows)
        if wanted is None:
            wanted = found
        if not found.num_rows or found.schema != wanted.schema:
            raise ContenderFailedError(f"{name} gave {found.num_rows} rows of {', '.join(rows.column_names)}")
        if unlike := difference(wanted, found):
            raise ContenderFailedError(f"{name} gave other rows than the first layout of the round: {unlike}")


def read_result(work: str, history: Path, out: str | Path, notes: Mapping[str, Any]) -> pa.Table:
    """What a run gave: rows with customer and event_timestamp.

    Args:
        history: the store that it read, or built upon a copy of. out: where a join wrote. notes: what the run told.

    Raises: ContenderFailedError: they are not as many as the run told.
    """
    if work == "join":
        found = ds.dataset(str(out), format="parquet").to_table()
    else:
        found = read_appended(working_copy(history, work), notes["day"])
        if work == "rerun":
            # A rerun stamps corrections with its own time.
            found = found.drop_columns([CREATED])
    if found.num_rows != notes["rows"]:
        raise ContenderFailedError(f"{work}, {history.name}: {notes['rows']} rows told of, {found.num_rows} there")
    return found


def read_appended(store: Path, day: int) -> pa.Table:
    """The rows that the newest commit of a day appended to the log of a store, but for their position."""
    from deltalake import DeltaTable

    (log,) = (path.parent for path in store.glob("warehouse/*/v1/_delta_log"))
    end = pa.scalar(day_start(day) + DAY, pa.timestamp("us", tz="UTC"))
    rows = ds.dataset(DeltaTable(str(log)).file_uris(), format="parquet").to_table(filter=pc.field(INTERVAL) == end)
    return rows.filter(pc.equal(rows[SEQ], pc.max(rows[SEQ]))).drop_columns([SEQ])


def _number(rows: pa.Table) -> pa.Table:
    """Sorted, and numbered in that order as `difference` wants it."""
    ordered = rows.select(sorted(rows.column_names)).sort_by(_ORDER).replace_schema_metadata()
    return ordered.append_column("row_id", pa.array(range(len(ordered)), pa.int64()))
