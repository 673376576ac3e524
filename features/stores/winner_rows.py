"""Rows on their way into a store: where they are computed, and what a task keeps of them as evidence."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from features.stores.base import DELETE, TTL_SECONDS, Evidence, Task, WinnerRows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from pyspark.sql import DataFrame

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Ints = np.ndarray[Any, np.dtype[np.int64]]

# Rows that each task, and then each load, keeps to be read back.
SAMPLE = 100
# What `Witness` adds to what a task yields.
EVIDENCE = "_given bigint, _sample binary"


@dataclass(frozen=True)
class FrameRows:
    """Rows that Spark computes.

    tasks: at most so many; None: as many as the frame has partitions. now: see `WinnerRows.now`.
    """

    frame: "DataFrame"
    tasks: int | None = None
    now: datetime = field(default_factory=partial(datetime.now, UTC))

    def to_frame(self) -> "DataFrame":
        """The rows, in any order."""
        return self.frame

    def run(self, then: Task, schema: str) -> list[Mapping[str, Any]]:
        """See `WinnerRows.run`."""
        names = tuple(self.frame.columns)
        # Spark's mapInArrow takes a dot in a name for a path into a struct.
        plain = self.frame.toDF(*(f"_{place}" for place in range(len(names))))
        merged = plain if self.tasks is None else plain.coalesce(self.tasks)
        return [row.asDict() for row in merged.mapInArrow(_Renamed(names, then), schema).collect()]


@dataclass(frozen=True, slots=True)
class _Renamed:
    names: tuple[str, ...]
    then: Task

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        return self.then(batch.rename_columns(list(self.names)) for batch in batches)


def as_rows(rows: "DataFrame | WinnerRows", *, now: datetime | None = None) -> WinnerRows:
    """A frame as rows that Spark computes; rows as they are. now: see `WinnerRows.now`; None: this moment."""
    from pyspark.sql import DataFrame

    if not isinstance(rows, DataFrame):
        return rows
    # Each task connects, or starts a process, by itself, and 200 nearly empty ones would do little else.
    tasks = 2 * rows.sparkSession.sparkContext.defaultParallelism
    return FrameRows(rows, tasks=tasks, now=now or datetime.now(UTC))


def moment_of(rows: WinnerRows) -> int:
    """When `_ttl_seconds` of rows are counted from, in seconds since 1970."""
    return int(rows.now.timestamp())


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
    """Keeps a sample of rows as they pass, each row as likely as any other.

    Each draws a number, and the rows of the SAMPLE smallest numbers stay.
    """

    def __init__(self, seed: int | None = None) -> None:
        import numpy as np

        self.rows = 0
        self._kept: list[pa.RecordBatch] = []
        self._numbers = np.empty(0)
        # Greater numbers are not among the smallest ones any more.
        self._bound = 1.0
        self._random = np.random.default_rng(seed)

    def watch(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """The same batches."""
        for batch in batches:
            self.rows += batch.num_rows
            self._draw(batch)
            yield batch

    def packed(self) -> bytes | None:
        """The sample as an Arrow stream, in random order; None without rows."""
        import pyarrow as pa

        if not self._kept:
            return None
        self._thin()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._kept[0].schema) as stream:
            for batch in self._kept:
                stream.write_batch(batch)
        return bytes(sink.getvalue())

    def _draw(self, batch: "pa.RecordBatch") -> None:
        import numpy as np
        import pyarrow as pa

        numbers = self._random.random(batch.num_rows)
        chosen = _smallest(numbers)
        chosen = chosen[numbers[chosen] < self._bound]
        if not len(chosen):
            return
        self._kept.append(batch.take(pa.array(chosen)))
        self._numbers = np.append(self._numbers, numbers[chosen])
        # Not for each batch: rows are copied.
        if len(self._numbers) > 2 * SAMPLE:
            self._thin()

    def _thin(self) -> None:
        import pyarrow as pa

        chosen = _smallest(self._numbers)
        table = pa.Table.from_batches(self._kept).take(pa.array(chosen))
        self._kept = table.combine_chunks().to_batches()
        self._numbers = self._numbers[chosen]
        if len(chosen) == SAMPLE:
            self._bound = float(self._numbers[-1])


def _smallest(numbers: "Floats") -> "Ints":
    """The places of the SAMPLE smallest numbers, ascending by number."""
    import numpy as np

    places = np.argpartition(numbers, SAMPLE)[:SAMPLE] if len(numbers) > SAMPLE else np.arange(len(numbers))
    found: Ints = places[np.argsort(numbers[places])]
    return found


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
