"""What builds and releases share of publishing: reading the log's rows of an interval, counting, and the commit."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.times import from_micros
from features.engine.changes import CORRECTS
from features.engine.transform import collect_one
from features.errors import SourceError, StorageError
from features.materialization.ledger import Told
from features.stores.delta import FeatureLog, micros_literal
from features.stores.log_state import EVENT, INTERVAL, OP, RETRACT, Commit, Snapshot
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Each lost race means that another run of the same view has committed; so many in a row is a fault.
ATTEMPTS = 5
_ROWS_PER_FILE = 1_000_000

Totals = Mapping[datetime, Mapping[str, int]]


def logged_rows(log: FeatureLog, snapshot: Snapshot, ends: Sequence[datetime]) -> "DataFrame":
    """All rows of the log of these intervals (their ends)."""
    from pyspark.sql import functions as F

    frame = log.read(snapshot)
    # The range prunes files by their statistics; the list is exact.
    ranged = frame.where(F.col(INTERVAL).between(micros_literal(min(ends)), micros_literal(max(ends))))
    return ranged if len(ends) == 1 else ranged.where(F.col(INTERVAL).isin([micros_literal(e) for e in ends]))


@contextmanager
def reading_log(view: AppliedView) -> Iterator[None]:
    """Tells that files of the view's log could not be read inside the block. Raises: StorageError."""
    unreadable: tuple[type[Exception], ...] = (SourceError, *spark_errors())
    try:
        yield
    except unreadable as exc:
        if f"/{view.log_path}/" not in str(exc):
            raise
        # An erasure's vacuum, and one by hand, wait for nobody: the next run reads the files of today.
        raise StorageError(
            f"files of the log of {view.reference} cannot be read; where they were vacuumed meanwhile, run it again: "
            f"{first_line(exc)}"
        ) from exc


def count_changes(changes: "DataFrame", view: AppliedView) -> Totals:
    """Rows, corrections and retractions to append, by the end of their interval.

    Raises: StorageError: the log's files that they were compared with cannot be read, or not any more.
    """
    from pyspark.sql import functions as F

    counted = changes.groupBy(F.unix_micros(INTERVAL).alias("end")).agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_if(CORRECTS).alias("corrections"),
        F.count_if(F.col(OP) == RETRACT).alias("retractions"),
    )
    everything = counted.groupBy().agg(F.collect_list(F.struct("*")).alias("all"))
    with reading_log(view):
        listed = collect_one(everything, view.reference)
    return {
        from_micros(r["end"]): {name: r[name] for name in ("rows", "corrections", "retractions")} for r in listed["all"]
    }


def sum_changes(totals: Totals) -> dict[str, int]:
    """Rows, corrections and retractions of all intervals."""
    return {name: sum(total[name] for total in totals.values()) for name in ("rows", "corrections", "retractions")}


def append_changes(
    log: FeatureLog, changes: "DataFrame", view: AppliedView, snapshot: Snapshot | None, told: Told, run_id: str
) -> Commit | None:
    """Append the changes behind the snapshot that they were made from; None: another run has committed there first.

    Raises: StorageError: the log cannot be written.
    """
    keys = list(view.join_keys)
    files = max(1, told.rows // _ROWS_PER_FILE)
    parts = changes.coalesce(1) if files == 1 else changes.repartitionByRange(files, *keys, EVENT)
    ordered = parts.sortWithinPartitions(*keys, EVENT)
    position = (snapshot.position if snapshot is not None else 0) + 1
    return log.append(ordered, position=position, run_id=run_id, note=told.note())
