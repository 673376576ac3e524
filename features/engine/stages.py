"""What the stages of a run took in and gave out, and for how long: one line of the log each."""

import logging
import time
from typing import TYPE_CHECKING

from features.stores.spark_errors import spark_errors

if TYPE_CHECKING:
    from py4j.java_gateway import JavaObject
    from pyspark.sql import DataFrame


class Stages:
    """A run's clock: each stage is told with the seconds since the one before, the last also with all of them."""

    def __init__(self, logger: logging.Logger, view: str) -> None:
        self._logger = logger
        self._view = view
        self._began = self._last = time.monotonic()

    def tell(self, stage: str, **figures: object) -> None:
        """Log the end of a stage; figures that are None are left out."""
        self._logger.info(stage, extra=self._figures(**figures))

    def end(self, stage: str, **figures: object) -> None:
        """Log the end of the last stage."""
        told = self._figures(**figures)
        self._logger.info(stage, extra={**told, "seconds_in_all": round(time.monotonic() - self._began, 1)})

    def _figures(self, **figures: object) -> dict[str, object]:
        before, self._last = self._last, time.monotonic()
        return {"view": self._view, **figures, "seconds": round(self._last - before, 1)}


def rows_scanned(frame: "DataFrame") -> int | None:
    """How many rows of its sources were read to compute a persisted frame, as Spark itself has counted: no pass more.

    None: nobody has counted them, as where tasks read files by themselves, or where Spark drops what it has read since
    nothing can match it.
    """
    session = frame.sparkSession._jsparkSession  # PySpark has no words for the metrics of a plan
    try:
        cached = session.sharedState().cacheManager().lookupCachedData(frame._jdf)
        return None if cached.isEmpty() else _count(cached.get().cachedRepresentation().cacheBuilder().cachedPlan())
    except spark_errors():
        # A count is told where it is known: one that is not must not fail a run.
        return None


def _count(plan: "JavaObject") -> int | None:
    leaves = plan.collectLeaves()
    counts = [_count_leaf(leaves.apply(place)) for place in range(leaves.size())]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _count_leaf(leaf: "JavaObject") -> int | None:
    kind = leaf.getClass().getSimpleName()
    if kind == "AdaptiveSparkPlanExec":
        return _count(leaf.executedPlan())
    if kind.endswith("QueryStageExec"):
        return _count(leaf.plan())
    if kind in ("ReusedExchangeExec", "LocalTableScanExec"):
        # One that is counted where it runs; and rows of the query itself, such as a feed's times of commits.
        return 0
    counted = leaf.metrics().get("numOutputRows")
    # Of a range each row is the number of a task.
    return None if kind == "RangeExec" or counted.isEmpty() else int(counted.get().value())
