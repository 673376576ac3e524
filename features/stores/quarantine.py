"""Where withheld rows go: a Delta table beside the view's log, one set of rows per interval, with their reasons.

A row that a person releases is marked here before it is published, so a mark is the decision, and the log follows it:
who publishes, a build or a release, reads the log's snapshot first and the marks after it. Every write is one
statement of Delta's own, which reads and writes in one transaction: none of them can lose what another one did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.errors import StorageError
from features.stores.delta import micros_literal
from features.stores.log_state import AVAILABLE, CREATED, EVENT, INTERVAL
from features.stores.quarantine_reading import (
    MARKS,
    REASONS,
    RELEASED_AT,
    RELEASED_BY,
    RUN_ID,
    Chosen,
    QuarantineTable,
    arrow_scalar,
)
from features.stores.spark_errors import first_line, is_lost_race, spark_errors

if TYPE_CHECKING:
    from delta import DeltaTable
    from pyspark.sql import Column, DataFrame, SparkSession

# Each lost race means that another write of the table has been made, perhaps of other intervals.
_ATTEMPTS = 20
_MARK_TYPES = {RELEASED_AT: "timestamp", RELEASED_BY: "string"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Withheld:
    """What a run withholds, beside what the quarantine holds of its intervals.

    released: of the withheld rows, those that a person has released with these very values; None: there is none.
    differs: whether the quarantine has to be written.
    """

    rows: "DataFrame | None"
    released: "DataFrame | None" = None
    released_rows: int = 0
    differs: bool


class Quarantine:
    """The rows of a view version that the gate withheld: keys, times, features, `_interval`, `_reasons`, `_run_id`.

    `_run_id` is of the run that first withheld a row for these reasons; `_released_at` and `_released_by` are null
    until someone releases it.
    """

    def __init__(self, spark: "SparkSession", warehouse: str, view: AppliedView) -> None:
        self._spark = spark
        self._view = view
        self.table = QuarantineTable.of(warehouse, view)
        self.path = self.table.path

    def compare(self, intervals: Sequence[datetime], rows: "DataFrame | None") -> Withheld:
        """What a run has to do about the rows that it withholds of its intervals (their ends).

        Args:
            rows: keys, times, `_interval`, features and `_reasons`; None: all of them may be published.

        Raises: StorageError: the table cannot be read.
        """
        version = self.table.version()
        if version is None or not self.table.may_hold(version, intervals):
            return Withheld(rows=rows, differs=rows is not None)
        held = self._read(version).where(_within(min(intervals), max(intervals)))
        try:
            if rows is None:
                return Withheld(rows=None, differs=not held.isEmpty())
            return self._compare(rows, held)
        except spark_errors() as exc:
            raise self._failure("read", exc) from exc

    def _compare(self, rows: "DataFrame", held: "DataFrame") -> Withheld:
        from pyspark.sql import functions as F

        fresh = rows.select(*self._identity, self._values.alias("_new"), F.col(REASONS).alias("_because"))
        old = held.select(*self._identity, self._values.alias("_old"), REASONS, F.col(RELEASED_AT).alias("_mark"))
        both = fresh.join(old, self._identity, "full_outer")
        same = F.col("_new").isNotNull() & F.col("_old").isNotNull() & F.col("_new").eqNullSafe(F.col("_old"))
        counted = both.agg(
            F.count_if(~(same & F.col("_because").eqNullSafe(F.col(REASONS)))).alias("differing"),
            F.count_if(same & F.col("_mark").isNotNull()).alias("released"),
        ).collect()[0]
        if not counted["released"]:
            return Withheld(rows=rows, differs=counted["differing"] > 0)
        marked = old.where(F.col("_mark").isNotNull()).select(*self._identity, "_old")
        released = (
            rows.withColumn("_new", self._values)
            .join(marked, self._identity)
            .where(F.col("_new").eqNullSafe(F.col("_old")))
            .drop("_new", "_old", REASONS)
        )
        return Withheld(
            rows=rows, released=released, released_rows=counted["released"], differs=counted["differing"] > 0
        )

    def replace(self, intervals: Sequence[datetime], withheld: Withheld, *, run_id: str) -> None:
        """Make the withheld rows those of these intervals; the ones that stay as they were keep their run and marks.

        Raises: StorageError: the table cannot be written; nothing of the run is published yet.
        """
        first, last, rows = min(intervals), max(intervals), withheld.rows
        if rows is None:
            self._write(lambda: self._delta().delete(_within(first, last)))
            return
        if self.table.version() is None:
            self._write(self._create)
        self._write(lambda: self._merge(rows, _within(first, last, f"held.{INTERVAL}"), run_id))

    def _merge(self, rows: "DataFrame", inside: "Column", run_id: str) -> None:
        from pyspark.sql import functions as F

        features = [f.name for f in self._view.features]
        fresh = rows.withColumn(RUN_ID, F.lit(run_id)).alias("fresh")
        alike = inside
        for name in (*self._identity, *features):
            alike = alike & F.col(f"held.{name}").eqNullSafe(F.col(f"fresh.{name}"))
        (
            self._delta()
            .alias("held")
            .merge(fresh, alike)
            .whenMatchedUpdate(
                condition=~F.col(f"held.{REASONS}").eqNullSafe(F.col(f"fresh.{REASONS}")),
                set={REASONS: f"fresh.{REASONS}", RUN_ID: f"fresh.{RUN_ID}"},
            )
            .whenNotMatchedInsert(values={name: f"fresh.{name}" for name in self.table.columns if name not in MARKS})
            .whenNotMatchedBySourceDelete(condition=inside)
            .execute()
        )

    def mark(self, chosen: Chosen, *, at: datetime, by: str) -> None:
        """Mark the chosen rows as released, save those that are. Raises: StorageError, UsageError."""
        from pyspark.sql import functions as F

        self._add_marks()
        condition = self._matches(chosen) & F.col(RELEASED_AT).isNull()
        marks: dict[str, str | Column] = {RELEASED_AT: micros_literal(at), RELEASED_BY: F.lit(by)}
        self._write(lambda: self._delta().update(condition, marks))

    def released(self, chosen: Chosen) -> "tuple[int, DataFrame]":
        """The newest Delta version, and its rows among the chosen ones that are released. Raises: StorageError."""
        from pyspark.sql import functions as F

        version = self.table.version()
        if version is None:
            raise StorageError(
                f"the quarantine of {self._view.reference} at {self.path} is gone; build its range again"
            )
        return version, self._read(version).where(self._matches(chosen) & F.col(RELEASED_AT).isNotNull())

    def without(self, rows: "DataFrame") -> "DataFrame":
        """Of rows that were published as released, those that are released no longer: rebuilt, or gone."""
        from pyspark.sql import functions as F

        version = self.table.version()
        if version is None:
            return rows
        marked = self._read(version).where(F.col(RELEASED_AT).isNotNull())
        held = marked.select(*self._identity, self._values.alias("_old"))
        fresh = rows.withColumn("_new", self._values)
        matches = F.col("_new").eqNullSafe(F.col("_old"))
        for name in self._identity:
            matches = matches & fresh[name].eqNullSafe(held[name])
        return fresh.join(held, matches, "left_anti").drop("_new")

    def remove(self, chosen: Chosen) -> None:
        """Remove the chosen rows, save the released ones: their marks keep them published. Raises: StorageError."""
        from pyspark.sql import functions as F

        if self.table.version() is None:
            return
        condition = self._matches(chosen)
        self._add_marks()
        self._write(lambda: self._delta().delete(condition & F.col(RELEASED_AT).isNull()))

    @property
    def _identity(self) -> list[str]:
        # An imported log tells its rows apart by their created time as well.
        return [*self._view.join_keys, EVENT, INTERVAL, *([CREATED] if self._view.is_imported else [])]

    @property
    def _values(self) -> "Column":
        from pyspark.sql import functions as F

        return F.struct(*(f.name for f in self._view.features))

    def _matches(self, chosen: Chosen) -> "Column":
        from pyspark.sql import functions as F

        chosen.check(self._view)
        found = F.lit(True)
        if chosen.start is not None:
            found = found & (F.col(INTERVAL) > micros_literal(chosen.start))
        if chosen.end is not None:
            found = found & (F.col(INTERVAL) <= micros_literal(chosen.end))
        if chosen.ends is not None:
            found = found & F.col(INTERVAL).isin([micros_literal(end) for end in chosen.ends])
        if chosen.keys is not None:
            any_key = F.lit(False)
            for key in chosen.keys:
                this_key = F.lit(True)
                for name, value in key.items():
                    this_key = this_key & (F.col(name) == self._literal(name, value))
                any_key = any_key | this_key
            found = found & any_key
        return found

    def _literal(self, name: str, value: object) -> "Column":
        from pyspark.sql import functions as F

        dtype = self._view.join_keys[name]
        plain = arrow_scalar(name, value, dtype).as_py()
        if dtype.kind == "timestamp":
            return micros_literal(plain)
        if dtype.kind == "bytes":
            return F.unhex(F.lit(plain.hex()))
        # A date as text: as an object it would go through the calendar and zone of the JVM.
        return F.lit(plain.isoformat() if dtype.kind == "date" else plain).cast(dtype.spark)

    def _read(self, version: int) -> "DataFrame":
        from pyspark.sql import functions as F

        frame = self._spark.read.format("delta").option("versionAsOf", version).load(self.path)
        absent = {name: F.lit(None).cast(kind) for name, kind in _MARK_TYPES.items() if name not in frame.columns}
        return frame.withColumns(absent) if absent else frame

    def _delta(self) -> "DeltaTable":
        from delta import DeltaTable

        return DeltaTable.forPath(self._spark, self.path)

    def _create(self) -> None:
        from delta import DeltaTable

        # Empty, and then merged into: of two runs that append to a table that was not there, both would.
        types = {EVENT: "timestamp", CREATED: "timestamp", AVAILABLE: "timestamp", INTERVAL: "timestamp"}
        types |= {RUN_ID: "string", **_MARK_TYPES, REASONS: "array<string>"}
        types |= {key: dtype.spark for key, dtype in self._view.join_keys.items()}
        types |= {f.name: f.dtype.spark for f in self._view.features}
        builder = DeltaTable.createIfNotExists(self._spark).location(self.path)
        for name in self.table.columns:
            builder = builder.addColumn(name, types[name])
        builder.execute()

    def _add_marks(self) -> None:
        def add() -> None:
            if RELEASED_AT not in self._delta().toDF().columns:
                columns = ", ".join(f"{name} {kind}" for name, kind in _MARK_TYPES.items())
                self._spark.sql(f"ALTER TABLE delta.`{self.path}` ADD COLUMNS ({columns})")

        self._write(add)

    def _write(self, attempt: Callable[[], object]) -> None:
        for _ in range(_ATTEMPTS):
            try:
                attempt()
            except spark_errors() as exc:
                if not is_lost_race(exc) and "[FIELD_ALREADY_EXISTS]" not in str(exc):
                    raise self._failure("write", exc) from exc
            else:
                return
        raise StorageError(
            f"other runs of {self._view.reference} wrote its quarantine first, {_ATTEMPTS} times in a row; run it again"
        )

    def _failure(self, verb: str, exc: BaseException) -> StorageError:
        where = f"the quarantine of {self._view.reference} at {self.path}"
        return StorageError(f"cannot {verb} {where}: {first_line(exc)}; run it again")


def _within(first: datetime, last: datetime, column: str = INTERVAL) -> "Column":
    from pyspark.sql import functions as F

    return F.col(column).between(micros_literal(first), micros_literal(last))
