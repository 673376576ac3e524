"""What a Spark task does with Arrow batches where its result is files: it writes them itself."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    Batches = Iterator[pa.RecordBatch]

# What a task tells of its file.
WRITTEN = "rows bigint"
# What DuckDB puts into a row group, so that nobody's files are cheaper to write.
_ROWS_PER_GROUP = 122_880


def parquet_sink(folder: str) -> "Callable[[Batches], Batches]":
    """A function of a task's batches that writes one file of them into the folder, and yields the number of rows."""

    def write(batches: "Batches") -> "Batches":
        from uuid import uuid4

        import pyarrow as pa
        import pyarrow.parquet as pq

        writer, rows = None, 0
        for table in _grouped(batches):
            if writer is None:
                # As `TrainingSet.save` writes: measured floats hardly repeat, and a dictionary of them is thrown away.
                coded = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
                writer = pq.ParquetWriter(f"{folder}/{uuid4().hex}.parquet", table.schema, use_dictionary=coded)
            writer.write_table(table)
            rows += table.num_rows
        if writer is not None:
            writer.close()
        yield pa.record_batch([pa.array([rows])], names=["rows"])

    return write


def _grouped(batches: "Batches") -> "Iterator[pa.Table]":
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(b.num_rows for b in held) >= _ROWS_PER_GROUP:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)
