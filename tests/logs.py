"""Offline logs made of given rows, in files of any shape: what builds, reruns and compactions may leave behind."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import WriterProperties, write_deltalake

from features.core.applied import AppliedView, Selection
from features.core.arrow_types import arrow_type
from features.core.dtypes import DType
from features.engine.as_of import Pin
from features.stores.delta import FeatureLog
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, SEQ

OWN_TYPES = {
    EVENT: DType.TIMESTAMP,
    CREATED: DType.TIMESTAMP,
    OP: DType.STRING,
    SEQ: DType.INT64,
    INTERVAL: DType.TIMESTAMP,
}


def log_schema(view: AppliedView) -> pa.Schema:
    """The columns of a view's log, in order."""
    types = {**view.join_keys, **OWN_TYPES, **{f.name: f.dtype for f in view.features}}
    return pa.schema([(name, arrow_type(dtype)) for name, dtype in types.items()])


def write_log(
    warehouse: Path, view: AppliedView, files: Sequence[Sequence[Mapping[str, Any]]], *, rows_per_group: int = 1 << 20
) -> None:
    """Append rows to the view's log, each of `files` as a file of its own; columns that a row lacks are null."""
    schema = log_schema(view)
    properties = WriterProperties(max_row_group_size=rows_per_group, write_batch_size=min(rows_per_group, 1024))
    for rows in files:
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
        write_deltalake(str(warehouse / view.log_path), table, mode="append", writer_properties=properties)


def put(
    event: datetime, created: datetime, *, seq: int = 1, interval: datetime | None = None, **values: Any
) -> dict[str, Any]:
    """A row of a log, published in the interval that ends at its event unless told otherwise."""
    return {EVENT: event, CREATED: created, OP: "put", SEQ: seq, INTERVAL: interval or event, **values}


def pin_log(spark: Any, warehouse: Path, view: AppliedView, *, position: int | None = None) -> Pin:
    """All features of a view, at the newest version of its log, by their own names."""
    from dataclasses import replace

    log = FeatureLog(spark, str(warehouse), view)
    snapshot = log.snapshot()
    if snapshot is not None and position is not None:
        snapshot = replace(snapshot, position=position)
    names = tuple(f.name for f in view.features)
    selection = Selection(view=view, features=tuple(view.features), columns=names)
    return Pin(selection=selection, log=log, snapshot=snapshot, position=position or 0)
