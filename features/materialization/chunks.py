"""The chunks of a backfill on their way: one after the other or side by side, told of as they end."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from features.core.schedule import Interval
from features.errors import FeatureStoreError, UsageError
from features.materialization.results import BuildResult, ChunkResult

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Neighbouring intervals that one build makes. reruns: whether they were built before."""

    intervals: tuple[Interval, ...]
    reruns: bool

    @property
    def interval(self) -> Interval:
        """From the start of the first to the end of the last."""
        return Interval(self.intervals[0].start, self.intervals[-1].end)


@dataclass
class ChunkWork:
    """What was done of the chunks of a backfill.

    build: builds a range. view: its reference. total: intervals that there are to build.
    results: of the chunks that were built. failures: range and error of those that were not; none is begun after one.
    """

    build: Callable[[datetime, datetime], BuildResult]
    view: str
    total: int
    spark: "SparkSession"
    results: list[ChunkResult] = field(default_factory=list)
    failures: list[tuple[Interval, FeatureStoreError]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    rows: int = 0

    def do(self, chunk: Chunk) -> None:
        """Build a chunk in this thread."""
        self._take(chunk, partial(self._build, chunk))

    def do_all(self, chunks: Sequence[Chunk], *, parallel: int) -> None:
        """Build chunks, so many at once; after one that fails none is begun, and those under way end."""
        if parallel == 1 or len(chunks) < 2:
            for chunk in chunks:
                if not self.failures:
                    self.do(chunk)
            return
        from pyspark import inheritable_thread_target

        in_thread = inheritable_thread_target(self.spark)
        tag, ahead = f"backfill-{uuid4().hex}", list(reversed(chunks))
        running: dict[Future[ChunkResult], Chunk] = {}
        with ThreadPoolExecutor(parallel, thread_name_prefix="backfill") as pool:
            try:
                while running or (ahead and not self.failures):
                    while ahead and not self.failures and len(running) < parallel:
                        chunk = ahead.pop()
                        running[pool.submit(in_thread(partial(self._tagged, chunk, tag)))] = chunk
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        self._take(running.pop(future), future.result)
            except BaseException:
                # Interrupted: what runs is told to end, again and again, since a build has several Spark jobs.
                while wait(running, timeout=_POLL_SECONDS).not_done:
                    self.spark.sparkContext.cancelJobsWithTag(tag)
                raise

    def _tagged(self, chunk: Chunk, tag: str) -> ChunkResult:
        self.spark.sparkContext.addJobTag(tag)
        return self._build(chunk)

    def _build(self, chunk: Chunk) -> ChunkResult:
        began = time.monotonic()
        result = self.build(chunk.interval.start, chunk.interval.end)
        return ChunkResult(
            **asdict(result),
            start=chunk.interval.start,
            end=chunk.interval.end,
            intervals=len(chunk.intervals),
            seconds=round(time.monotonic() - began, 1),
        )

    def _take(self, chunk: Chunk, build: Callable[[], ChunkResult]) -> None:
        try:
            result = build()
        except UsageError:
            raise
        except FeatureStoreError as exc:
            self.failures.append((chunk.interval, exc))
            logger.warning("refused or failed", extra={"view": self.view, "range": str(chunk.interval)})
            return
        self.results.append(result)
        self.done += result.intervals
        self.rows += result.rows
        # A rerun that makes others stale adds to what there is to do.
        self.total = max(self.total, self.done)
        seconds = time.monotonic() - self.began
        logger.info(
            "backfilled",
            extra={
                "view": self.view,
                "range": str(chunk.interval),
                "done": f"{self.done}/{self.total}",
                "rows": self.rows,
                "seconds": round(seconds, 1),
                "left_seconds": round(seconds / self.done * (self.total - self.done)),
            },
        )
