"""Logs to load, in the layout that builds write: `python -m benchmarks.load.data`.

The base holds one row for each key, as one day's build leaves them. Its variants have a second commit, with new rows of
some keys that lie evenly among all, and of a single key.
"""

import argparse
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from benchmarks.load.shape import BASE, CHANGED, TOUCHED, TYPES, Shape
from benchmarks.load.views import KEY, define, types, warehouse
from features import DType
from features.core.applied import AppliedView
from features.core.arrow_types import arrow_type
from features.core.canonical import applied_view, view_definition, view_metadata
from features.stores.delta import COMPRESSION, ROWS_PER_GROUP, FeatureLog
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, PUT, SEQ

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import SparkSession

_START = datetime(2024, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_INSTANT = pa.timestamp("us", tz="UTC")
_NULLS = 0.01
_WORDS = 1000


def generate(shape: Shape) -> None:
    """Write the base and its variants; what was there before is replaced once all is written."""
    partial = shape.folder.with_name(f"{shape.folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    view = define(shape)
    applied = applied_view(view_definition(view), view_metadata(view), version=1)
    _append(partial, BASE, applied, shape, np.arange(shape.rows), position=1)
    step = max(1, round(1 / shape.changed))
    for variant, keys in ((CHANGED, np.arange(0, shape.rows, step)), (TOUCHED, np.array([shape.rows // 2]))):
        shutil.copytree(partial / BASE, partial / variant)
        _append(partial, variant, applied, shape, keys, position=2)
    shutil.rmtree(shape.folder, ignore_errors=True)
    partial.rename(shape.folder)
    shape.write()


def _append(
    folder: Path, variant: str, view: AppliedView, shape: Shape, keys: "NDArray[np.int64]", *, position: int
) -> None:
    from deltalake import ColumnProperties, CommitProperties, Transaction, WriterProperties, write_deltalake

    # Written without Spark: the log is asked for its path and columns alone.
    log = FeatureLog(cast("SparkSession", None), warehouse(folder, variant), view)
    plain, coded = ColumnProperties(dictionary_enabled=False), ColumnProperties(dictionary_enabled=True)
    words = [name for name, dtype in types(shape).items() if dtype == DType.STRING]
    write_deltalake(
        log.path,
        _rows(shape, keys, position).select(list(log.columns)),
        mode="append",
        configuration={"delta.dataSkippingStatsColumns": ",".join((KEY, EVENT, CREATED, OP, SEQ, INTERVAL))},
        writer_properties=WriterProperties(
            max_row_group_size=ROWS_PER_GROUP,
            compression=COMPRESSION.upper(),
            default_column_properties=plain,
            column_properties=dict.fromkeys((KEY, OP, *words), coded),
        ),
        commit_properties=CommitProperties(app_transactions=[Transaction(view.reference, position)]),
    )


def _rows(shape: Shape, keys: "NDArray[np.int64]", position: int) -> pa.Table:
    rng = np.random.default_rng([shape.rows, position])
    count = len(keys)
    end = _START + position * _DAY
    micros = int(end.timestamp()) * 1_000_000
    columns: dict[str, pa.Array] = {KEY: pa.array(keys)}
    columns[EVENT] = pa.array(micros - rng.integers(1, _DAY // timedelta(microseconds=1), count)).cast(_INSTANT)
    for name, moment in ((CREATED, end + timedelta(minutes=30)), (INTERVAL, end)):
        columns[name] = pa.repeat(pa.scalar(moment, _INSTANT), count)
    columns[OP] = pa.repeat(PUT, count)
    columns[SEQ] = pa.repeat(pa.scalar(position, pa.int64()), count)
    for name, dtype in types(shape).items():
        mask = rng.random(count) < _NULLS if shape.types == "mixed" else None
        columns[name] = _values(rng, count, dtype, mask)
    return pa.table(columns)


def _values(rng: np.random.Generator, count: int, dtype: DType, mask: "NDArray[np.bool_] | None") -> pa.Array:
    wanted = arrow_type(dtype)
    if dtype.is_float:
        kind = np.float32 if dtype == DType.FLOAT32 else np.float64
        return pa.array(rng.standard_normal(count, dtype=kind), mask=mask)
    if dtype == DType.STRING:
        words = pa.array([f"segment-{number:04d}-{'x' * (number % 20)}" for number in range(_WORDS)])
        return words.take(pa.array(rng.integers(0, _WORDS, count), mask=mask))
    if dtype == DType.BOOL:
        return pa.array(rng.random(count) < 0.5, mask=mask)
    if dtype.element is not None:
        lengths = rng.integers(0, 4, count)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        elements = pa.array(rng.standard_normal(int(offsets[-1]), dtype=np.float32))
        return pa.ListArray.from_arrays(pa.array(offsets), elements).cast(wanted)
    numbers = pa.array(rng.integers(0, 20_000, count), mask=mask)
    if dtype.kind == "date":
        return numbers.cast(pa.int32()).cast(wanted)
    if dtype.kind == "decimal":
        return numbers.cast(pa.decimal128(21, dtype.scale)).cast(wanted)
    return numbers.cast(wanted)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data that the flags name."""
    default = Shape()
    flags = argparse.ArgumentParser(prog="python -m benchmarks.load.data", description=__doc__)
    flags.add_argument("--rows", type=int, default=default.rows)
    flags.add_argument("--features", type=int, default=default.features)
    flags.add_argument("--types", choices=TYPES, default=default.types)
    flags.add_argument("--changed", type=float, default=default.changed)
    generate(Shape(**vars(flags.parse_args(argv))))


if __name__ == "__main__":
    main()
