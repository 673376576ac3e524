"""Rows brought together by key: packed into one blob per bucket, so that Spark shuffles blobs and not rows.

A row costs Spark more to shuffle than to compute. What is shuffled here is a few Arrow tables in each partition, as
binary values; docs/decisions/windows-in-spark.md has the figures.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import numpy.typing as npt

BUCKET, BLOB = "_bucket", "_blob"
PACKED = f"{BUCKET} int, {BLOB} binary"
# What is packed at once: enough that a bucket's share is worth a blob, little enough that memory does not count, and
# that no blob comes near the 2 GiB that Spark's rows can hold.
_PACKED_ROWS, _PACKED_BYTES = 1_000_000, 1 << 27


def pack(batches: Iterator[pa.RecordBatch], *, buckets: int) -> Iterator[pa.RecordBatch]:
    """The rows in blobs, at most one for each bucket at a time.

    Args:
        batches: rows that tell their bucket, 0 to buckets - 1, in a column `_bucket`.
    """
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _PACKED_ROWS or size >= _PACKED_BYTES:
            yield from _blobs(held, buckets)
            held, rows, size = [], 0, 0
    if rows:
        yield from _blobs(held, buckets)


def pack_table(table: pa.Table, bucket_of: "npt.NDArray[np.int64]", *, buckets: int) -> Iterator[pa.RecordBatch]:
    """The rows of a table in blobs, one for each bucket that holds any."""
    # A stable sort of 16-bit numbers is a counting sort, many times as fast as one of 64 bits.
    narrow = bucket_of.astype(np.uint16) if buckets <= 1 << 16 else bucket_of
    order = np.argsort(narrow, kind="stable")
    ends = np.cumsum(np.bincount(bucket_of, minlength=buckets))
    moved = table.take(pa.array(order)).combine_chunks()
    start = 0
    for bucket, end in enumerate(ends.tolist()):
        if end > start:
            yield pa.RecordBatch.from_pydict(
                {
                    BUCKET: pa.array([bucket], pa.int32()),
                    BLOB: _serialise(moved.slice(start, end - start)),
                }
            )
        start = end


def unpack(batches: Iterator[pa.RecordBatch]) -> pa.Table | None:
    """The rows of all blobs of one task, or None where there are none."""
    tables = [
        pa.ipc.open_stream(blob.as_buffer()).read_all()
        for batch in batches
        for blob in batch.column(BLOB)
        if len(batch)
    ]
    return pa.concat_tables(tables) if tables else None


def _blobs(held: Sequence[pa.RecordBatch], buckets: int) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_batches(held)
    bucket_of = table[BUCKET].to_numpy().astype(np.int64)
    return pack_table(table.drop_columns(BUCKET), bucket_of, buckets=buckets)


def _serialise(table: pa.Table) -> pa.Array:
    """A table as the one value of a binary array, which shares its memory."""
    # Measured first: a buffer that grows is copied many times over.
    measure = pa.MockOutputStream()
    _write(measure, table)
    blob = pa.allocate_buffer(measure.size())
    _write(pa.FixedSizeBufferWriter(blob), table)
    offsets = pa.py_buffer(np.array([0, blob.size], np.int32))
    return pa.Array.from_buffers(pa.binary(), 1, [None, offsets, blob])


def _write(sink: pa.NativeFile, table: pa.Table) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
