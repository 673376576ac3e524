"""The view, its stores, and the run that is measured: the build of one day, after a history of some days."""

import shutil
from pathlib import Path
from typing import Any

from benchmarks.incremental.shape import DAY, FIRST_DAY, WINDOW, working_copy
from benchmarks.places import remove
from benchmarks.spark import our_settings
from features import Aggregation, BatchSource, DType, Entity, FeatureView
from features.core.discovery import Definitions
from features.engine.session import open_session
from features.materialization.build import Builder
from features.registry import Registry

NAME = "customer_spend"


def define(source: Path) -> FeatureView:
    """Spend of each customer over the seven days up to each payment."""
    payments = BatchSource(
        name="payments",
        path=str(source.absolute()),
        format="parquet",
        timestamp_field="event_timestamp",
        partition_field="day",
    )
    return FeatureView(
        name=NAME,
        entities=[Entity(name="customer", join_keys={"customer": DType.INT64})],
        sources=[payments],
        features=[],
        aggregations=[
            Aggregation(column="amount", dtype=DType.FLOAT64, function=function, windows=[WINDOW])
            for function in ("count", "sum", "mean", "min", "max")
        ],
        lookback=None,
        schedule="@daily",
        delay=DAY / 48,
        owner="team@example.com",
        description="what customers spent",
    )


def open_builder(folder: Path, view: FeatureView) -> Builder:
    """What builds into a store of a folder; the view is applied."""
    registry = Registry.open(f"sqlite:///{folder.absolute() / 'registry.db'}")
    registry.apply(Definitions(views={NAME: view}, services={}))
    spark = open_session(our_settings(), app="incremental")
    return Builder(spark=spark, registry=registry, warehouse=warehouse(folder))


def warehouse(folder: Path) -> str:
    """The warehouse of a store."""
    return str(folder.absolute() / "warehouse")


def copy(history: Path) -> Path:
    """A fresh copy of a history, to build upon."""
    remove(working_copy(history))
    return Path(shutil.copytree(history, working_copy(history)))


def warm_up(history: str, out: str) -> None:
    """The same run, on a fresh copy of a history."""
    run(str(copy(Path(history))), out)


def run(store: str, out: str) -> dict[str, Any]:
    """The build of the day after the last one that a store holds."""
    del out  # what it wrote is in the store
    view = define(Path(store).parent / "payments")
    builder = open_builder(Path(store), view)
    with builder.registry as registry:
        applied = registry.view(NAME)
        start = registry.ledger(applied, since=FIRST_DAY - DAY)[-1].interval.end
        result = builder.build(view, applied, start, start + DAY)
    return {"end": (start + DAY).isoformat(), "rows": result.rows}
