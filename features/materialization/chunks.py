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

from features.core.schedule import Interval, join, split
from features.core.times import format_instant
from features.errors import FeatureStoreError, UsageError
from features.materialization.results import BuildResult, ChunkResult
from features.quality import GateRefusedError

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
        self._take(self._build(chunk))

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
        running: set[Future[_Outcome]] = set()
        with ThreadPoolExecutor(parallel, thread_name_prefix="backfill") as pool:
            try:
                while running or (ahead and not self.failures):
                    while ahead and not self.failures and len(running) < parallel:
                        running.add(pool.submit(in_thread(partial(self._tagged, ahead.pop(), tag))))
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        self._take(future.result())
            except BaseException:
                # Interrupted: what runs is told to end, again and again, since a build has several Spark jobs.
                while wait(running, timeout=_POLL_SECONDS).not_done:
                    self.spark.sparkContext.cancelJobsWithTag(tag)
                raise

    def _tagged(self, chunk: Chunk, tag: str) -> "_Outcome":
        self.spark.sparkContext.addJobTag(tag)
        return self._build(chunk)

    def _build(self, chunk: Chunk) -> "_Outcome":
        """Build a chunk or, where the gate refuses intervals of it, what lies around these."""
        outcome = _Outcome()
        try:
            outcome.results.append(self._build_range(chunk.intervals))
        except UsageError:
            raise
        except FeatureStoreError as exc:
            refused = _refused_ends(exc)
            sound = [i for i in chunk.intervals if refused and format_instant(i.end) not in refused]
            outcome.failures += [(part, exc) for part in join([i for i in chunk.intervals if i not in sound])]
            for part in split(sound, len(sound)):
                try:
                    outcome.results.append(self._build_range(part))
                except FeatureStoreError as again:
                    outcome.failures.append((Interval(part[0].start, part[-1].end), again))
        return outcome

    def _build_range(self, intervals: Sequence[Interval]) -> ChunkResult:
        began = time.monotonic()
        start, end = intervals[0].start, intervals[-1].end
        built, seconds = self.build(start, end), round(time.monotonic() - began, 1)
        return ChunkResult(**asdict(built), start=start, end=end, intervals=len(intervals), seconds=seconds)

    def _take(self, outcome: "_Outcome") -> None:
        self.failures += outcome.failures
        for interval, _ in outcome.failures:
            logger.warning("refused or failed", extra={"view": self.view, "range": str(interval)})
        for result in outcome.results:
            self._tell(result)

    def _tell(self, result: ChunkResult) -> None:
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
                "range": str(Interval(result.start, result.end)),
                "done": f"{self.done}/{self.total}",
                "rows": self.rows,
                "seconds": round(seconds, 1),
                "left_seconds": round(seconds / self.done * (self.total - self.done)),
            },
        )


@dataclass
class _Outcome:
    """What became of a chunk: the builds that it took, and what of it was refused or failed."""

    results: list[ChunkResult] = field(default_factory=list)
    failures: list[tuple[Interval, FeatureStoreError]] = field(default_factory=list)


def _refused_ends(exc: FeatureStoreError) -> frozenset[str]:
    """The ends of the intervals that the gate refused, where it was the gate and says which."""
    results = exc.results if isinstance(exc, GateRefusedError) else ()
    return frozenset(r.interval_end for r in results if r.severity == "refuse" and not r.passed and r.interval_end)
