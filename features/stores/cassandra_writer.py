"""Rows of Arrow into one table: encoded, grouped by replica, batched and sent."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.core.dtypes import DType
from features.stores.base import MAX_TTL_SECONDS, TTL_SECONDS
from features.stores.cassandra_batches import batches_of, by_node, constant, encode_columns, encode_statements
from features.stores.cassandra_sending import FAILURES, Sender, Window
from features.stores.cassandra_session import connect, explain
from features.stores.cassandra_transport import BatchTransport
from features.stores.cells import Cells, Longs, encode_column
from features.stores.winner_rows import gone_rows

if TYPE_CHECKING:
    from features.stores.cassandra_write import WritePlan

# Below the bound that servers have unless told otherwise, of 50 KiB.
MAX_BATCH_BYTES = 48 * 1024
# Rows are encoded in pieces of about this size: a batch of Spark's has 10,000, however wide.
_PIECE_BYTES = 8 << 20


class Writer:
    """The way of one task into a table. Encodes while the batches before are under way."""

    def __init__(self, plan: "WritePlan") -> None:
        """Connects. Raises: OnlineStoreError: no host answers."""
        self._plan = plan
        self._session = connect(plan.settings)
        self._transport = BatchTransport(self._session, plan.settings.keyspace)
        self._ring = self._transport.ring()
        self._sender = Sender(
            self._transport,
            window=Window(),
            max_bytes=MAX_BATCH_BYTES,
            patience_seconds=plan.settings.timeout_seconds,
        )

    @property
    def acknowledged(self) -> Counter[str]:
        """How many rows the servers have put ("put") and deleted ("delete")."""
        return self._sender.acknowledged

    def write(self, batch: pa.RecordBatch) -> None:
        """Put or delete each row: of the table's columns, `_delete` and `_ttl_seconds`; see `OnlineStore.write`.

        Raises: OnlineStoreError: a row does not fit, or a batch was given up, perhaps of an earlier call.
        """
        if self._plan.now is not None:
            batch = _aged(batch, int(time.time()) - self._plan.now)
        gone = gone_rows(batch)
        self._put(batch.filter(pc.invert(gone)))
        self.delete(batch.filter(gone))

    def delete(self, batch: pa.RecordBatch) -> None:
        """Delete the row of each key: of the table's key columns. Raises: as `write`."""
        plan = self._plan
        for rows, keys, nodes in self._pieces(batch):
            values = encode_columns(rows, plan.keys, table=plan.table)
            self._send("delete", plan.delete, [constant(plan.timestamp, ">i8", len(keys)), *values], keys, nodes)

    def finish(self) -> None:
        """Return once all is acknowledged. Raises: as `write`."""
        with self._explained():
            self._sender.drain()

    def close(self) -> None:
        """Disconnect, whatever is under way."""
        self._session.cluster.shutdown()

    def _put(self, batch: pa.RecordBatch) -> None:
        plan = self._plan
        for rows, keys, nodes in self._pieces(batch):
            values = encode_columns(rows, plan.columns, table=plan.table)
            using = [constant(plan.timestamp, ">i8", len(keys)), _ttl(rows[TTL_SECONDS])]
            self._send("put", plan.insert, [*values, *using], keys, nodes)

    def _pieces(self, batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, Cells, Longs]]:
        """The rows in pieces of a bounded size, by node; beside them, keys and nodes."""
        count = max(1, int(batch.num_rows * _PIECE_BYTES / max(1, batch.nbytes)))
        for start in range(0, batch.num_rows, count):
            yield by_node(batch.slice(start, count), self._plan.keys, self._ring, table=self._plan.table)

    def _send(self, verb: str, text: str, values: Sequence[Cells], keys: Cells, nodes: Longs) -> None:
        with self._explained():
            statements = encode_statements(verb, self._transport.prepare(text), values, keys)
            for batch in batches_of(statements, nodes, max_bytes=self._sender.max_bytes):
                self._sender.send(batch)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as exc:
            raise explain(exc, self._plan.settings) from exc


def _aged(batch: pa.RecordBatch, seconds: int) -> pa.RecordBatch:
    """The rows so many seconds later: the server counts a TTL from the write. Those too long to have one stay so."""
    ttls = batch[TTL_SECONDS]
    # Not younger: an executor's clock may be behind.
    left = pc.subtract(ttls, pa.scalar(max(0, seconds), pa.int32()))
    aged = pc.if_else(pc.greater(ttls, MAX_TTL_SECONDS), ttls, left)
    place = batch.schema.get_field_index(TTL_SECONDS)
    return batch.set_column(place, batch.schema.field(place), aged)


def _ttl(seconds: pa.Array) -> Cells:
    """The TTLs as they are bound: 0 is none."""
    is_none = pc.fill_null(pc.greater(seconds, MAX_TTL_SECONDS), True)
    return encode_column(pc.if_else(is_none, 0, seconds).cast(pa.int32()), DType.INT32)
