"""What an executor does of a load as SSTables: Arrow batches in, files in Cassandra's hands out."""

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pyarrow as pa

from features.config import LoadSettings
from features.core.dtypes import DType
from features.errors import FeatureStoreError, OnlineStoreError
from features.stores.cql import CREATED, EVENT
from features.stores.sstables.child import Table, WriterChild
from features.stores.sstables.java_tools import FindJava, writer_command
from features.stores.sstables.routes import ImportRoute, Route
from features.stores.sstables.runs import cut_runs, encode_run
from features.stores.sstables.staging import staged

logger = logging.getLogger(__name__)

_MEBIBYTE = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class SSTablePlan:
    """All that an executor needs: plain data, so that it can be sent there.

    Attributes:
        table: what is written.
        keys, columns: name and type of the join keys, and of the other columns.
        route: the way into Cassandra.
        find_java: see `FindJava`.
        settings: sizes and folders.
        now: when `_ttl_seconds` are counted from, in seconds since 1970; None: from when a run is encoded.
    """

    table: Table
    keys: tuple[tuple[str, DType], ...]
    columns: tuple[tuple[str, DType], ...]
    route: Route
    find_java: FindJava
    settings: LoadSettings
    now: int | None = None


@dataclass(slots=True)
class Counts:
    """What was written so far."""

    rows: int = 0
    deleted: int = 0


def write_sstables(plan: SSTablePlan, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Put or delete each row of a task; one row of rows, deleted and _error: what Cassandra has taken, or what failed.

    An error is an answer, not an exception: Spark would run the task again, then wrap it into two stack traces.
    """
    counts, error = Counts(), None
    try:
        _write(plan, batches, counts)
    except FeatureStoreError as exc:
        # What was not handed over is in nobody's table.
        counts, error = Counts(), str(exc)
    yield pa.record_batch(
        [pa.array([counts.rows]), pa.array([counts.deleted]), pa.array([error], pa.string())],
        names=["rows", "deleted", "_error"],
    )


def _write(plan: SSTablePlan, batches: "Iterable[pa.RecordBatch]", counts: Counts) -> None:
    settings = plan.settings
    command = prepare_writer(plan.find_java, heap_mb=settings.heap_mb)
    with (
        staged(settings.directory, plan.table.keyspace, plan.table.name) as folder,
        # Started before there is a row: the JVM starts while the first ones are read.
        WriterChild(command) as child,
    ):
        child.open(plan.table, folder)
        for rows in cut_runs(batches, most_bytes=settings.run_mb * _MEBIBYTE):
            try:
                now = int(time.time()) if plan.now is None else plan.now
                run = encode_run(rows, plan.keys, plan.columns, now=now)
            except (ValueError, TypeError, NotImplementedError) as exc:
                raise OnlineStoreError(
                    f"a row does not fit {plan.table.name}: {exc}; rerun the load after correcting it"
                ) from exc
            child.wait()
            child.write(run.parts)
            counts.rows += run.puts
            counts.deleted += run.deleted
        child.wait()
        if counts.rows + counts.deleted:
            child.hand_over(plan.route, plan.table, folder)


def prepare_writer(find_java: FindJava, *, heap_mb: int) -> list[str]:
    """The command of the writer on this machine; see `writer_command`. Raises: PlatformError."""
    return writer_command(find_java(), heap_mb=heap_mb, rehearse=_rehearse)


def _rehearse(command: Sequence[str]) -> None:
    """Write a little SSTable, so that the JVM notes which classes that takes. What goes wrong shows in a real load."""
    columns = ((EVENT, DType.TIMESTAMP), (CREATED, DType.TIMESTAMP), ("value", DType.FLOAT64))
    create = f"CREATE TABLE rehearsal.t (key bigint PRIMARY KEY, {EVENT} bigint, {CREATED} bigint, value double)"
    table = Table(
        keyspace="rehearsal", name="t", create=create, id=str(UUID(int=0)),
        columns=tuple(n for n, _ in columns), timestamp=1,
    )  # fmt: skip
    instants = pa.array(range(3), pa.timestamp("us", tz="UTC"))
    rows = pa.table(
        {
            "key": pa.array([1, 2, 3]), EVENT: instants, CREATED: instants, "value": pa.array([0.5, None, 2.5]),
            "_delete": pa.array([False, False, True]), "_ttl_seconds": pa.array([None, 9, None], pa.int32()),
        }
    )  # fmt: skip
    run = encode_run(rows, (("key", DType.INT64),), columns, now=int(time.time()))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "rehearsal", "t")
        folder.mkdir(parents=True)
        try:
            with WriterChild(command) as child:
                child.open(table, folder)
                child.write(run.parts)
                child.wait()
                with suppress(OnlineStoreError):
                    # Nobody listens there, but the classes of JMX are loaded.
                    child.hand_over(ImportRoute(host="127.0.0.1", port=1), table, folder)
        except OnlineStoreError as exc:
            logger.debug("rehearsal: %s", exc)
