"""Loads of a Cassandra table, as the driver of a Spark job runs them: by which path, and with what outcome."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from cassandra.cluster import Session

from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.errors import OnlineStoreError
from features.stores import cql
from features.stores.base import LoadSize, Task, WinnerRows, WritePath, Written
from features.stores.cassandra_session import VENDOR_ERRORS, ask, explain
from features.stores.cassandra_write import ERROR, OUTCOME, WritePlan, delete_keys, plan_write, read_keys, write_rows
from features.stores.sstables.child import Table
from features.stores.sstables.routes import BulkTools, Decision, decide
from features.stores.sstables.task import SSTablePlan, prepare_writer, write_sstables
from features.stores.winner_rows import EVIDENCE, Witness, as_rows, gather_evidence, moment_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_MIN_TOKEN = -(1 << 63)
_TOKENS = 1 << 64
# Of a load whose size nobody told.
_UNKNOWN = LoadSize(rows=0, bytes=0)


class CassandraLoads:
    """Writes into one keyspace from Spark's executors, or of little from its driver.

    connect: the session of the store. tools: for SSTables; None: loads are CQL alone.
    """

    def __init__(self, settings: OnlineSettings, connect: Callable[[], Session], tools: BulkTools | None) -> None:
        self._settings = settings
        self._connect = connect
        self._tools = tools

    def exists(self, view: AppliedView) -> bool:
        """See `OnlineStore.exists`."""
        try:
            return table_id(self._connect(), self._settings.keyspace, view.online_table) is not None
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc

    def choose(self, view: AppliedView, size: LoadSize, *, wanted: str | None) -> WritePath:
        """See `OnlineStore.choose_path`."""
        return self._decide(size, wanted).path

    def write(
        self, view: AppliedView, winners: "DataFrame | WinnerRows", *, position: int, path: str | None
    ) -> Written:
        """See `OnlineStore.write`."""
        rows = as_rows(winners)
        plan = plan_write(view, self._settings, position=position, now=moment_of(rows))
        self._require_table(plan)
        if path is None or path == "cql":
            return self._run(plan, rows, partial(write_rows, plan))
        decision = self._decide(_UNKNOWN, path)
        try:
            bulk = self._plan_sstables(view, plan, decision)
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc
        return self._run(plan, rows, partial(write_sstables, bulk))

    def delete_absent(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """See `OnlineStore.delete_absent`. Rows of later positions stay."""
        plan = plan_write(view, self._settings, position=position)
        self._require_table(plan)
        absent = self._stored(plan, keys.sparkSession).join(keys, on=list(view.join_keys), how="left_anti")
        return self._run(plan, as_rows(absent), partial(delete_keys, plan)).deleted

    def delete_matching(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """See `OnlineStore.delete_matching`. Where some columns are not given, all stored keys are read."""
        from pyspark.sql import functions as F

        plan = plan_write(view, self._settings, position=position)
        self._require_table(plan)
        columns = [F.col(f"`{name}`") for name, _ in plan.keys]
        if set(keys.columns) == set(view.join_keys):
            doomed = keys.select(*columns, F.lit(None).cast("string").alias(ERROR))
        else:
            marked = F.broadcast(keys.withColumn("_matches", F.lit(True)))
            joined = self._stored(plan, keys.sparkSession).join(marked, on=list(keys.columns), how="left")
            # What could not be read stands in rows without keys.
            doomed = joined.where(F.col("_matches") | F.col(ERROR).isNotNull()).select(*columns, ERROR)
        return self._run(plan, as_rows(doomed), partial(delete_keys, plan)).deleted

    def _stored(self, plan: WritePlan, spark: "SparkSession") -> "DataFrame":
        """All keys of rows that no later position than the plan's wrote, and `_error`; see `read_keys`."""
        slices = 2 * spark.sparkContext.defaultParallelism
        bounds = [_MIN_TOKEN + _TOKENS * at // slices for at in range(slices)] + [_MIN_TOKEN + _TOKENS - 1]
        ranges = spark.createDataFrame(
            spark.sparkContext.parallelize(list(pairwise(bounds)), slices), "low bigint, high bigint"
        )
        schema = ", ".join(f"`{name}` {dtype.spark}" for name, dtype in plan.keys)
        return ranges.mapInArrow(partial(read_keys, plan), f"{schema}, {ERROR} string")

    def _decide(self, size: LoadSize, wanted: str | None) -> Decision:
        try:
            return decide(self._settings, size, self._tools, self._connect(), wanted=wanted)
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc

    def _plan_sstables(self, view: AppliedView, plan: WritePlan, decision: Decision) -> SSTablePlan:
        if decision.route is None or self._tools is None:
            raise OnlineStoreError(f"{plan.table}: no way for SSTables: {decision.path.reason}")
        keys = dict(plan.keys)
        others = tuple((name, dtype) for name, dtype in plan.columns if name not in keys)
        known_as = table_id(self._connect(), self._settings.keyspace, view.online_table)
        if known_as is None:
            raise OnlineStoreError(f"{plan.table} was dropped just now; load again")
        # Made here, once, rather than by all tasks of this machine at a time.
        prepare_writer(self._tools.find_java, heap_mb=self._settings.load.heap_mb)
        return SSTablePlan(
            table=Table(
                keyspace=self._settings.keyspace,
                name=view.online_table,
                create=cql.create_table(self._settings.keyspace, view),
                id=known_as,
                columns=tuple(name for name, _ in others),
                timestamp=plan.timestamp,
            ),
            keys=plan.keys,
            columns=others,
            route=decision.route,
            find_java=self._tools.find_java,
            settings=self._settings.load,
            now=plan.now,
        )

    def _require_table(self, plan: WritePlan) -> None:
        """A missing table fails here, at once, rather than in every task."""
        try:
            self._connect().prepare(plan.delete)
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc

    def _run(self, plan: WritePlan, rows: WinnerRows, task: Task) -> Written:
        """Run a task over rows; what was acknowledged of all of them. Raises: OnlineStoreError."""
        outcomes = rows.run(Witness(task), f"{OUTCOME}, {EVIDENCE}")
        written = sum(outcome["rows"] for outcome in outcomes)
        deleted = sum(outcome["deleted"] for outcome in outcomes)
        for outcome in outcomes:
            if outcome[ERROR] is not None:
                raise OnlineStoreError(
                    f"{plan.table}: {outcome[ERROR]}; {written} rows were written, {deleted} deleted before; "
                    "rerun the load"
                )
        evidence = gather_evidence([o["_given"] for o in outcomes], [o["_sample"] for o in outcomes])
        return Written(rows=written, deleted=deleted, evidence=evidence)


def table_id(session: Session, keyspace: str, table: str) -> str | None:
    """What the cluster knows a table by: another one of the same name has another. None: there is no such table."""
    query = "SELECT id FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s"
    found = ask(session, query, (keyspace, table)).one()
    return None if found is None else str(found[0])
