"""Delta tables made of Parquet files that tasks have written already: one commit that names them."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from features.errors import StorageError
from features.stores.filesystems import native_uri
from features.stores.spark_errors import first_line

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """A Parquet file of a table. path: below the table's. partition: value by partition column, None: null."""

    path: str
    rows: int
    bytes: int
    partition: Mapping[str, str | None] = field(default_factory=dict)


def create_table(
    path: str, schema: "pa.Schema", files: Sequence[DataFile], *, partition_by: Sequence[str] = ()
) -> None:
    """Make a Delta table of files that lie below `path`, in one commit: readers see all of them, or no table.

    Args:
        path: of the table, where there is none yet.
        schema: of the files. partition_by: string columns that the files lack, and their folders have.
        files: all of the table's; other files below the path are none of its.

    Raises: StorageError: the commit cannot be written, or there is a table already.
    """
    import pyarrow as pa
    from deltalake import Schema
    from deltalake.exceptions import DeltaError
    from deltalake.transaction import AddAction, create_table_with_add_actions

    whole = schema
    for name in partition_by:
        whole = whole.append(pa.field(name, pa.string()))
    now = time.time_ns() // 1_000_000
    actions = [
        AddAction(
            path=file.path,
            size=file.bytes,
            partition_values={name: file.partition.get(name) for name in partition_by},
            modification_time=now,
            data_change=True,
            stats=_statistics(file),
        )
        for file in files
    ]
    try:
        create_table_with_add_actions(
            native_uri(path), Schema.from_arrow(whole), actions, mode="error", partition_by=list(partition_by)
        )
    except (DeltaError, OSError, ValueError) as exc:
        raise StorageError(f"cannot make a Delta table of the files at {path}: {first_line(exc)}") from exc


def _statistics(file: DataFile) -> str:
    known: dict[str, Any] = {"numRecords": file.rows}
    return json.dumps(known)
