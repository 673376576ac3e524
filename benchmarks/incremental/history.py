"""Histories as daily runs leave them, made faster: `python -m benchmarks.incremental.history`.

One build of all days gives the rows that daily builds would have given. They are then committed day by day, each with
its position, its run and its entry in the ledger, and with a checkpoint of the Delta log every ten commits, as Spark
writes them. The first day of each history is a build.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake

from benchmarks.incremental.daily import NAME, define, open_builder, warehouse
from benchmarks.incremental.shape import DAY, FIRST_DAY, MEASURED_DAYS, Shape
from benchmarks.places import remove
from benchmarks.racing import say
from features.core.applied import AppliedView
from features.core.schedule import Interval
from features.core.times import to_micros
from features.registry import IntervalOutcome, Registry
from features.stores.delta import ROWS_PER_GROUP, FeatureLog
from features.stores.log_state import EVENT, INTERVAL, SEQ

_CHECKPOINT_EVERY = 10


def write_source(shape: Shape) -> None:
    """Payments of every day, those that will be measured too, one Parquet file for each."""
    rng = np.random.default_rng(shape.rows)
    for number in range(-shape.longest, MEASURED_DAYS):
        day = FIRST_DAY + number * DAY
        start = int(day.timestamp()) * 1_000_000
        table = pa.table(
            {
                "customer": rng.integers(0, shape.customers, shape.rows),
                EVENT: pa.array(start + np.sort(rng.choice(86_400_000_000, shape.rows, replace=False))).cast(
                    pa.timestamp("us", tz="UTC")
                ),
                "amount": np.round(rng.lognormal(3.0, 1.0, shape.rows), 2),
            }
        )
        folder = shape.source / f"day={day.date().isoformat()}"
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "payments.parquet")


def build_all(shape: Shape) -> None:
    """The rows of the log of all days before the first measured one, by one build."""
    store = shape.folder / "all"
    view = define(shape.source)
    builder = open_builder(store, view)
    with builder.registry as registry:
        applied = registry.view(NAME)
        builder.build(view, applied, FIRST_DAY - shape.longest * DAY, FIRST_DAY)
        table = DeltaTable(f"{warehouse(store)}/{applied.log_path}")
        told = {to_micros(entry.interval.end): entry.fingerprint for entry in registry.ledger(applied)}
    ordered = ds.dataset(table.file_uris(), format="parquet").to_table().sort_by([(INTERVAL, "ascending")])
    shape.fingerprints.write_text(json.dumps(told))
    pq.write_table(ordered, shape.all_rows)
    remove(store)


def write_history(shape: Shape, days: int) -> None:
    """A store with so many days of history."""
    folder = shape.history(days).with_suffix(".partial")
    remove(folder)
    view = define(shape.source)
    first = FIRST_DAY - days * DAY
    builder = open_builder(folder, view)
    with builder.registry as registry:
        applied = registry.view(NAME)
        builder.build(view, applied, first, first + DAY)
        log = FeatureLog(builder.spark, builder.warehouse, applied)
        told = json.loads(shape.fingerprints.read_text())
        for position, (interval, rows) in enumerate(_days(shape, first + DAY), start=2):
            commit_day(registry, log, applied, Day(interval, rows, told[str(to_micros(interval.end))]), position)
    folder.rename(shape.history(days))
    say(f"{days} days of history")


def _days(shape: Shape, first: datetime) -> Iterator[tuple[Interval, pa.Table]]:
    """The rows of each day from the first on, sorted as builds sort them."""
    rows = pq.read_table(shape.all_rows)
    ends = rows[INTERVAL].cast(pa.int64()).to_numpy()
    start = first
    while start < FIRST_DAY:
        interval = Interval(start, start + DAY)
        begin, stop = np.searchsorted(ends, [to_micros(interval.end), to_micros(interval.end) + 1])
        mine = rows.slice(begin, stop - begin)
        yield interval, mine.sort_by([("customer", "ascending"), (EVENT, "ascending")])
        start = interval.end


@dataclass(frozen=True, slots=True)
class Day:
    """An interval, its rows as the log has them, and what the ledger is told of its source.

    rows_per_group, files: the layout that its rows are written in.
    """

    interval: Interval
    rows: pa.Table
    fingerprint: str | None
    rows_per_group: int = ROWS_PER_GROUP
    files: int = 1


def commit_day(registry: Registry, log: FeatureLog, view: AppliedView, day: Day, position: int) -> None:
    """One day's rows in the log and in the registry, as `Builder.build` leaves them."""
    interval, rows = day.interval, day.rows
    run_id = registry.start_run(kind="build", view=view, start=interval.start, end=interval.end, now=interval.end)
    metadata = {"run_id": run_id, "position": position, "view": view.reference, "note": {}}
    seq = rows.schema.get_field_index(SEQ)
    numbered = rows.set_column(seq, SEQ, pa.array(np.full(rows.num_rows, position)))
    write_deltalake(
        log.path,
        numbered,
        mode="append",
        target_file_size=None if day.files == 1 else int(rows.nbytes // day.files),
        writer_properties=WriterProperties(compression="SNAPPY", max_row_group_size=day.rows_per_group),
        commit_properties=CommitProperties(
            custom_metadata={"userMetadata": json.dumps(metadata)},
            app_transactions=[Transaction(app_id=view.reference, version=position)],
        ),
    )
    commit = log.commits(after=position - 1)[0]
    if commit.version % _CHECKPOINT_EVERY == 0:
        DeltaTable(log.path).create_checkpoint()
    registry.record_validation(run_id, [])
    outcome = IntervalOutcome(
        interval=interval,
        status="built",
        rows=rows.num_rows,
        position=position,
        delta_version=commit.version,
        fingerprint=day.fingerprint,
    )
    registry.record_intervals(view, run_id, [outcome])
    registry.finish_run(
        run_id,
        status="built",
        position=position,
        delta_version=commit.version,
        committed_at=commit.committed_at,
        counts={"rows": rows.num_rows},
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Write the histories that the flags name."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.incremental.history", description=__doc__)
    flags.add_argument("--days", type=int, nargs="+", required=True, help="of each history")
    flags.add_argument("--longest", type=int, required=True, help="days of source before the first measured one")
    flags.add_argument("--rows", type=int, required=True, help="of each day")
    given = flags.parse_args(argv)
    shape = Shape(longest=given.longest, rows=given.rows)
    if not shape.all_rows.exists():
        shutil.rmtree(shape.folder, ignore_errors=True)
        write_source(shape)
        build_all(shape)
    for days in given.days:
        if not shape.history(days).exists():
            write_history(shape, days)


if __name__ == "__main__":
    main()
