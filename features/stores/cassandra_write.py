"""What the executors of a load do: Arrow batches in, acknowledged statements out."""

import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cassandra import OperationTimedOut, ReadTimeout, Unavailable, WriteTimeout
from cassandra.cluster import NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.protocol import OverloadedErrorMessage
from cassandra.query import PreparedStatement

from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.core.dtypes import DType
from features.errors import FeatureStoreError, OnlineStoreError
from features.stores import cql
from features.stores.base import DELETE, MAX_TTL_SECONDS, TTL_SECONDS
from features.stores.cassandra_requests import execute_all
from features.stores.cassandra_session import VENDOR_ERRORS, connect, explain
from features.stores.cassandra_values import arrow_key_type, bind_column, read_value

if TYPE_CHECKING:
    import pyarrow as pa

# Rows that are acknowledged, or sent again, together.
_CHUNK = 1000
_ATTEMPTS = 5
_BACKOFF_SECONDS = 0.5
_PASSING = (
    OperationTimedOut, ReadTimeout, WriteTimeout, Unavailable, OverloadedErrorMessage, NoHostAvailable,
    ConnectionException,
)  # fmt: skip

ERROR = "_error"
OUTCOME = f"rows bigint, deleted bigint, {ERROR} string"

Bound = list[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class WritePlan:
    """All that an executor needs to write one table: plain data, so that it can be sent there.

    keys, columns: name and type, in the order in which statements bind them; columns are all of a row, keys included.
    """

    settings: OnlineSettings
    table: str
    insert: str
    delete: str
    select_keys: str
    keys: tuple[tuple[str, DType], ...]
    columns: tuple[tuple[str, DType], ...]
    timestamp: int


def plan_write(view: AppliedView, settings: OnlineSettings, *, position: int) -> WritePlan:
    """The plan of a write into a view's table at a log position."""
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
    )


def write_rows(plan: WritePlan, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Put or delete each row of a task; one row of OUTCOME: what was acknowledged, and the error that ended it, if any.

    An error is an answer, not an exception: Spark would run the task again, then wrap it into two stack traces.
    """
    return _send(plan, (_bind_rows(plan, batch) for batch in batches))


def delete_keys(plan: WritePlan, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Delete each key of a task, of frames that `read_keys` made; one row of OUTCOME."""
    return _send(plan, (([], _bind_keys(plan, _checked(batch))) for batch in batches))


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
    """The key columns of each page of a token range."""
    readers = [read_value(dtype) for _, dtype in plan.keys]
    try:
        result = session.execute(session.prepare(plan.select_keys), (low, high))
        while True:
            rows = [row for row in result.current_rows if row[-1] <= plan.timestamp]
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


def _bind_rows(plan: WritePlan, batch: "pa.RecordBatch") -> tuple[Bound, Bound]:
    """The bound values of the rows to put, and of those to delete: rows past their TTL among them."""
    import pyarrow.compute as pc

    past = pc.fill_null(pc.less_equal(batch[TTL_SECONDS], 0), False)
    gone = pc.or_(batch[DELETE], past)
    puts = batch.filter(pc.invert(gone))
    # In CQL a TTL of 0 is none.
    ttl = [0 if t is None or t > MAX_TTL_SECONDS else t for t in puts[TTL_SECONDS].to_pylist()]
    columns = [bind_column(puts[name], dtype) for name, dtype in plan.columns]
    rows = list(zip(*columns, [plan.timestamp] * len(ttl), ttl, strict=True))
    return rows, _bind_keys(plan, batch.filter(gone))


def _bind_keys(plan: WritePlan, batch: "pa.RecordBatch") -> Bound:
    columns = [bind_column(batch[name], dtype) for name, dtype in plan.keys]
    return list(zip([plan.timestamp] * batch.num_rows, *columns, strict=True))


def _send(plan: WritePlan, work: Iterable[tuple[Bound, Bound]]) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    session: Session | None = None
    rows = deleted = 0
    error: str | None = None
    try:
        for puts, deletes in work:
            # Most tasks of a small load are empty: they need no connection.
            if puts or deletes:
                session = session or connect(plan.settings)
                rows += _execute(session, plan, plan.insert, puts)
                deleted += _execute(session, plan, plan.delete, deletes)
    except FeatureStoreError as exc:
        error = str(exc)
    finally:
        if session is not None:
            session.cluster.shutdown()
    yield pa.record_batch(
        [pa.array([rows], pa.int64()), pa.array([deleted], pa.int64()), pa.array([error], pa.string())],
        names=["rows", "deleted", ERROR],
    )


def _execute(session: Session, plan: WritePlan, statement: str, parameters: Bound) -> int:
    """Execute the statement with each row of parameters, until all are acknowledged; how many."""
    if parameters:
        try:
            prepared = session.prepare(statement)
        except VENDOR_ERRORS as exc:
            raise explain(exc, plan.settings) from exc
        # The same write timestamp makes repeating harmless, so the driver may try another host.
        prepared.is_idempotent = True
        for start in range(0, len(parameters), _CHUNK):
            _execute_chunk(session, plan, prepared, parameters[start : start + _CHUNK])
    return len(parameters)


def _execute_chunk(session: Session, plan: WritePlan, prepared: PreparedStatement, chunk: Sequence[Any]) -> None:
    try:
        statements = [prepared.bind(parameters) for parameters in chunk]
    except (TypeError, ValueError, OverflowError, struct.error) as exc:
        raise OnlineStoreError(f"a row does not fit {plan.table}: {exc}; rerun the load after correcting it") from exc
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            execute_all(session, statements).result()
            return
        except _PASSING as exc:
            if attempt == _ATTEMPTS:
                raise explain(exc, plan.settings) from exc
            time.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
        except VENDOR_ERRORS as exc:
            raise explain(exc, plan.settings) from exc
