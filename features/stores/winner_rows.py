"""Rows on their way into a store: where they are computed, and what a task keeps of them as evidence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.stores.base import DELETE, TTL_SECONDS, Evidence, Task, WinnerRows

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# Rows that each task, and then each load, keeps to be read back.
SAMPLE = 100
# What `Witness` adds to what a task yields.
EVIDENCE = "_given bigint, _sample binary"


@dataclass(frozen=True)
class FrameRows:
    """Rows that Spark computes. tasks: at most so many; None: as many as the frame has partitions."""

    frame: "DataFrame"
    tasks: int | None = None

    def to_frame(self) -> "DataFrame":
        """The rows, in any order."""
        return self.frame

    def to_tasks(self, then: Task, schema: str) -> "DataFrame":
        """See `WinnerRows.to_tasks`."""
        names = tuple(self.frame.columns)
        # Spark's mapInArrow takes a dot in a name for a path into a struct.
        plain = self.frame.toDF(*(f"_{place}" for place in range(len(names))))
        return (plain if self.tasks is None else plain.coalesce(self.tasks)).mapInArrow(_Renamed(names, then), schema)


@dataclass(frozen=True, slots=True)
class _Renamed:
    names: tuple[str, ...]
    then: Task

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        return self.then(batch.rename_columns(list(self.names)) for batch in batches)


def as_rows(rows: "DataFrame | WinnerRows") -> WinnerRows:
    """A frame as rows that Spark computes; rows as they are."""
    from pyspark.sql import DataFrame

    if not isinstance(rows, DataFrame):
        return rows
    # Each task connects, or starts a process, by itself, and 200 nearly empty ones would do little else.
    return FrameRows(rows, tasks=2 * rows.sparkSession.sparkContext.defaultParallelism)


@dataclass(frozen=True, slots=True)
class Witness:
    """A task that counts what it is given and keeps a few rows of it, beside the one row that it yields."""

    task: Task

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """What the task yields, with the columns of EVIDENCE."""
        import pyarrow as pa

        seen = _Seen()
        for outcome in self.task(seen.watch(batches)):
            yield outcome.append_column("_given", pa.array([seen.rows])).append_column(
                "_sample", pa.array([seen.packed()], pa.binary())
            )


class _Seen:
    """Rows are thinned as they pass: of a task of many batches, those of the later ones count as much."""

    def __init__(self) -> None:
        import numpy as np

        self.rows = 0
        self._kept: list[pa.RecordBatch] = []
        self._random = np.random.default_rng()

    def watch(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """The same batches."""
        import numpy as np
        import pyarrow as pa

        for batch in batches:
            if batch.num_rows:
                self.rows += batch.num_rows
                # As many as the batch's share of all rows so far: the sample stays about even.
                share = min(batch.num_rows, max(1, SAMPLE * batch.num_rows // self.rows))
                chosen = np.sort(self._random.choice(batch.num_rows, share, replace=False))
                self._kept.append(batch.take(pa.array(chosen)))
            yield batch

    def packed(self) -> bytes | None:
        """The sample as an Arrow stream; None without rows."""
        import pyarrow as pa

        if not self._kept:
            return None
        table = pa.Table.from_batches(self._kept)
        chosen = self._random.choice(table.num_rows, min(SAMPLE, table.num_rows), replace=False)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table.take(pa.array(chosen)))
        return bytes(sink.getvalue())


def gone_rows(rows: "pa.RecordBatch | pa.Table") -> Any:
    """Whether each row's key is to be deleted, as Arrow flags without nulls: it is asked for, or the row has ended."""
    import pyarrow.compute as pc

    return pc.or_(rows[DELETE], pc.fill_null(pc.less_equal(rows[TTL_SECONDS], 0), False))


def gather_evidence(given: list[int], samples: list[bytes | None]) -> Evidence | None:
    """The evidence of all tasks: of their samples, a few rows of each. None: no task has yielded any."""
    import pyarrow as pa

    tables = [pa.ipc.open_stream(sample).read_all() for sample in samples if sample is not None]
    if not tables:
        return None
    each = max(1, SAMPLE // len(tables))
    return Evidence(rows=sum(given), sample=pa.concat_tables([table.slice(0, each) for table in tables]))
