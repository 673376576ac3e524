"""What the stages of a run took in and gave out, and for how long: one line of the log each."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from features.stores.spark_errors import spark_errors

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

_GROUP, _DESCRIPTION = "spark.jobGroup.id", "spark.job.description"


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


@contextmanager
def rows_read(spark: "SparkSession") -> Iterator[Callable[..., int | None]]:
    """A count of the rows that this thread's Spark jobs read inside the block; to be asked for after it.

    It is of Spark's own statistics, and costs no pass. `less`: how many of them came of a cache. None: Spark read no
    others, as where tasks read files by themselves.
    """
    context = spark.sparkContext
    group = f"features-{uuid4().hex}"
    before = context.getLocalProperty(_GROUP), context.getLocalProperty(_DESCRIPTION)
    context.setJobGroup(group, before[1] or "")
    try:
        yield lambda less=0: _count(context, group, less)
    finally:
        for name, value in zip((_GROUP, _DESCRIPTION), before, strict=True):
            context.setLocalProperty(name, value)  # type: ignore[arg-type]  # None: as if never set


def _count(context: "SparkContext", group: str, less: int) -> int | None:
    jvm = context._jsc.sc()  # PySpark has no words for the statistics of stages
    tracker = context.statusTracker()
    try:
        # Statistics arrive a moment after the answer.
        jvm.listenerBus().waitUntilEmpty()
        jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)]
        stages = {stage for job in jobs if job is not None for stage in job.stageIds}
        rows = sum(jvm.statusStore().lastStageAttempt(stage).inputRecords() for stage in stages)
    except spark_errors():
        # A count is told where it is known: one that is not must not fail a run.
        return None
    return int(rows) - less if rows > less else None
