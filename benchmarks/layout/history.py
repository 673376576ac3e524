"""Source, spine, and a store in each layout: `python -m benchmarks.layout.history`."""

import argparse
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.incremental.history import Day, commit_day
from benchmarks.layout.reading import NAME, open_store
from benchmarks.layout.shape import DAY, LAYOUTS, MOST_REPEATS, Shape, day_start
from benchmarks.places import remove
from benchmarks.racing import say
from features.core.schedule import Interval
from features.stores.delta import FeatureLog
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, PUT, SEQ

_INSTANT = pa.timestamp("us", tz="UTC")
_DAY = 86_400_000_000
_CORRECTED = 0.001


def day_rows(shape: Shape, number: int) -> pa.Table:
    """The rows of a day, sorted as builds sort them; no two of one key and time."""
    rng = np.random.default_rng([shape.rows, number])
    start = int(day_start(number).timestamp()) * 1_000_000
    customers, events = np.unique(
        np.stack([rng.integers(0, shape.keys, shape.rows), start + rng.integers(0, _DAY, shape.rows)]), axis=1
    )
    values = {name: rng.random(len(events), dtype=np.float32) for name in shape.names}
    return pa.table({"customer": customers, EVENT: pa.array(events).cast(_INSTANT), **values})


def write_source(shape: Shape) -> None:
    """Every day as a file; the days that will be rerun have other values in a few rows than the logs have."""
    for number in range(shape.days + MOST_REPEATS):
        rows = day_rows(shape, number)
        if number < MOST_REPEATS:
            first = rows[shape.names[0]].to_numpy().copy()
            first[:: int(1 / _CORRECTED)] += 1
            rows = rows.set_column(rows.schema.get_field_index(shape.names[0]), shape.names[0], pa.array(first))
        folder = shape.source / f"day={day_start(number).date().isoformat()}"
        folder.mkdir(parents=True)
        pq.write_table(rows, folder / "events.parquet")


def write_spine(shape: Shape) -> None:
    """Entities and times, spread evenly over the history."""
    rng = np.random.default_rng(shape.spine)
    start = int(day_start(0).timestamp()) * 1_000_000
    times = start + rng.integers(0, shape.days * _DAY, shape.spine)
    spine = {"customer": rng.integers(0, shape.keys, shape.spine), EVENT: pa.array(times).cast(_INSTANT)}
    pq.write_table(pa.table(spine), shape.spine_path)


def write_history(shape: Shape, layout: str) -> None:
    """A store whose log has a commit for each day, in one layout."""
    folder = shape.history(layout).with_suffix(".partial")
    remove(folder)
    group, files = LAYOUTS[layout]
    with open_store(folder, shape) as store:
        applied = store.registry.view(NAME)
        log = FeatureLog(store.spark, store.settings.warehouse, applied)
        for number in range(shape.days):
            interval = Interval(day_start(number), day_start(number) + DAY)
            rows = day_rows(shape, number)
            end = pa.scalar(interval.end, _INSTANT)
            for name, value in (
                (CREATED, pa.scalar(interval.end + DAY / 48, _INSTANT)),
                (INTERVAL, end),
                (OP, pa.scalar(PUT)),
                (SEQ, pa.scalar(0, pa.int64())),
            ):
                rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
            day = Day(interval, rows.select(list(log.columns)), None, rows_per_group=group, files=files)
            commit_day(store.registry, log, applied, day, number + 1)
    folder.rename(shape.history(layout))
    say(f"{layout}: {shape.days} days")


def main(argv: Sequence[str] | None = None) -> None:
    """Write what is missing."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.layout.history", description=__doc__)
    for field in fields(Shape):
        flags.add_argument(f"--{field.name}", type=int, default=field.default)
    flags.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS))
    given = vars(flags.parse_args(argv))
    layouts = given.pop("layouts")
    shape = Shape(**given)
    if not shape.spine_path.exists():
        remove(shape.folder)
        shape.folder.mkdir(parents=True)
        write_source(shape)
        write_spine(shape)
    for layout in layouts:
        if not shape.history(layout).exists():
            write_history(shape, layout)


if __name__ == "__main__":
    main()
