"""Building intervals again: what the ledger says is missing or stale, and past ones for late data."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from features.core.applied import AppliedView
from features.core.definitions import FeatureView
from features.core.schedule import Interval, cover, join, previous_intervals, split
from features.errors import FeatureStoreError, UsageError
from features.materialization.build import Builder
from features.materialization.chunks import Chunk, ChunkWork
from features.materialization.ledger import has_ended
from features.materialization.maintenance.expired import Kept
from features.materialization.results import BuildResult, ChunkResult
from features.registry import Pace, Registry

logger = logging.getLogger(__name__)

# A chunk is a commit: enough to spread what a build costs by itself, few enough that a kill loses little.
_ROWS = 5_000_000
_MOST_INTERVALS = 366
# Of a view that no run has told anything of.
_FIRST_CHUNK = 31
_MOST_REPROCESSED = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillPlan:
    """What a backfill would build, in order. pace: of builds of that view so far; None: there was none.

    Reruns may make later intervals stale, which then come on top.
    """

    view: str
    chunks: tuple[Chunk, ...]
    pace: Pace | None

    @property
    def intervals(self) -> int:
        """In all."""
        return sum(len(chunk.intervals) for chunk in self.chunks)

    @property
    def seconds(self) -> float | None:
        """An estimate, for one chunk after the other."""
        return None if self.pace is None else self.pace.seconds(self.intervals, runs=len(self.chunks))

    @property
    def rows(self) -> int | None:
        """An estimate of those appended."""
        return None if self.pace is None else round(self.pace.rows_per_interval * self.intervals)


class BackfillError(FeatureStoreError):
    """Chunks of a backfill were refused or failed. What was built before, and beside them, stays.

    built: the chunks that were. failures: range and error of each that was not. remaining: the intervals that are
    still missing or stale, theirs included.
    """

    def __init__(
        self,
        view: str,
        *,
        built: Sequence[ChunkResult],
        failures: Sequence[tuple[Interval, FeatureStoreError]],
        remaining: Sequence[Interval],
    ) -> None:
        """See the attributes."""
        self.built, self.failures, self.remaining = tuple(built), tuple(failures), tuple(remaining)
        errors = {id(error): error for _, error in failures}
        told = "\n".join(
            f"{', '.join(str(interval) for interval, error in failures if id(error) == key)}: {errors[key]}"
            for key in errors
        )
        ranges = ", ".join(map(str, join(self.remaining))) or "nothing"
        super().__init__(
            f"the backfill of {view} stopped after {len(built)} builds; repair the cause, then run it again\n{told}\n"
            f"still to build: {len(self.remaining)} intervals, {ranges}"
        )


@dataclass(frozen=True, kw_only=True)
class Backfill:
    """The intervals of [start, end) that are missing, stale, or were refused or failed; all where `every`.

    chunk: intervals of one build at most; None: by the rows that intervals had so far. parallel: builds at once.

    Raises: UsageError: chunk or parallel; IntervalError: the range does not cover whole intervals.
    """

    registry: Registry
    applied: AppliedView
    start: datetime
    end: datetime
    every: bool = False
    chunk: int | None = None
    parallel: int = 1
    most_parallel: int = 4

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk < 1:
            raise UsageError(f"chunk={self.chunk} must be at least 1 interval")
        if not 1 <= self.parallel <= self.most_parallel:
            raise UsageError(
                f"parallel={self.parallel} must be between 1 and {self.most_parallel} (setting backfill.max_parallel)"
            )
        cover(self.applied.schedule, self.start, self.end)

    def plan(self) -> BackfillPlan:
        """What `run` would build now; reads the registry alone."""
        reruns, firsts = self._wanted(self.start)
        size = self._chunk_size(len(reruns) + len(firsts))
        chunks = [Chunk(intervals=part, reruns=True) for part in split(reruns, size)]
        chunks += [Chunk(intervals=part, reruns=False) for part in split(firsts, size)]
        pace = self.registry.pace(view=self.applied.name, version=self.applied.version, schedule=self.applied.schedule)
        return BackfillPlan(view=self.applied.reference, chunks=tuple(chunks), pace=pace)

    def run(self, builder: Builder, view: FeatureView) -> tuple[ChunkResult, ...]:
        """Build them, chunk by chunk, each one commit; what is built stays, and the next call goes on from there.

        First those that were built before, oldest first and one after the other, since a rerun can make later ones
        stale; then, `at_once` side by side, those that were not: no build of one reads what another publishes. After a
        chunk that was refused or failed no other is begun; of one that the gate refused, the intervals that it did not
        refuse are built.

        Raises: BackfillError: see there; UsageError, IntervalError: as `Builder.build`.
        """
        work = ChunkWork(
            build=partial(replace(builder, publishing=threading.Lock()).build, view, self.applied),
            view=self.applied.reference,
            total=self.plan().intervals,
            spark=builder.spark,
        )
        done = self.start
        while not work.failures and (reruns := self._wanted(done)[0]):
            size = self._chunk_size(len(reruns))
            first = next(split(reruns, size))
            work.do(Chunk(intervals=first, reruns=True))
            done = first[-1].end
        if not work.failures:
            firsts = self._wanted(self.start)[1]
            parts = split(firsts, self._chunk_size(len(firsts)))
            work.do_all([Chunk(intervals=part, reruns=False) for part in parts], parallel=self.at_once)
        if work.failures:
            raise BackfillError(
                self.applied.reference, built=work.results, failures=work.failures, remaining=self._remaining(work)
            )
        return tuple(sorted(work.results, key=lambda result: result.start))

    @property
    def at_once(self) -> int:
        """How many builds go on side by side: one where the gate compares each interval with those before it."""
        return 1 if any(check.over for check in self.applied.checks) else self.parallel

    def _wanted(self, since: datetime) -> tuple[list[Interval], list[Interval]]:
        """The intervals from `since` on that are to be built again, and those that never were.

        What lies past the retention stays as it is: of what was built a rerun has nothing to compare with, and what
        never was would be removed again. What is not over is not wanted yet.
        """
        known = {e.interval: e for e in self.registry.ledger(self.applied, since=since, until=self.end)}
        kept, now = Kept.of(self.registry, self.applied), datetime.now(UTC)
        reruns, firsts = [], []
        for interval in cover(self.applied.schedule, self.start, self.end):
            entry = known.get(interval)
            if interval.start < since or not has_ended(self.applied, interval, now=now):
                continue
            if entry is None or not entry.built:
                if not kept.is_past(interval):
                    firsts.append(interval)
            elif self.every or (
                (entry.stale or entry.status not in ("built", "empty")) and not kept.lacks(entry.interval)
            ):
                reruns.append(interval)
        return reruns, firsts

    def _remaining(self, work: ChunkWork) -> list[Interval]:
        covered = [Interval(result.start, result.end) for result in work.results]
        reruns, firsts = self._wanted(self.start)
        return sorted(
            interval
            for interval in (*reruns, *firsts)
            if not (self.every and any(c.start <= interval.start and interval.end <= c.end for c in covered))
        )

    def _chunk_size(self, intervals: int) -> int:
        if self.chunk is not None:
            return self.chunk
        # Of an interval that was built again the ledger's rows are those that this appended: corrections, perhaps.
        latest = self.registry.profiles(self.applied, before=datetime.max.replace(tzinfo=UTC), limit=_MOST_INTERVALS)
        built = [entry.rows for entry in self.registry.ledger(self.applied) if entry.built]
        most = max((*built, *(profile.rows for profile in latest)), default=0)
        size = _FIRST_CHUNK if not most else max(1, min(_MOST_INTERVALS, _ROWS // most))
        # Each of those that work beside each other gets something to do.
        return max(1, min(size, -(-intervals // self.at_once)))


def backfill(
    builder: Builder,
    view: FeatureView,
    applied: AppliedView,
    start: datetime,
    end: datetime,
    *,
    every: bool = False,
    chunk: int | None = None,
    parallel: int = 1,
) -> tuple[ChunkResult, ...]:
    """See `Backfill.run`."""
    wanted = Backfill(
        registry=builder.registry, applied=applied, start=start, end=end, every=every, chunk=chunk, parallel=parallel
    )
    return wanted.run(builder, view)


def rerun_past(
    builder: Builder,
    view: FeatureView,
    applied: AppliedView,
    start: datetime,
    end: datetime,
    *,
    count: int,
    upstream_versions: Mapping[str, int] | None = None,
) -> tuple[BuildResult, ...]:
    """Build again those of the `count` intervals before a run's own that were built, for late data.

    Those past retention are left out: what late rows bring there would be removed again. What changed in the others
    counts as known from the run's own interval's end on. Where that interval was built before, the
    run has been cleared and comes again, perhaps years later: then from now on.

    Args:
        start, end: of the run's own interval, or range of them.
        upstream_versions: as of `Builder.build`.

    Raises: UsageError: the count; else as `Builder.build`.
    """
    if not 0 <= count <= _MOST_REPROCESSED:
        raise UsageError(f"reprocess={count} must be between 0 and {_MOST_REPROCESSED}; for more, use backfill")
    own = cover(applied.schedule, start, end)
    if not count or applied.schedule is None:
        return ()
    past = previous_intervals(applied.schedule, start, count)
    judged = builder.registry.ledger(applied, since=past[0].start, until=end)
    built = {entry.interval for entry in judged if entry.built}
    nominal = None if built & set(own) else end
    wanted = [interval for interval in past if interval in built]
    left = Kept.of(builder.registry, applied)
    kept = [interval for interval in wanted if not left.lacks(interval)]
    if len(kept) < len(wanted):
        logger.info(
            "past retention: not built again", extra={"view": applied.reference, "intervals": len(wanted) - len(kept)}
        )
    return tuple(
        builder.build(view, applied, interval.start, interval.end, nominal=nominal, upstream_versions=upstream_versions)
        for interval in kept
    )
