"""What tasks do to the Parquet files of a saved set: write those anew that hold erased keys, each in one step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from features.core.dtypes import DType
from features.erasure.request import ErasureRequest
from features.errors import StorageError
from features.stores.filesystems import open_filesystem

if TYPE_CHECKING:
    import pyarrow as pa

# Readers of folders pass over names that begin so.
UNFINISHED = "_erasing-"
ANSWER = "path string, erased bigint, rows bigint, bytes bigint"
# As files of sets are written.
_GROUP_ROWS = 1 << 17


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEraser:
    """Takes paths of files, and answers for each with ANSWER: rows erased, rows and bytes that it has now.

    A file is replaced whole: whoever opens it finds the old rows or the new ones. dry: nothing is changed.
    """

    request: ErasureRequest
    dry: bool

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """batches: paths, in their only column."""
        import pyarrow as pa

        for batch in batches:
            for path in batch.column(0).to_pylist():
                try:
                    found = self._erase(path)
                except (OSError, pa.ArrowException) as exc:
                    raise StorageError(f"{path} cannot be read or written: {exc}") from exc
                names = ("path", "erased", "rows", "bytes")
                yield pa.RecordBatch.from_pylist([dict(zip(names, (path, *found), strict=True))])

    def _erase(self, path: str) -> tuple[int, int, int]:
        import pyarrow.parquet as pq

        filesystem, inner = open_filesystem(path)
        size = filesystem.get_file_info(inner).size
        with filesystem.open_input_file(inner) as file:
            source = pq.ParquetFile(file)
            rows = source.metadata.num_rows
            if not set(self.request.columns) <= set(source.schema_arrow.names):
                return 0, rows, size
            keys = typed_keys(self.request, source.schema_arrow)
            batches = source.iter_batches(_GROUP_ROWS, columns=list(self.request.columns))
            erased = sum(int(doomed_rows(batch, keys).sum()) for batch in batches) if keys.num_rows else 0
            if not erased or self.dry:
                return erased, rows, size
            folder, _, name = inner.rpartition("/")
            unfinished = f"{folder}/{UNFINISHED}{uuid4().hex}-{name}"
            size = self._write_rest(source, keys, filesystem, unfinished)
        filesystem.move(unfinished, inner)
        return erased, rows - erased, size

    def _write_rest(self, source: Any, keys: "pa.Table", filesystem: Any, path: str) -> int:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = source.schema_arrow
        texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_binary(f.type)]
        with filesystem.open_output_stream(path) as stream:
            with pq.ParquetWriter(
                stream, schema, compression="zstd", use_dictionary=texts or False, version="2.6"
            ) as writer:
                for batch in source.iter_batches(_GROUP_ROWS):
                    writer.write_batch(batch.filter(pa.array(~doomed_rows(batch, keys))))
            return int(stream.tell())


def typed_keys(request: ErasureRequest, schema: "pa.Schema") -> "pa.Table":
    """The keys in the types that files have for them; those that no value of a type can be are left out."""
    import pyarrow as pa

    kinds = {name: schema.field(name).type for name in request.columns}
    values = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in kinds.items()}
    types = {name: _dtype(kind) for name, kind in values.items()}
    if any(dtype is None for dtype in types.values()):
        return pa.table({name: pa.array([], kind) for name, kind in values.items()})
    table = request.typed({name: dtype for name, dtype in types.items() if dtype is not None})
    fitting = [row for row in table.to_pylist() if _fits(row, values)]
    return pa.Table.from_pylist(fitting, schema=pa.schema(list(values.items())))


def doomed_rows(batch: "pa.RecordBatch", keys: "pa.Table") -> Any:
    """Whether each row holds one of the keys, as flags of NumPy; a null is none."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = []
    for name in keys.column_names:
        column = batch.column(name)
        columns.append(column.dictionary_decode() if pa.types.is_dictionary(column.type) else column)
    found = np.ones(batch.num_rows, bool)
    for column, name in zip(columns, keys.column_names, strict=True):
        found &= pc.is_in(column, value_set=keys[name].combine_chunks()).to_numpy(zero_copy_only=False)
    if len(columns) > 1 and found.any():
        whole = set(zip(*(keys[name].to_pylist() for name in keys.column_names), strict=True))
        places = np.flatnonzero(found)
        rows = zip(*(column.take(pa.array(places)).to_pylist() for column in columns), strict=True)
        found[places] = [row in whole for row in rows]
    return found


def _dtype(kind: "pa.DataType") -> DType | None:
    """The type of a join key that holds the same values; None: no key is of such a type."""
    import pyarrow as pa

    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    if pa.types.is_decimal(kind):
        return DType.DECIMAL(kind.precision, kind.scale)
    known = {
        DType.STRING: is_text,
        DType.BYTES: is_bytes,
        DType.BOOL: pa.types.is_boolean(kind),
        DType.INT64: pa.types.is_integer(kind),
        DType.DATE: pa.types.is_date(kind),
        DType.TIMESTAMP: pa.types.is_timestamp(kind),
    }
    return next((dtype for dtype, fits in known.items() if fits), None)


def _fits(row: dict[str, Any], types: "dict[str, pa.DataType]") -> bool:
    import pyarrow as pa

    try:
        for name, kind in types.items():
            pa.array([row[name]], kind)
    except (pa.ArrowException, OverflowError, ValueError):
        return False
    return True
