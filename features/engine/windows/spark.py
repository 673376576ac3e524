"""Windows through Spark: rows are brought together by key, sorted and aggregated by the kernel inside the tasks."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from features.engine.windows.buckets import BUCKET, PACKED, pack, unpack
from features.engine.windows.chunks import window_batches
from features.engine.windows.files import EventFiles
from features.engine.windows.plan import TIMES, WindowPlan
from features.engine.windows.reading import read_packed
from features.errors import TransformError
from features.stores.log_state import AVAILABLE, CREATED, EVENT
from features.stores.spark_errors import first_line

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType

Sink = Callable[[Iterator["pa.RecordBatch"]], Iterator["pa.RecordBatch"]]
# More tasks than cores, so that a slow one is not waited for by all.
_READERS_PER_CORE = 2
# Rows in a batch that goes back to the JVM.
_RETURNED_ROWS = 65_536


def compute_windows(
    rows: "DataFrame",
    plan: WindowPlan,
    *,
    then: Sink | None = None,
    schema: "str | StructType | None" = None,
    tasks: int | None = None,
) -> "DataFrame":
    """The features of a plan over these rows; the same bits whatever the order and the partitions of the rows.

    At events there is a row for each (key, event, available) since `plan.since`, or where rows pass on something of
    their own, one for each row. At ticks there is a row for each key and tick at which the key's longest window holds
    rows, and one for the first tick at which it no longer does. Rows with a null event or available time come out as
    they are, with null features, for checks to find.

    Args:
        rows: the keys, event_timestamp, available_timestamp, optionally created_timestamp (passed on at events), what
            the plan passes on, and every column that its aggregations and filters name. Those since `plan.since`, and
            the longest window before the earliest event among them, or before the first tick.
        then: is handed the output inside the tasks, in Arrow batches, in place of Spark; with `schema`, what it yields.
        tasks: how many; None: as many as the session shuffles into.

    Returns: keys, event_timestamp, available_timestamp (of a tick's row the microsecond before the tick, so that it
        lies in the interval that the tick ends), created_timestamp (null where the rows have none), the features.

    Raises: TransformError: a condition is none of one row, such as `sum(amount) > 1`.
    """
    count = tasks or _shuffle_partitions(rows.sparkSession)
    packed = _selected(rows, plan, count).mapInArrow(partial(pack, buckets=count), PACKED)
    return _run_tasks(packed, plan, count, then, schema)


def compute_windows_of_files(
    spark: "SparkSession",
    files: EventFiles,
    plan: WindowPlan,
    *,
    then: Sink | None = None,
    schema: "str | StructType | None" = None,
    tasks: int | None = None,
) -> "DataFrame":
    """The same of rows that tasks read from Parquet files by themselves; see `compute_windows`.

    What the plan passes on, aggregates and keys rows by are columns of the files. Rows have no created_timestamp.
    """
    count = tasks or _shuffle_partitions(spark)
    readers = max(1, min(len(files.groups), spark.sparkContext.defaultParallelism * _READERS_PER_CORE))
    read = partial(read_packed, files=files, plan=plan, buckets=count, tasks=readers)
    packed = spark.range(0, readers, 1, readers).mapInArrow(read, PACKED)
    return _run_tasks(packed, plan, count, then, schema)


def _run_tasks(
    packed: "DataFrame", plan: WindowPlan, count: int, then: Sink | None, schema: "str | StructType | None"
) -> "DataFrame":
    moved = packed.repartitionById(count, BUCKET)
    return moved.mapInArrow(partial(_run_task, plan=plan, then=then), schema if schema is not None else plan.ddl)


def _selected(rows: "DataFrame", plan: WindowPlan, buckets: int) -> "DataFrame":
    from pyspark.errors import AnalysisException

    try:
        return rows.select(*_columns(rows, plan, buckets))
    except AnalysisException as exc:
        # A condition may stand by itself, and not beside other columns: sum(x) > 1, or explode(x).
        told = " or ".join(f"where={where!r}" for where in plan.filters.values())
        raise TransformError(
            f"{told or 'what is aggregated'} cannot be judged row by row: {first_line(exc)}; write a condition of the "
            "columns of one row"
        ) from exc


def _shuffle_partitions(spark: "SparkSession") -> int:
    return int(spark.conf.get("spark.sql.shuffle.partitions") or 1)


def _columns(rows: "DataFrame", plan: WindowPlan, buckets: int) -> "list[Column]":
    """What travels to the tasks: times as whole numbers, so that no session's time zone touches them."""
    from pyspark.sql import functions as F

    keys = [F.col(_quoted(key)) for key in plan.keys]
    event, available = (F.unix_micros(F.col(c)).alias(t) for c, t in zip((EVENT, AVAILABLE), TIMES, strict=True))
    created = [F.col(CREATED)] if CREATED in rows.columns and not plan.ticks else []
    return [
        F.pmod(F.xxhash64(*keys), F.lit(buckets)).cast("int").alias(BUCKET),
        *keys,
        event,
        available,
        *created,
        *(F.col(_quoted(name)) for name in plan.own),
        *(F.col(_quoted(name)).cast(dtype.spark).alias(alias) for alias, (name, dtype) in plan.columns.items()),
        *(F.coalesce(F.expr(where).cast("boolean"), F.lit(False)).alias(a) for a, where in plan.filters.items()),
    ]


def _run_task(
    batches: "Iterator[pa.RecordBatch]", *, plan: WindowPlan, then: Sink | None
) -> "Iterator[pa.RecordBatch]":
    table = unpack(batches)
    computed = iter(()) if table is None else window_batches(table, plan)
    yield from _in_pieces(computed) if then is None else then(computed)


def _in_pieces(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    for batch in batches:
        for start in range(0, batch.num_rows, _RETURNED_ROWS):
            yield batch.slice(start, _RETURNED_ROWS)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
