"""How far Spark is with long work: its tasks, told through the log every few seconds."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from pyspark import StatusTracker
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0


@contextmanager
def progress(spark: "SparkSession", what: str, *, every_seconds: float = EVERY_SECONDS) -> Iterator[None]:
    """Log, inside the block, how many tasks of this thread's Spark jobs are done, whenever that has changed."""
    context = spark.sparkContext
    group = f"features-{uuid4().hex}"
    before = context.getLocalProperty("spark.jobGroup.id"), context.getLocalProperty("spark.job.description")
    context.setJobGroup(group, what)
    done = threading.Event()
    told = threading.Thread(
        target=_tell, args=(context.statusTracker(), group, what, done, every_seconds), daemon=True, name=group
    )
    told.start()
    try:
        yield
    finally:
        done.set()
        told.join()
        for name, value in zip(("spark.jobGroup.id", "spark.job.description"), before, strict=True):
            context.setLocalProperty(name, value)  # type: ignore[arg-type]  # None: as if never set


def _tell(tracker: "StatusTracker", group: str, what: str, done: threading.Event, every_seconds: float) -> None:
    last = None
    while not done.wait(every_seconds):
        figures = _count(tracker, group)
        if figures != last and figures[1]:
            logger.info(what, extra={"tasks_done": figures[0], "tasks": figures[1]})
        last = figures


def _count(tracker: "StatusTracker", group: str) -> tuple[int, int]:
    """Tasks done, and tasks known of, in all stages of the group's jobs so far."""
    done = total = 0
    for job in tracker.getJobIdsForGroup(group):
        info = tracker.getJobInfo(job)
        for stage in info.stageIds if info is not None else ():
            found = tracker.getStageInfo(stage)
            if found is not None:
                done, total = done + found.numCompletedTasks, total + found.numTasks
    return done, total
