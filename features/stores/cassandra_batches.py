"""Rows as bodies of BATCH messages, encoded from Arrow for whole columns: nothing is bound value by value."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from features.core.dtypes import DType
from features.errors import OnlineStoreError
from features.stores.cells import Cells, Longs, big_endian, encode_column, fixed, joined, prefixed
from features.stores.tokens import partition_keys, tokens

# A batch has its statements counted in 16 bits; well before that, more of them save nothing.
MAX_STATEMENTS = 1000
# What the server counts for each cell of a batch beside its value: write timestamp, TTL and time of deletion. As much
# again for each key column and for USING covers what it counts for the row and the partition.
_CELL_BYTES = 20
_UNLOGGED, _PREPARED = 1, 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ring:
    """Which node is asked for which tokens.

    ends: last token of each range, ascending; the range of the first begins behind the last.
    nodes: beside them, a number for the first replica of the range.
    """

    ends: Longs
    nodes: Longs

    def node_of(self, tokens: Longs) -> Longs:
        """The number of the node of each token."""
        if not len(self.ends):
            return np.zeros(len(tokens), np.int64)
        return self.nodes[np.searchsorted(self.ends, tokens, side="left") % len(self.ends)]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Statements:
    """Executions of one prepared statement, each of one partition.

    verb: what it does to a row: "put" or "delete".
    encoded: as they stand in a BATCH message.
    weights: bytes of each as the server adds them up for its bound of a batch, or slightly more.
    keys: the partition of each.
    """

    verb: str
    encoded: Cells
    weights: Longs
    keys: Cells


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """Statements `first` to `last`, exclusive, that the server executes together; in no order, not atomically."""

    statements: Statements
    first: int
    last: int
    node: int

    def __len__(self) -> int:
        return self.last - self.first

    @property
    def weight(self) -> int:
        """Bytes as the server adds them up."""
        return int(self.statements.weights[self.first : self.last].sum())

    @property
    def routing_key(self) -> bytes:
        """The partition of its first statement: the others have the same first replica."""
        keys = self.statements.keys
        return keys.data[keys.offsets[self.first] : keys.offsets[self.first + 1]].tobytes()

    def halves(self) -> tuple["Batch", "Batch"]:
        """Two batches of about as many statements each."""
        middle = (self.first + self.last) // 2
        return replace(self, last=middle), replace(self, first=middle)

    def body(self, consistency: int) -> bytes:
        """The body of the message, in version 5 of the native protocol."""
        encoded = self.statements.encoded
        content = encoded.data[encoded.offsets[self.first] : encoded.offsets[self.last]]
        head, tail = struct.pack(">BH", _UNLOGGED, len(self)), struct.pack(">HI", consistency, 0)
        return b"".join((head, content.tobytes(), tail))


def encode_columns(batch: "pa.RecordBatch", columns: Sequence[tuple[str, DType]], *, table: str) -> list[Cells]:
    """The columns of those names, encoded.

    Raises: OnlineStoreError: a value does not fit its column; table says where.
    """
    encoded = []
    for name, dtype in columns:
        try:
            encoded.append(encode_column(batch[name], dtype))
        except (ValueError, TypeError, NotImplementedError) as exc:
            raise misfit(table, f"column {name}: {exc}") from exc
    return encoded


def encode_statements(verb: str, query_id: bytes, values: Sequence[Cells], keys: Cells) -> Statements:
    """Executions of a prepared statement.

    Args:
        verb: "put" or "delete".
        query_id: the server's name for it.
        values: what it binds, in its order.
        keys: the partition of each.
    """
    count = len(keys)
    head = struct.pack(">BH", _PREPARED, len(query_id)) + query_id + struct.pack(">H", len(values))
    columns = [fixed(np.broadcast_to(np.frombuffer(head, np.uint8), (count, len(head))).copy())]
    weights = np.full(count, _CELL_BYTES * len(values), np.int64)
    for cells in values:
        sizes = cells.sizes
        weights += sizes
        lengths = sizes if cells.nulls is None else np.where(cells.nulls, -1, sizes)
        columns.append(prefixed(big_endian(lengths, ">i4"), cells, null_prefixes=True))
    return Statements(verb=verb, encoded=joined(columns), weights=weights, keys=keys)


def batches_of(statements: Statements, nodes: Longs, *, max_bytes: int) -> Iterator[Batch]:
    """The statements as batches that stay below a bound, a lone larger one aside.

    Args:
        statements: those of one node stand together.
        nodes: the number of the node of each.
        max_bytes: as the server adds them up.
    """
    count = len(nodes)
    ends = np.cumsum(statements.weights)
    borders = np.append(np.flatnonzero(np.diff(nodes)) + 1, count)
    first = 0
    while first < count:
        before = int(ends[first - 1]) if first else 0
        full = int(np.searchsorted(ends, before + max_bytes, side="right"))
        border = int(borders[np.searchsorted(borders, first, side="right")])
        last = max(first + 1, min(full, border, first + MAX_STATEMENTS))
        yield Batch(statements=statements, first=first, last=last, node=int(nodes[first]))
        first = last


def by_node(
    batch: "pa.RecordBatch", keys: Sequence[tuple[str, DType]], ring: Ring, *, table: str
) -> tuple["pa.RecordBatch", Cells, Longs]:
    """The rows in the order of their node, the partition key of each, and the number of its node.

    Raises: OnlineStoreError: a key that no table can hold.
    """
    nodes = ring.node_of(tokens(_keys_of(batch, keys, table)))
    if len(nodes) and (nodes != nodes[0]).any():
        order = np.argsort(nodes, kind="stable")
        batch, nodes = batch.take(pa.array(order)), nodes[order]
    return batch, _keys_of(batch, keys, table), nodes


def constant(number: int, kind: str, count: int) -> Cells:
    """An integer, in each of so many rows. kind: NumPy's name of its type."""
    return fixed(np.full(count, number, kind))


def misfit(table: str, reason: str) -> OnlineStoreError:
    """The error of rows that a table cannot hold."""
    return OnlineStoreError(f"a row does not fit {table}: {reason}; rerun the load after correcting it", retry=False)


def _keys_of(batch: "pa.RecordBatch", keys: Sequence[tuple[str, DType]], table: str) -> Cells:
    try:
        return partition_keys(encode_columns(batch, keys, table=table))
    except ValueError as exc:
        raise misfit(table, f"key {', '.join(name for name, _ in keys)}: {exc}") from exc
