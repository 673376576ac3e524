"""Rows of a Delta table that hold some keys: found, and removed by a commit that does not tell the keys.

Delta writes the predicate of a DELETE, and of an overwrite in part, into the commit, where it stays for as long as the
table's history. A MERGE tells the names of columns alone, as long as the keys are rows of its source.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

from features.errors import StorageError
from features.stores.filesystems import native_uri
from features.stores.log_files import LogFile, list_files
from features.stores.log_state import ROW_GROUP_SETTING
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

_ROWS, _KEYS = "rows", "keys"
# More positions than that are told by their range.
_LISTED = 1_000
ONE_FILE_A_TASK = str(1 << 30)
# What sessions of jobs are opened with that a new session of the same Spark does not take over.
_KEPT = ("spark.sql.session.timeZone", "spark.sql.parquet.outputTimestampType", ROW_GROUP_SETTING)


@dataclass(frozen=True)
class KeyedRows:
    """The rows of a table whose columns equal those of one of some keys.

    path: of the table. keys: one column or more of the table's, in its types; distinct rows, no nulls.
    version: the one that is looked at; None: the newest. positions: a column of int64 with statistics, by which files
    are left out; None: there is none.
    """

    spark: "SparkSession"
    path: str
    keys: "pa.Table"
    version: int | None = None
    positions: str | None = None

    def find(self) -> "DataFrame":
        """The rows."""
        reader = self.spark.read.format("delta")
        frame = (reader if self.version is None else reader.option("versionAsOf", self.version)).load(self.path)
        frame = frame.alias(_ROWS)
        frame = frame if self._apart is None else frame.where(self._apart)
        return frame.join(self._source(self.spark), list(self.keys.column_names), "left_semi")

    @cached_property
    def found(self) -> tuple[int, tuple[int, ...]]:
        """How many rows there are, and their positions, ascending. Raises: StorageError."""
        from pyspark.sql import functions as F

        if self._is_apart:
            return 0, ()
        positions = F.lit(None).cast("bigint") if self.positions is None else F.col(f"`{self.positions}`")
        try:
            (row,) = self.find().agg(F.count(F.lit(1)), F.collect_set(positions)).collect()
        except spark_errors() as exc:
            raise StorageError(f"cannot read {self.path}: {first_line(exc)}") from exc
        return int(row[0]), tuple(sorted(row[1]))

    def erase(self, metadata: str, *, transaction: tuple[str, int] | None = None) -> None:
        """Remove the rows from the newest version, in one commit; each file that holds some becomes one without them.

        Args:
            metadata: kept with the commit.
            transaction: of the application, with its version: where the table has seen that, nothing is done.

        Raises: what Spark and Delta raise.
        """
        from delta import DeltaTable

        count, positions = self.found
        if not count:
            return
        # Each file as one task keeps the order of its rows, and files of one commit apart from those of another.
        conf = {
            "spark.databricks.delta.commitInfo.userMetadata": metadata,
            "spark.sql.files.openCostInBytes": ONE_FILE_A_TASK,
            "spark.sql.files.maxPartitionBytes": ONE_FILE_A_TASK,
        }
        if transaction is not None:
            conf["spark.databricks.delta.write.txnAppId"] = transaction[0]
            conf["spark.databricks.delta.write.txnVersion"] = str(transaction[1])
        session = isolated(self.spark, conf)
        equal = [_column(_ROWS, name) == _column(_KEYS, name) for name in self.keys.column_names]
        limits = [] if self._apart is None else [self._apart]
        if positions and self.positions is not None:
            at = _column(_ROWS, self.positions)
            limits.append(at.isin(*positions) if len(positions) <= _LISTED else at.between(positions[0], positions[-1]))
        source = self._source(session).alias(_KEYS)
        table = DeltaTable.forPath(session, self.path).alias(_ROWS)
        table.merge(source, reduce(lambda one, other: one & other, [*limits, *equal])).whenMatchedDelete().execute()

    def _source(self, session: "SparkSession") -> "DataFrame":
        from pyspark.sql import functions as F

        return F.broadcast(session.createDataFrame(self.keys))

    @cached_property
    def _files(self) -> tuple[LogFile, ...]:
        return list_files(self.path, self.keys.column_names, version=self.version).files

    @property
    def _is_apart(self) -> bool:
        """Whether the statistics of no file allow one of the keys."""
        names = self.keys.column_names
        plain = [_comparable(self.keys[name].to_pylist()) for name in names]
        return not any(
            all(
                not ends or file.may_hold(name, low=ends[0], high=ends[1])
                for name, ends in zip(names, plain, strict=True)
            )
            for file in self._files
        )

    @cached_property
    def _apart(self) -> "Column | None":
        """A limit that leaves out files which lie below or above all keys, told by values of such files alone."""
        from pyspark.sql import functions as F

        name = self.keys.column_names[0]
        ends = _comparable(self.keys[name].to_pylist())
        bounds = [file.bounds[name] for file in self._files if name in file.bounds]
        if not ends:
            return None
        below = max((greatest for _, greatest in bounds if greatest < ends[0]), default=None)
        above = min((least for least, _ in bounds if least > ends[1]), default=None)
        limits = [] if below is None else [_column(_ROWS, name) > F.lit(below)]
        limits += [] if above is None else [_column(_ROWS, name) < F.lit(above)]
        return reduce(lambda one, other: one & other, limits) if limits else None


def isolated(spark: "SparkSession", conf: dict[str, str]) -> "SparkSession":
    """A session of the same Spark with settings of its own, which no other work sees."""
    session = spark.newSession()
    for name in _KEPT:
        value = spark.conf.get(name, None)
        if value is not None:
            session.conf.set(name, value)
    for name, value in conf.items():
        session.conf.set(name, value)
    return session


def is_table(spark: "SparkSession", path: str) -> bool:
    """Whether a Delta table is there."""
    from delta import DeltaTable

    return bool(DeltaTable.isDeltaTable(spark, path))


def notes_of(path: str) -> list[dict[str, Any]]:
    """What the commits of a Delta table were given as metadata, of those that are JSON objects, newest first."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        told = [entry.get("userMetadata") or "" for entry in DeltaTable(native_uri(path)).history()]
    except (DeltaError, OSError) as exc:
        raise StorageError(f"cannot read the history of {path}: {first_line(exc)}") from exc
    return [json.loads(text) for text in told if text.startswith("{")]


def _column(of: str, name: str) -> "Column":
    from pyspark.sql import functions as F

    return F.col(f"{of}.`{name}`")


def _comparable(values: Sequence[Any]) -> tuple[Any, Any] | None:
    """The least and the greatest, where Python, Delta's statistics and Spark order such values alike."""
    kinds = {type(value) for value in values}
    return (min(values), max(values)) if kinds in ({str}, {int}) else None
