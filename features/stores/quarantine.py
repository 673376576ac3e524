"""Where withheld rows go: a Delta table beside the view's log, one set of rows per interval, with their reasons."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.times import to_micros
from features.errors import StorageError
from features.stores.delta import INTERVAL
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_RUN_ID = "_run_id"


class Quarantine:
    """The rows of a view version that the gate withheld: keys, times, features, `_interval`, `_reasons`, `_run_id`."""

    def __init__(self, spark: "SparkSession", warehouse: str, view: AppliedView) -> None:
        self._spark = spark
        self._view = view
        self.path = f"{warehouse.rstrip('/')}/{view.name}/quarantine_v{view.version}"

    def replace(self, intervals: Sequence[datetime], rows: "DataFrame | None", *, run_id: str) -> None:
        """Make `rows` the quarantined rows of these intervals (their ends), in place of what an earlier run left.

        Raises: StorageError: the table cannot be written; the log itself is published already, and a rerun mends it.
        """
        from delta import DeltaTable
        from pyspark.sql import functions as F

        exists = DeltaTable.isDeltaTable(self._spark, self.path)
        if rows is None and not exists:
            return
        inside = f"{INTERVAL} >= {_sql(min(intervals))} AND {INTERVAL} <= {_sql(max(intervals))}"
        try:
            held = self.read().where(inside).drop(_RUN_ID) if exists else None
            if rows is None:
                if held is not None and not held.isEmpty():
                    DeltaTable.forPath(self._spark, self.path).delete(inside)
                return
            if held is not None and rows.exceptAll(held).isEmpty() and held.exceptAll(rows).isEmpty():
                return
            writer = rows.withColumn(_RUN_ID, F.lit(run_id)).write.format("delta")
            if exists:
                writer.mode("overwrite").option("replaceWhere", inside).save(self.path)
            else:
                writer.mode("append").save(self.path)
        except spark_errors() as exc:
            where = f"the quarantine of {self._view.reference} at {self.path}"
            raise StorageError(f"cannot write {where}: {first_line(exc)}; run the interval again") from exc

    def read(self) -> "DataFrame":
        """The withheld rows of all intervals."""
        return self._spark.read.format("delta").load(self.path)


def _sql(instant: datetime) -> str:
    return f"timestamp_micros({to_micros(instant)})"
