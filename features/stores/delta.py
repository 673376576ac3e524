"""The offline log: one append-only Delta table per view version, the only door to Delta Lake.

Each commit carries a position, `_seq` = last + 1, as Delta's application transaction: of two writers that saw the same
last position one is refused by Delta, or skipped without a word, so a commit counts only when the table's history
shows the writer's own run at that position.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.dtypes import DType
from features.core.times import to_micros
from features.errors import StorageError
from features.stores.keyed_rows import ONE_FILE_A_TASK, KeyedRows, isolated
from features.stores.log_files import REMOVES
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, SEQ, Commit, LogState, Snapshot
from features.stores.spark_errors import first_line, is_lost_race, spark_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

# How a log's files are written, in sessions of `open_session`; docs/decisions/log-layout.md has what was measured.
ROWS_PER_GROUP = 16_384
COMPRESSION = "snappy"


class FeatureLog(LogState):
    """The log of one view version: join keys, event_timestamp, created_timestamp, _op, _seq, _interval, features."""

    def __init__(self, spark: "SparkSession", warehouse: str, view: AppliedView) -> None:
        super().__init__(warehouse, view)
        self._spark = spark

    def beside(self, view: AppliedView) -> "FeatureLog":
        """The log of another view version in the same warehouse."""
        return FeatureLog(self._spark, self._warehouse, view)

    def _has_statistics(self, key: str) -> bool:
        dtype = self._view.join_keys[key]
        return dtype not in (DType.BOOL, DType.BYTES)

    def read(self, snapshot: Snapshot, *, position: int | None = None) -> "DataFrame":
        """The rows of a snapshot, up to a position (None: all). Later writes and compaction do not change it."""
        from pyspark.sql import functions as F

        frame = self._spark.read.format("delta").option("versionAsOf", snapshot.version).load(self.path)
        return frame if position is None else frame.where(F.col(SEQ) <= position)

    def empty(self) -> "DataFrame":
        """A frame of the log's columns, without rows: what a view holds before its first commit."""
        types = {EVENT: "timestamp", CREATED: "timestamp", OP: "string", SEQ: "bigint", INTERVAL: "timestamp"}
        types |= {key: dtype.spark for key, dtype in self._view.join_keys.items()}
        types |= {f.name: f.dtype.spark for f in self._view.features}
        return self._spark.createDataFrame([], ", ".join(f"`{name}` {types[name]}" for name in self.columns))

    def append(self, rows: "DataFrame", *, position: int, run_id: str, note: Mapping[str, Any]) -> Commit | None:
        """Append rows as the commit of a position, or None where another run has taken it: read again and compare.

        Args:
            rows: the log's columns; `_seq` is set here.
            position: the last position of the snapshot that the rows were compared against, plus one.
            run_id, note: told in the commit's metadata.

        Raises: StorageError: the table cannot be written.
        """
        from pyspark.sql import functions as F

        numbered = rows.withColumn(SEQ, F.lit(position).cast("bigint"))
        return self._commit_as(numbered, "append", position=position, run_id=run_id, note=note)

    def rewrite(self, rows: "DataFrame", *, position: int, run_id: str, note: Mapping[str, Any]) -> Commit | None:
        """Replace all files by others of the same rows, as the commit of a position that brings no rows of its own.

        Delta is told that no data changed. None where another run has taken the position: read again and rewrite.

        Args:
            rows: all rows of the snapshot whose last position is the one before; `_seq` is kept.

        Raises: StorageError: the table cannot be written.
        """
        return self._commit_as(rows, "overwrite", position=position, run_id=run_id, note=note)

    def remove(
        self, condition: str, *, position: int, run_id: str, note: Mapping[str, Any], reason: str
    ) -> Commit | None:
        """Remove the rows that meet a condition, as the commit of a position that brings no rows; others keep theirs.

        Only files with such rows are rewritten. The commit is tagged with the reason: a reader that pinned an older
        version must not take the files of a newer one for its own, see `find_removal`.

        Args:
            condition: SQL over the log's own columns, which some row of the snapshot meets.
            position: the last position of that snapshot, plus one.
            reason: "retention", say.

        Returns: None where another run has taken the position: read again.

        Raises: StorageError: the table cannot be written.
        """
        metadata = {**self._metadata(position, run_id, note), REMOVES: reason}
        session = isolated(
            self._spark,
            {
                "spark.databricks.delta.write.txnAppId": self._view.reference,
                "spark.databricks.delta.write.txnVersion": str(position),
                "spark.databricks.delta.commitInfo.userMetadata": json.dumps(metadata),
                # A file to a task: what is left of it keeps its order, and stays apart from what is left of others.
                "spark.sql.files.openCostInBytes": ONE_FILE_A_TASK,
                "spark.sql.files.maxPartitionBytes": ONE_FILE_A_TASK,
            },
        )
        try:
            session.sql(f"DELETE FROM delta.`{self.path}` WHERE {condition}")
        except spark_errors() as exc:
            if is_lost_race(exc):
                return None
            raise StorageError(
                f"cannot remove rows of {self._view.reference} at {self.path}: {first_line(exc)}"
            ) from exc
        return self._own_commit(position, run_id)

    def keyed(self, keys: "pa.Table", snapshot: Snapshot) -> KeyedRows:
        """The rows of a snapshot that hold some keys. keys: some of the join keys' columns, distinct rows."""
        return KeyedRows(self._spark, self.path, keys, version=snapshot.version, positions=SEQ)

    def erase(
        self, rows: KeyedRows, *, position: int, run_id: str, note: Mapping[str, Any], reason: str
    ) -> Commit | None:
        """Remove rows by key, without telling Delta the keys; else as `remove`.

        Args:
            rows: of the snapshot whose last position is the one before.

        Raises: StorageError: the table cannot be written.
        """
        metadata = {**self._metadata(position, run_id, note), REMOVES: reason}
        try:
            rows.erase(json.dumps(metadata), transaction=(self._view.reference, position))
        except spark_errors() as exc:
            if is_lost_race(exc):
                return None
            raise StorageError(f"cannot erase from {self._view.reference} at {self.path}: {first_line(exc)}") from exc
        return self._own_commit(position, run_id)

    def restore(self, version: int) -> None:
        """Make the rows of an earlier version the newest ones. Raises: StorageError: the table cannot be written."""
        try:
            self._spark.sql(f"RESTORE TABLE delta.`{self.path}` TO VERSION AS OF {version}")
        except spark_errors() as exc:
            raise StorageError(
                f"cannot restore {self._view.reference} at {self.path} to version {version}: {first_line(exc)}"
            ) from exc

    def _commit_as(
        self, rows: "DataFrame", mode: str, *, position: int, run_id: str, note: Mapping[str, Any]
    ) -> Commit | None:
        metadata = self._metadata(position, run_id, note)
        # Delta keeps no statistics of these types, and refuses a table that asks for them.
        counted = [c for c in self._own_columns if c not in self._view.join_keys or self._has_statistics(c)]
        writer = (
            rows.select(*self.columns)
            .write.format("delta")
            .mode(mode)
            .option("txnAppId", self._view.reference)
            .option("txnVersion", position)
            .option("userMetadata", json.dumps(metadata))
            .option("delta.dataSkippingStatsColumns", ",".join(counted))
            .option("compression", COMPRESSION)
        )
        if mode == "overwrite":
            writer = writer.option("dataChange", "false")
        try:
            writer.save(self.path)
        except spark_errors() as exc:
            if is_lost_race(exc):
                return None
            raise StorageError(
                f"cannot write the log of {self._view.reference} at {self.path}: {first_line(exc)}"
            ) from exc
        return self._own_commit(position, run_id)

    def _metadata(self, position: int, run_id: str, note: Mapping[str, Any]) -> dict[str, Any]:
        return {"run_id": run_id, "position": position, "view": self._view.reference, "note": note}

    def _own_commit(self, position: int, run_id: str) -> Commit | None:
        """The commit of a position, where it is this run's."""
        commit = next((c for c in self.commits(after=position - 1) if c.position == position), None)
        return commit if commit is not None and commit.run_id == run_id else None


def micros_literal(instant: datetime) -> "Column":
    """A Spark timestamp literal that no session time zone can shift."""
    from pyspark.sql import functions as F

    literal: Column = F.timestamp_micros(F.lit(to_micros(instant)).cast("bigint"))
    return literal
