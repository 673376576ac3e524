"""What the tasks of a load do: Arrow batches in, acknowledged statements out."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cassandra.cluster import Session

from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.core.dtypes import DType
from features.errors import FeatureStoreError, OnlineStoreError
from features.stores import cql
from features.stores.cassandra_session import VENDOR_ERRORS, connect, explain
from features.stores.cassandra_values import arrow_key_type, read_value

if TYPE_CHECKING:
    import pyarrow as pa

    from features.stores.cassandra_writer import Writer

logger = logging.getLogger(__name__)

ERROR = "_error"
OUTCOME = f"rows bigint, deleted bigint, {ERROR} string"


@dataclass(frozen=True, kw_only=True, slots=True)
class WritePlan:
    """All that an executor needs to write one table: plain data, so that it can be sent there.

    keys, columns: name and type, in the order in which statements bind them; columns are all of a row, keys included.
    now: when `_ttl_seconds` are counted from, in seconds since 1970; None: from the write of each batch.
    """

    settings: OnlineSettings
    table: str
    insert: str
    delete: str
    select_keys: str
    keys: tuple[tuple[str, DType], ...]
    columns: tuple[tuple[str, DType], ...]
    timestamp: int
    now: int | None = None


def plan_write(view: AppliedView, settings: OnlineSettings, *, position: int, now: int | None = None) -> WritePlan:
    """The plan of a write into a view's table at a log position. now: see `WritePlan`."""
    types = dict(view.join_keys) | {cql.EVENT: DType.TIMESTAMP, cql.CREATED: DType.TIMESTAMP}
    types |= {feature.name: feature.dtype for feature in view.features}
    return WritePlan(
        settings=settings,
        table=f"{settings.keyspace}.{view.online_table}",
        insert=cql.insert(settings.keyspace, view),
        delete=cql.delete(settings.keyspace, view),
        select_keys=cql.select_keys(settings.keyspace, view),
        keys=tuple(view.join_keys.items()),
        columns=tuple((name, types[name]) for name in cql.table_columns(view)),
        timestamp=cql.write_timestamp(position),
        now=now,
    )


def write_rows(plan: WritePlan, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Put or delete each row of a task; one row of OUTCOME: what was acknowledged, and the error that ended it, if any.

    An error is an answer, not an exception: Spark would run the task again, then wrap it into two stack traces.
    """
    return _send(plan, batches, lambda writer, batch: writer.write(batch))


def delete_keys(plan: WritePlan, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Delete each key of a task, of frames that `read_keys` made; one row of OUTCOME."""
    return _send(plan, map(_checked, batches), lambda writer, batch: writer.delete(batch))


def read_keys(plan: WritePlan, ranges: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """The stored keys of token ranges (low, high], save those of rows that a later position than the plan's wrote.

    Beside the keys stands `_error`: null, or, in a row without keys, why the rest of a range could not be read.
    """
    import pyarrow as pa

    schema = pa.schema([(name, arrow_key_type(dtype)) for name, dtype in plan.keys] + [(ERROR, pa.string())])
    session: Session | None = None
    try:
        for batch in ranges:
            for low, high in zip(batch["low"].to_pylist(), batch["high"].to_pylist(), strict=True):
                session = session or connect(plan.settings)
                for page in _scan(session, plan, low, high):
                    columns = [pa.array(values, field.type) for values, field in zip(page, schema, strict=False)]
                    yield pa.record_batch([*columns, pa.nulls(len(page[0]), pa.string())], schema=schema)
    except FeatureStoreError as exc:
        nulls = [pa.nulls(1, field.type) for field in schema][:-1]
        yield pa.record_batch([*nulls, pa.array([str(exc)])], schema=schema)
    finally:
        if session is not None:
            session.cluster.shutdown()


def _scan(session: Session, plan: WritePlan, low: int, high: int) -> Iterator[list[list[Any]]]:
    """The key columns of each page of a token range.

    A row that someone wrote without an event time has no write time to judge by: the wall clock beside its values would
    win over a deletion anyway, so it is left out, and told.
    """
    readers = [read_value(dtype) for _, dtype in plan.keys]
    try:
        result = session.execute(session.prepare(plan.select_keys), (low, high))
        while True:
            page = result.current_rows
            rows = [row for row in page if row[-1] is not None and row[-1] <= plan.timestamp]
            foreign = sum(row[-1] is None for row in page)
            if foreign:
                logger.warning("rows without an event time stay", extra={"table": plan.table, "rows": foreign})
            yield [[read(row[at]) for row in rows] for at, read in enumerate(readers)]
            if not result.has_more_pages:
                return
            result.fetch_next_page()
    except VENDOR_ERRORS as exc:
        raise explain(exc, plan.settings) from exc


def _checked(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    for error in batch[ERROR].drop_null().to_pylist():
        raise OnlineStoreError(error)
    return batch


def _send(
    plan: WritePlan, batches: "Iterable[pa.RecordBatch]", write: "Callable[[Writer, pa.RecordBatch], None]"
) -> "Iterator[pa.RecordBatch]":
    # Not above: who only reads needs neither Arrow nor NumPy.
    import pyarrow as pa

    from features.stores.cassandra_writer import Writer

    writer: Writer | None = None
    error: str | None = None
    try:
        for batch in batches:
            # Most tasks of a small load are empty: they need no connection.
            if batch.num_rows:
                writer = writer or Writer(plan)
                write(writer, batch)
        if writer is not None:
            writer.finish()
    except FeatureStoreError as exc:
        error = str(exc)
    finally:
        if writer is not None:
            writer.close()
    counts = writer.acknowledged if writer is not None else {}
    yield pa.record_batch(
        [
            pa.array([counts.get("put", 0)], pa.int64()),
            pa.array([counts.get("delete", 0)], pa.int64()),
            pa.array([error], pa.string()),
        ],
        names=["rows", "deleted", ERROR],
    )
