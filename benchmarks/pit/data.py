"""Logs and spines to measure on, in the layout that builds write: `python -m benchmarks.pit.data`.

Each view's log has a commit for each day, as daily builds leave them, and one for every ten days' corrections.
Event times spread evenly over the days, a row can be read from half an hour after its day on. One row in a thousand is
corrected later, one in two thousand arrives again, with other values, a day late: both are ties that the as-of rule
must settle.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.pit.shape import Layout, Shape, View, shape_flags
from benchmarks.pit.views import DELAY, KEY_TYPES, define, open_store, places
from benchmarks.racing import say
from features import FeatureView
from features.core.discovery import Definitions
from features.stores.delta import COMPRESSION, ROWS_PER_GROUP, FeatureLog
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, PUT, SEQ

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import SparkSession

START = datetime(2024, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", tz="UTC")
_DAY = 86_400_000_000
_START = int(START.timestamp()) * 1_000_000
_DELAY = DELAY // timedelta(microseconds=1)
_RERUN_DAYS = 10
_CORRECTED, _REPEATED, _NULL, _UNKNOWN = 0.001, 0.0005, 0.01, 0.005
_HOT_SHARE = 0.2
_KEYS_PER_REGION = 40


def generate(shape: Shape) -> None:
    """Write the data of a shape; what was there before is replaced once all is written."""
    partial = shape.folder.with_name(f"{shape.folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    views = define(shape)
    with open_store(*places(partial)) as store:
        store.registry.apply(Definitions(views={view.name: view for view in views}, services={}))
        for number, view in enumerate(views):
            # Written without Spark: the log is asked for its path and columns alone.
            log = FeatureLog(cast("SparkSession", None), store.settings.warehouse, store.registry.view(view.name))
            _write_log(log, shape, view, seed=number)
    _write_spine(shape, partial / "spine.parquet")
    shutil.rmtree(shape.folder, ignore_errors=True)
    partial.rename(shape.folder)
    _describe(shape, views).write(shape.folder / "layout.json")


def _describe(shape: Shape, views: list[FeatureView]) -> Layout:
    from deltalake import DeltaTable

    warehouse, registry = places(shape.folder)
    described = []
    with open_store(*places(shape.folder)) as store:
        for view in views:
            applied = store.registry.view(view.name)
            log = f"{warehouse}/{applied.log_path}"
            files = sorted(DeltaTable(log).file_uris())
            names = [feature.name for feature in view.features]
            described.append(View(reference=applied.reference, log=log, files=files, features=names))
    return Layout(
        keys={name: dtype.kind for name, dtype in KEY_TYPES[shape.key].items()},
        spine=str(shape.folder.absolute() / "spine.parquet"),
        views=described,
        warehouse=warehouse,
        registry=registry,
        spine_rows=shape.spine,
    )


def _write_log(log: FeatureLog, shape: Shape, view: FeatureView, *, seed: int) -> None:
    """One sorted file for each commit, in the layout and under the transaction of a build's own commits.

    Not by Spark: 99 commits of a million values each take it a quarter of an hour on two cores.
    """
    from deltalake import ColumnProperties, CommitProperties, Transaction, WriterProperties, write_deltalake

    names = [feature.name for feature in view.features]
    plain, coded = ColumnProperties(dictionary_enabled=False), ColumnProperties(dictionary_enabled=True)
    layout = WriterProperties(
        max_row_group_size=ROWS_PER_GROUP,
        compression=COMPRESSION.upper(),
        default_column_properties=plain,
        column_properties=dict.fromkeys((*view.join_keys, OP), coded),
    )
    for position, table in enumerate(commits(shape, names, seed), start=1):
        numbered = table.append_column(SEQ, pa.repeat(pa.scalar(position, pa.int64()), table.num_rows))
        rows = numbered.select(list(log.columns)).sort_by([(c, "ascending") for c in (*view.join_keys, EVENT)])
        write_deltalake(
            log.path,
            rows,
            mode="append",
            configuration={
                "delta.dataSkippingStatsColumns": ",".join((*view.join_keys, EVENT, CREATED, OP, SEQ, INTERVAL))
            },
            writer_properties=layout,
            commit_properties=CommitProperties(app_transactions=[Transaction(f"{view.name}@1", position)]),
        )
    say(f"{view.name}: {position} commits")


def commits(shape: Shape, names: list[str], seed: int) -> Iterator[pa.Table]:
    """The rows of each commit: one of every day, and after every ten days one of their corrections."""
    rng = np.random.default_rng([shape.rows, seed])
    weights = _shares(shape)
    earlier = (np.empty(0, np.int64), np.empty(0, np.int64))
    corrected: list[tuple[NDArray[np.int64], NDArray[np.int64], int]] = []
    for day in range(shape.days):
        count = shape.rows * (day + 1) // shape.days - shape.rows * day // shape.days
        end = _START + (day + 1) * _DAY
        repeated = _some(rng, earlier, _REPEATED)
        fresh = count - len(repeated[0])
        codes = np.concatenate([_draw(rng, weights, fresh), repeated[0]])
        events = np.concatenate([end - _DAY + rng.integers(0, _DAY, fresh), repeated[1]])
        # Of equal key and event a build keeps one row.
        codes, events = np.unique(np.stack([codes, events]), axis=1)
        ends = np.full(len(codes), end)
        yield _table(rng, shape, names, codes, events, ends, ends + _DELAY)
        mine = events >= end - _DAY
        earlier = (codes[mine], events[mine])
        corrected.append((*_some(rng, earlier, _CORRECTED), end))
        if len(corrected) == _RERUN_DAYS:
            codes = np.concatenate([c for c, _, _ in corrected])
            events = np.concatenate([e for _, e, _ in corrected])
            ends = np.concatenate([np.full(len(c), e) for c, _, e in corrected])
            # The rerun starts a quarter of an hour after the last of its days was online.
            created = np.full(len(codes), end + 2 * _DELAY + _DELAY // 2)
            yield _table(rng, shape, names, codes, events, ends, created)
            corrected.clear()


def _some(
    rng: np.random.Generator, rows: "tuple[NDArray[np.int64], NDArray[np.int64]]", share: float
) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    chosen = rng.permutation(len(rows[0]))[: int(len(rows[0]) * share)]
    return rows[0][chosen], rows[1][chosen]


def _shares(shape: Shape) -> "NDArray[np.float64]":
    """The cumulative share of the rows up to each key; the popular keys lie scattered among the others."""
    if shape.skew == "uniform":
        weights = np.ones(shape.keys)
    elif shape.skew == "hot":
        weights = np.ones(shape.keys)
        weights[shape.keys // 3] = max(1.0, _HOT_SHARE / (1 - _HOT_SHARE) * (shape.keys - 1))
    else:
        weights = np.arange(1, shape.keys + 1) ** -shape.exponent
        weights = np.random.default_rng(0).permutation(weights)
    return np.cumsum(weights) / weights.sum()


def _draw(rng: np.random.Generator, shares: "NDArray[np.float64]", count: int) -> "NDArray[np.int64]":
    return np.minimum(np.searchsorted(shares, rng.random(count), side="right"), len(shares) - 1)


def _table(
    rng: np.random.Generator,
    shape: Shape,
    names: list[str],
    codes: "NDArray[np.int64]",
    events: "NDArray[np.int64]",
    ends: "NDArray[np.int64]",
    created: "NDArray[np.int64]",
) -> pa.Table:
    count = len(codes)
    columns = _key_columns(shape.key, codes)
    columns[EVENT] = pa.array(events).cast(INSTANT)
    columns[CREATED] = pa.array(created).cast(INSTANT)
    columns[OP] = pa.repeat(PUT, count)
    columns[INTERVAL] = pa.array(ends).cast(INSTANT)
    for place, name in enumerate(names):
        missing = rng.random(count) < _NULL if place % 10 == 0 else None
        columns[name] = pa.array(rng.standard_normal(count, dtype=np.float32), mask=missing)
    return pa.table(columns)


def _key_columns(kind: str, codes: "NDArray[np.int64]") -> dict[str, pa.Array]:
    """The join keys of entities by number; in every kind, keys sort as their numbers do."""
    if kind == "int":
        return {"customer": pa.array(codes)}
    names, places = np.unique(codes, return_inverse=True)
    texts = pa.array([f"customer-{code:06d}" for code in names]).take(pa.array(places))
    if kind == "string":
        return {"customer": texts}
    return {"region": pa.array((codes // _KEYS_PER_REGION).astype(np.int32)), "customer": texts}


def _write_spine(shape: Shape, path: Path) -> None:
    """Rows of keys as popular as in the log, a few of them unknown to it, at moments all over the days."""
    rng = np.random.default_rng([shape.spine, 99])
    codes = _draw(rng, _shares(shape), shape.spine)
    unknown = rng.random(shape.spine) < _UNKNOWN
    codes = np.where(unknown, codes + shape.keys, codes)
    times = _START + rng.integers(0, shape.days * _DAY, shape.spine)
    columns = {"row_id": pa.array(np.arange(shape.spine)), **_key_columns(shape.key, codes)}
    columns[EVENT] = pa.array(times).cast(INSTANT)
    pq.write_table(pa.table(columns), path, row_group_size=125_000)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data that the flags name."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.pit.data", description=__doc__, parents=[shape_flags()])
    generate(Shape.of(flags.parse_args(argv)))


if __name__ == "__main__":
    main()
