"""Builds upon a log of one layout or another: the append of a day, and the rerun of a day that has changed a little."""

import shutil
from pathlib import Path
from typing import Any

from benchmarks.layout.reading import NAME, define, open_store
from benchmarks.layout.shape import DAY, FIRST_DAY, LAYOUTS, Shape, day_start, of_store, working_copy
from benchmarks.places import remove
from features.materialization.build import Builder
from features.store import FeatureStore
from features.stores.delta import FeatureLog
from features.stores.log_state import ROW_GROUP_SETTING


def copy(history: Path, work: str) -> Path:
    """A fresh copy of a history, to build upon."""
    remove(working_copy(history, work))
    return Path(shutil.copytree(history, working_copy(history, work)))


def warm_up(history: str, out: str) -> None:
    """Both, on a fresh copy of a history."""
    folder = str(copy(Path(history), "warm-up"))
    append(folder, out)
    rerun(folder, out)


def append(folder: str, out: str) -> dict[str, Any]:
    """The build of the day after the last one."""
    del out  # what it wrote is in the store
    shape, layout = of_store(folder)
    with open_store(Path(folder), shape) as store:
        last = store.registry.ledger(store.registry.view(NAME), since=FIRST_DAY)[-1].interval.end
        return _build(store, shape, layout, (last - FIRST_DAY) // DAY)


def rerun(folder: str, out: str) -> dict[str, Any]:
    """The build of a day that was built: its source has other values in a few rows since."""
    del out
    shape, layout = of_store(folder)
    with open_store(Path(folder), shape) as store:
        log = FeatureLog(store.spark, store.settings.warehouse, store.registry.view(NAME))
        # One day after another: as many commits as there were days are the history.
        return _build(store, shape, layout, log.commits()[0].position - shape.days)


def _build(store: FeatureStore, shape: Shape, layout: str, number: int) -> dict[str, Any]:
    view, applied = define(shape), store.registry.view(NAME)
    group, files = LAYOUTS[layout]
    store.spark.conf.set(ROW_GROUP_SETTING, str(group))
    # More files to a commit: each task that sorts its rows writes one of its own.
    store.spark.conf.set("spark.sql.files.maxRecordsPerFile", str(-(-shape.rows // files) if files > 1 else 0))
    builder = Builder(spark=store.spark, registry=store.registry, warehouse=store.settings.warehouse)
    result = builder.build(view, applied, day_start(number), day_start(number) + DAY)
    return {"day": number, "rows": result.rows, "corrections": result.corrections}
