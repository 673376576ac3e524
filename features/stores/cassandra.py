"""The online store on Cassandra: one table per view version, written by Spark's executors, read key by key."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING

from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.errors import OnlineStoreError
from features.stores import cql
from features.stores.base import OnlineRow, OnlineStore, Read, Written
from features.stores.cassandra_read import bind_reads
from features.stores.cassandra_requests import execute_all
from features.stores.cassandra_session import VENDOR_ERRORS, connect, explain
from features.stores.cassandra_write import ERROR, OUTCOME, WritePlan, delete_keys, plan_write, read_keys, write_rows
from features.stores.opening import online_target

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_MIN_TOKEN = -(1 << 63)
_TOKENS = 1 << 64

Task = Callable[[WritePlan, "Iterable[pa.RecordBatch]"], "Iterator[pa.RecordBatch]"]


class CassandraStore(OnlineStore):
    """Tables in one keyspace. Connects when it is first used; after `close`, a later call connects again."""

    def __init__(self, settings: OnlineSettings) -> None:
        self._settings = settings
        # Two locks: connecting may take seconds, and the event loop looks at what is there.
        self._connecting = Lock()
        self._lock = Lock()
        self._session: Session | None = None
        self._prepared: dict[str, PreparedStatement] = {}

    @property
    def target(self) -> str:
        """Hosts, port and keyspace."""
        return online_target(self._settings)

    def create(self, view: AppliedView) -> bool:
        """Make the keyspace and the view's table where they are missing; whether the table was.

        Raises: OnlineStoreError: Cassandra cannot be reached, or a table of that name has other columns.
        """
        settings = self._settings
        session = self._connected()
        try:
            # Asked for first: a user who may not create keyspaces may use one that is there.
            known = session.execute(
                "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", (settings.keyspace,)
            )
            if not known.one():
                session.execute(
                    cql.create_keyspace(
                        settings.keyspace, datacenter=settings.datacenter, replication=settings.replication
                    )
                )
            found = self._find_columns(session, view)
            is_new = not found
            if is_new:
                session.execute(cql.create_table(settings.keyspace, view))
                found = self._find_columns(session, view)
        except VENDOR_ERRORS as exc:
            raise explain(exc, settings) from exc
        differences = _compare_columns(view, found)
        if differences:
            raise OnlineStoreError(
                f"table {settings.keyspace}.{view.online_table} is not the one of {view.reference}: "
                f"{'; '.join(differences)}; drop it, or set another online.keyspace, then load again"
            )
        return is_new

    def write(self, view: AppliedView, winners: "DataFrame", *, position: int) -> Written:
        """Put or delete each row from the executors, whole rows, at a log position. See `OnlineStore.write`."""
        plan = plan_write(view, self._settings, position=position)
        rows, deleted = self._run(plan, winners, write_rows)
        return Written(rows=rows, deleted=deleted)

    def delete_absent(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """Delete the stored keys that are not in `keys`, from the executors. Rows of later positions stay."""
        plan = plan_write(view, self._settings, position=position)
        spark = keys.sparkSession
        slices = 2 * spark.sparkContext.defaultParallelism
        bounds = [_MIN_TOKEN + _TOKENS * at // slices for at in range(slices)] + [_MIN_TOKEN + _TOKENS - 1]
        ranges = spark.createDataFrame(
            spark.sparkContext.parallelize(list(pairwise(bounds)), slices),
            "low bigint, high bigint",
        )
        schema = ", ".join(f"`{name}` {dtype.spark}" for name, dtype in plan.keys)
        stored = ranges.mapInArrow(partial(read_keys, plan), f"{schema}, {ERROR} string")
        absent = stored.join(keys, on=list(view.join_keys), how="left_anti")
        return self._run(plan, absent, delete_keys)[1]

    def read(self, requests: Sequence[Read]) -> list[list[OnlineRow | None]]:
        """See `OnlineStore.read`. A bounded number of statements is under way at once."""
        session, prepared = self._prepare(requests)
        try:
            fetch = bind_reads(requests, prepared)
            rows = execute_all(session, fetch.statements).result()
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc
        return fetch.decode(rows)

    async def read_async(self, requests: Sequence[Read]) -> list[list[OnlineRow | None]]:
        """The same, without blocking the event loop."""
        already = self._prepared_already(requests)
        session, prepared = already if already is not None else await asyncio.to_thread(self._prepare, requests)
        try:
            fetch = bind_reads(requests, prepared)
            rows = await asyncio.wrap_future(execute_all(session, fetch.statements))
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc
        return fetch.decode(rows)

    def close(self) -> None:
        """Release connections; calling it twice is fine."""
        with self._connecting, self._lock:
            session, self._session = self._session, None
            self._prepared.clear()
        if session is not None:
            session.cluster.shutdown()

    def _connected(self) -> Session:
        with self._connecting:
            with self._lock:
                if self._session is not None:
                    return self._session
            session = connect(self._settings)
            with self._lock:
                self._session = session
            return session

    def _selects(self, requests: Sequence[Read]) -> list[str]:
        return [cql.select(self._settings.keyspace, request.view, request.features) for request in requests]

    def _prepared_already(self, requests: Sequence[Read]) -> tuple[Session, list[PreparedStatement]] | None:
        """What `_prepare` answers, where that needs no round trip."""
        with self._lock:
            prepared = [self._prepared[text] for text in self._selects(requests) if text in self._prepared]
            return (self._session, prepared) if self._session and len(prepared) == len(requests) else None

    def _prepare(self, requests: Sequence[Read]) -> tuple[Session, list[PreparedStatement]]:
        """The session, and the SELECT of each request, prepared once."""
        if already := self._prepared_already(requests):
            return already
        session = self._connected()
        prepared = []
        for text in self._selects(requests):
            with self._lock:
                statement = self._prepared.get(text)
            if statement is None:
                try:
                    statement = session.prepare(text)
                except VENDOR_ERRORS as exc:
                    raise explain(exc, self._settings) from exc
                statement.is_idempotent = True
                with self._lock:
                    self._prepared[text] = statement
            prepared.append(statement)
        return session, prepared

    def _run(self, plan: WritePlan, frame: "DataFrame", task: Task) -> tuple[int, int]:
        """Run a task of executors over a frame; the acknowledged puts and deletes."""
        from pyspark.sql import functions as F

        session = self._connected()
        try:
            # A missing table fails here, at once, rather than in every task.
            session.prepare(plan.delete)
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc
        # At most two rounds of tasks: each connects by itself, and 200 nearly empty ones would do little else.
        tasks = frame.coalesce(2 * frame.sparkSession.sparkContext.defaultParallelism)
        outcome = (
            tasks.mapInArrow(partial(task, plan), OUTCOME)
            .agg(F.sum("rows"), F.sum("deleted"), F.first(ERROR, ignorenulls=True))
            .first()
        )
        # Without a single task there is no row to sum.
        rows, deleted, error = (outcome[0] or 0, outcome[1] or 0, outcome[2]) if outcome is not None else (0, 0, None)
        if error is not None:
            raise OnlineStoreError(
                f"{plan.table}: {error}; {rows} rows were written, {deleted} deleted before; rerun the load"
            )
        return rows, deleted

    def _find_columns(self, session: Session, view: AppliedView) -> dict[str, tuple[str, str]]:
        """Column to kind and type, of the view's table as it is; empty where there is none."""
        rows = session.execute(
            "SELECT column_name, kind, type FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s",
            (self._settings.keyspace, view.online_table),
        )
        return {name: (kind, cql_type) for name, kind, cql_type in rows}


def _compare_columns(view: AppliedView, found: dict[str, tuple[str, str]]) -> list[str]:
    """What differs, in words, between the columns that a view needs and those that its table has."""
    wanted = {
        name: ("partition_key" if name in view.join_keys else "regular", cql_type)
        for name, cql_type in cql.table_columns(view).items()
    }
    differences = [f"no column {name}" for name in wanted if name not in found]
    differences += [f"unknown column {name}" for name in sorted(found) if name not in wanted]
    for name in wanted.keys() & found.keys():
        if wanted[name] != found[name]:
            differences.append(f"{name} is {_describe(found[name])} instead of {_describe(wanted[name])}")
    return sorted(differences)


def _describe(column: tuple[str, str]) -> str:
    kind, cql_type = column
    return f"{cql_type} ({kind.replace('_', ' ')})" if kind != "regular" else cql_type
