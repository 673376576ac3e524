"""Rows of a task as sorted runs: each becomes one SSTable, whose keys stand in the order of their tokens."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.core.dtypes import DType
from features.stores.base import MAX_TTL_SECONDS, TTL_SECONDS
from features.stores.cells import Cells, encode_column
from features.stores.tokens import partition_keys, tokens
from features.stores.winner_rows import gone_rows

if TYPE_CHECKING:
    import numpy.typing as npt

# The writer counts bytes of a column in 32 bits, and so does Arrow of short strings.
_MOST_COLUMN_BYTES = (1 << 31) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """An encoded run. parts: its fields, in the form that the writer reads. puts, deleted: rows of each kind."""

    parts: list[bytes | memoryview]
    puts: int
    deleted: int


def cut_runs(batches: "Iterable[pa.RecordBatch]", *, most_bytes: int) -> "Iterator[pa.Table]":
    """The batches in groups, each as one table of at most about so many bytes: what is held does not depend on more."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        rows_at_once = max(1, batch.num_rows * most_bytes // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, rows_at_once):
            part = batch.slice(start, rows_at_once)
            if waiting and held + part.nbytes > most_bytes:
                yield pa.Table.from_batches(waiting)
                waiting, held = [], 0
            waiting.append(part)
            held += part.nbytes
    if waiting:
        yield pa.Table.from_batches(waiting)


def encode_run(
    table: pa.Table, keys: Sequence[tuple[str, DType]], columns: Sequence[tuple[str, DType]], *, now: int
) -> Run:
    """The rows of a table, sorted and encoded.

    Args:
        table: join keys, columns, `_delete` and `_ttl_seconds`; no key twice.
        keys, columns: name and type; columns are those beside the keys.
        now: seconds since 1970.

    Raises: ValueError, TypeError, NotImplementedError: a value does not fit its type, or a key cannot be stored.
    """
    order = _token_order(partition_keys([encode_column(table[name], dtype) for name, dtype in keys]))
    # A column at a time stays in the processor's cache; whole rows would not.
    table = table.combine_chunks().take(pa.array(order))
    ttls = table[TTL_SECONDS]
    gone = gone_rows(table).to_numpy().astype(bool)
    deleted = int(gone.sum())
    seconds = pc.fill_null(ttls, 0).to_numpy()
    seconds = np.where((seconds > MAX_TTL_SECONDS) | gone, 0, seconds)
    parts: list[bytes | memoryview] = [struct.pack(">iqi", table.num_rows, now, len(columns))]
    parts += _flags(gone if deleted else None)
    parts += [b"\1", seconds.astype(">i4").data] if seconds.any() else [b"\0"]
    parts += _cells(partition_keys([encode_column(table[name], dtype) for name, dtype in keys]))
    for name, dtype in columns:
        parts += _cells(encode_column(table[name], dtype))
    return Run(parts=parts, puts=table.num_rows - deleted, deleted=deleted)


def _token_order(keys: Cells) -> "npt.NDArray[np.int64]":
    """Rows by token; those of one token, which is rare, by the bytes of their keys."""
    found = tokens(keys)
    order = np.argsort(found, kind="stable")
    ranked = found[order]
    same = np.flatnonzero(ranked[1:] == ranked[:-1])
    if not len(same):
        return order

    def content(row: int) -> bytes:
        return keys.data[keys.offsets[row] : keys.offsets[row + 1]].tobytes()

    for start in same:
        end = int(np.searchsorted(ranked, ranked[start], side="right"))
        order[start:end] = sorted(order[start:end], key=content)
    return order


def _flags(flags: "npt.NDArray[np.bool_] | None") -> list[bytes | memoryview]:
    return [b"\0"] if flags is None else [b"\1", flags.view(np.uint8).data]


def _cells(cells: Cells) -> list[bytes | memoryview]:
    """One column: nulls, then the width and the values, or -1, offsets and the values."""
    if len(cells.data) > _MOST_COLUMN_BYTES:
        raise ValueError("a column of one run passes 2 GiB; set online.load.run_mb lower")
    parts = _flags(cells.nulls)
    if cells.width is not None:
        return [*parts, struct.pack(">i", cells.width), cells.data.data]
    return [*parts, struct.pack(">i", -1), cells.offsets.astype(">i4").data, cells.data.data]
