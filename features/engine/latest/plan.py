"""Plans how the latest rows of a log are found: by tasks that read its files, or by Spark where they cannot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.times import duration_micros, to_micros
from features.engine.as_of.parquet_files import ParquetFiles
from features.engine.latest.key_ranges import cut_ranges
from features.engine.latest.task import Expiry, LatestTask
from features.engine.winners import winners
from features.errors import FeatureStoreError, StorageError
from features.stores.base import DELETE, MAX_TTL_SECONDS, TTL_SECONDS, LoadSize, Task, WinnerRows
from features.stores.delta import FeatureLog
from features.stores.log_files import LogFile
from features.stores.log_state import CREATED, EVENT, SEQ, Snapshot
from features.stores.winner_rows import as_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

# Of a row in a file without statistics. Rather too few: too many ranges of keys cost less than too large ones.
_ROW_BYTES = 8
# What this process has read and written before workers for it would have started: so many rows, in so many bytes of
# files, in a log of which no more than that has to be looked at besides.
_FEW_ROWS, _FEW_BYTES, _LOG_BYTES = 10_000, 4 << 20, 64 << 20


@dataclass(frozen=True, kw_only=True)
class Latest:
    """The latest rows of the keys that a load concerns, not computed yet.

    Attributes:
        rows: join keys, event_timestamp, created_timestamp, features, `_delete` and `_ttl_seconds`, one row per key.
        keys: join keys and `_delete` of the same rows.
        size: how much that can be at most, by the statistics of the log's files.
        files: how many of them are read.
        engine: "native": tasks read them by themselves; "spark", and why.
    """

    rows: WinnerRows
    keys: "DataFrame"
    size: LoadSize
    files: int
    engine: str


def plan_latest(
    spark: "SparkSession", log: FeatureLog, snapshot: Snapshot, view: AppliedView, *, after: int, now: datetime
) -> Latest:
    """The latest rows at a snapshot's position.

    Args:
        after: only keys with rows behind this position count; 0: all keys.
        now: when the time that rows still have is counted from.

    Raises: StorageError: the log cannot be read.
    """
    listed = log.files(snapshot)
    files = tuple(file for file in listed.files if file.may_hold(SEQ, high=snapshot.position))
    size = _size(files, after)
    if listed.obstacle is not None:
        frame = _frame(log, snapshot, view, after=after, now=now)
        keys = frame.select(*(f"`{key}`" for key in view.join_keys), DELETE)
        engine = f"spark, because {listed.obstacle}"
        return Latest(rows=as_rows(frame, now=now), keys=keys, size=size, files=len(files), engine=engine)
    try:
        ranges = cut_ranges(
            ParquetFiles(files),
            view.join_keys,
            cores=spark.sparkContext.defaultParallelism,
            rows=sum(map(_rows_of, files)),
        )
    except OSError as exc:
        raise StorageError(f"the log of {view.reference} cannot be read: {exc}; load again") from exc
    task = LatestTask(
        reference=view.reference,
        files=files,
        keys=tuple(view.join_keys),
        features=tuple(f.name for f in view.features),
        ranges=ranges,
        position=snapshot.position,
        after=after,
        expiry=None
        if view.retention is None
        else Expiry(retention=duration_micros(view.retention), now=to_micros(now)),
    )
    types = {key: dtype.spark for key, dtype in view.join_keys.items()}
    are_few = size.rows <= _FEW_ROWS and size.bytes <= _FEW_BYTES and sum(file.size for file in files) <= _LOG_BYTES
    keys = _NativeRows(spark, replace(task, only_keys=True), types | {DELETE: "boolean"}, now, are_few).to_frame()
    types |= {EVENT: "timestamp", CREATED: "timestamp", **{f.name: f.dtype.spark for f in view.features}}
    rows = _NativeRows(spark, task, types | {DELETE: "boolean", TTL_SECONDS: "int"}, now, are_few)
    return Latest(rows=rows, keys=keys, size=size, files=len(files), engine="native")


@dataclass(frozen=True)
class _NativeRows:
    """are_few: this process finds them by itself."""

    spark: "SparkSession"
    task: LatestTask
    types: dict[str, str]
    now: datetime
    are_few: bool

    def to_frame(self) -> "DataFrame":
        """See `WinnerRows.to_frame`."""
        return self._numbers().mapInArrow(self.task, ", ".join(f"`{name}` {kind}" for name, kind in self.types.items()))

    def run(self, then: Task, schema: str) -> list[Mapping[str, Any]]:
        """See `WinnerRows.run`."""
        chain = _Chain(self.task, then)
        if not self.are_few:
            return [row.asDict() for row in self._numbers().mapInArrow(chain, schema).collect()]
        import pyarrow as pa

        numbers = pa.record_batch({"id": pa.array(range(len(self.task.ranges)))})
        try:
            return [row for batch in chain(iter([numbers])) for row in batch.to_pylist()]
        except FeatureStoreError:
            raise
        except Exception as exc:  # boundary: as Spark does with whatever a task raises
            told = f"{type(exc).__name__}: {exc}"
            raise StorageError(f"loading {self.task.reference} failed: {told}; run it again") from exc

    def _numbers(self) -> "DataFrame":
        """The number of each range, in a task of its own."""
        count = len(self.task.ranges)
        return self.spark.range(0, count, 1, count)


@dataclass(frozen=True, slots=True)
class _Chain:
    task: LatestTask
    then: Task

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        return self.then(self.task(batches))


def _size(files: Sequence[LogFile], after: int) -> LoadSize:
    """Of an incremental load no more keys can be touched than its new files have rows.

    Without rows there is nothing to load: a file that may hold some counts as one row at least.
    """
    new = [file for file in files if file.may_hold(SEQ, low=after + 1)] if after else list(files)
    return LoadSize(rows=sum(map(_rows_of, new)), bytes=sum(file.size for file in new))


def _rows_of(file: LogFile) -> int:
    """How many rows a file holds, or, where nobody counted them, what it may hold by its bytes."""
    return file.rows if file.rows is not None else max(1, file.size // _ROW_BYTES)


def _frame(log: FeatureLog, snapshot: Snapshot, view: AppliedView, *, after: int, now: datetime) -> "DataFrame":
    """The same rows by Spark."""
    from pyspark.sql import functions as F

    keys = list(view.join_keys)
    frame = log.read(snapshot, position=snapshot.position)
    if after:
        touched = frame.where(F.col(SEQ) > after).select(*(F.col(f"`{key}`") for key in keys)).distinct()
        frame = frame.join(touched, keys, "left_semi")
    best = winners(frame, view)
    ttl, expired = F.lit(None).cast("int"), F.lit(False)
    if view.retention is not None:
        end = F.unix_micros(EVENT) + (duration_micros(view.retention) - to_micros(now))
        left = F.floor(end / 1_000_000)
        ttl = F.when(left <= MAX_TTL_SECONDS, left.cast("int"))
        expired = F.coalesce(left <= 0, F.lit(False))
    return best.select(
        *(F.col(f"`{key}`") for key in keys),
        EVENT,
        CREATED,
        *(F.col(f"`{f.name}`") for f in view.features),
        (~F.col("_found") | expired).alias(DELETE),
        ttl.alias(TTL_SECONDS),
    )
