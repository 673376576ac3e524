"""Building intervals: source -> transform -> gate -> offline log, all or nothing, and again without harm.

What readers see changes in one Delta commit. A run that is killed before it has published nothing; killed after it,
the rerun finds no difference, and sets the registry right.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.definitions import FeatureView
from features.core.schedule import Interval, cover
from features.core.times import format_instant, to_micros
from features.engine.changes import CORRECTS, Nominal, difference, first_rows
from features.engine.session import persisted
from features.engine.transform import check_rows, collect_one
from features.errors import FeatureStoreError, RefusedError, StorageError
from features.materialization.computing import compute
from features.materialization.ledger import Told, check_overlap, reconcile, record_commit, tell
from features.materialization.results import BuildResult
from features.materialization.staleness import changed_sources, find_late
from features.materialization.upstreams import open_upstreams
from features.quality import GateRefusedError, Verdict, judge
from features.registry import IntervalOutcome, Registry
from features.stores.delta import EVENT, INTERVAL, OP, RETRACT, Commit, FeatureLog, Snapshot, micros_literal
from features.stores.quarantine import Quarantine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)

# Each lost race means that another run of the same view has committed; so many in a row is a fault.
_ATTEMPTS = 5
_ROWS_PER_FILE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Builder:
    """What builds of one environment share: the session, the registry and the warehouse's path.

    publishing: held while a build compares and commits: builds of one view that run side by side in this process take
    turns at it, since of two that commit at once one would do it over.
    """

    spark: "SparkSession"
    registry: Registry
    warehouse: str
    publishing: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def build(
        self,
        view: FeatureView,
        applied: AppliedView,
        start: datetime,
        end: datetime,
        *,
        now: datetime | None = None,
        nominal: datetime | None = None,
    ) -> BuildResult:
        """Compute the intervals of [start, end) and append what differs from the log, in one commit.

        Args:
            view, applied: the code, and the version that it was applied as.
            start, end: aware; whole intervals of the schedule.
            now: when a rerun counts as started, and so when its corrections are known, plus delay; None: the present.
            nominal: the same for a scheduled `reprocess`, whose clock is its own interval's end.

        Raises:
            IntervalError: the range is reversed, off the schedule, or (without one) overlaps a built range.
            SourceError, TransformError: with the view's name and the cause.
            RefusedError: the gate refused an interval, or an imported log has changed in one that was built.
            StorageError: the log cannot be written, or other runs kept winning the race for its next position.
        """
        intervals = cover(applied.schedule, start, end)
        log = FeatureLog(self.spark, self.warehouse, applied)
        clock = nominal or now or datetime.now(UTC)
        run_id = self.registry.start_run(kind="build", view=applied, start=start, end=end, now=clock)
        run = _Run(self, view, applied, log, intervals, clock, run_id)
        try:
            result = run.execute()
        except GateRefusedError as exc:
            self.registry.record_validation(run_id, [asdict(result) for result in exc.results])
            self._record_failure(applied, run_id, intervals, "refused", str(exc))
            raise
        except FeatureStoreError as exc:
            refused = isinstance(exc, RefusedError)
            self._record_failure(applied, run_id, intervals, "refused" if refused else "failed", str(exc))
            raise
        except BaseException as exc:
            self._record_failure(applied, run_id, intervals, "failed", f"{type(exc).__name__}: {exc}")
            raise
        return result

    def _record_failure(
        self, applied: AppliedView, run_id: str, intervals: Sequence[Interval], status: str, message: str
    ) -> None:
        outcomes = [IntervalOutcome(interval=interval, status=status) for interval in intervals]
        self.registry.record_intervals(applied, run_id, outcomes)
        self.registry.finish_run(run_id, status=status, message=message[:2000])


@dataclass(frozen=True)
class _Run:
    """One build, from its sources to its entry in the ledger."""

    builder: Builder
    view: FeatureView
    applied: AppliedView
    log: FeatureLog
    intervals: tuple[Interval, ...]
    clock: datetime
    run_id: str

    def execute(self) -> BuildResult:
        reconcile(self.builder.registry, self.log, self.applied)
        check_overlap(self.builder.registry, self.applied, self.intervals)
        name = self.applied.reference
        start, end = self.intervals[0].start, self.intervals[-1].end
        upstreams = open_upstreams(self.builder.spark, self.builder.registry, self.builder.warehouse, self.applied)
        computed = compute(self.builder.spark, self.view, self.applied, self.intervals, upstreams)
        with persisted(computed.rows) as rows:
            count = check_rows(rows, self.applied, name)
            logger.info("transformed", extra={"view": name, "rows": count, "start": start, "end": end})
            verdict = judge(rows.drop("_copies", "_alike"), self.applied)
            self._record_verdict(verdict)
            with self.builder.publishing:
                return self._publish(verdict, count, computed.held)

    def _record_verdict(self, verdict: Verdict) -> None:
        results = [asdict(result) for result in verdict.results]
        self.builder.registry.record_validation(self.run_id, results)

    def _publish(self, verdict: Verdict, count: int, held: Mapping[datetime, str]) -> BuildResult:
        filled = set(self._filled(verdict, count))
        for _ in range(_ATTEMPTS):
            snapshot = self.log.snapshot()
            reruns = self._reruns(snapshot)
            changes = self._changes(verdict.accepted, snapshot, reruns)
            with persisted(changes) as appended:
                totals = self._totals(appended)
                if self.applied.is_imported and totals and set(totals) & reruns:
                    raise self._changed_import(totals, reruns)
                told = self._tell(totals, filled, reruns, held, snapshot)
                commit = self._append(appended, snapshot, told)
            if commit is not None or not totals:
                self._quarantine(verdict)
                return self._finish(totals, told, verdict, count, commit, snapshot)
            logger.warning("another run committed first: comparing again", extra={"view": self.applied.reference})
        raise StorageError(
            f"other runs of {self.applied.reference} committed first, {_ATTEMPTS} times in a row; run it again, alone"
        )

    def _reruns(self, snapshot: Snapshot | None) -> set[datetime]:
        """The ends of the intervals that were built before: by the ledger, or by what a killed run left in the log."""
        from pyspark.sql import functions as F

        start, end = self.intervals[0].start, self.intervals[-1].end
        judged = self.builder.registry.ledger(self.applied, since=start, until=end)
        built = {entry.interval.end for entry in judged if entry.built}
        ends = {interval.end for interval in self.intervals}
        missing = sorted(ends - built)
        if missing and snapshot is not None and self.log.may_hold(snapshot, missing):
            held = self._logged(snapshot, missing).select(F.unix_micros(INTERVAL)).distinct().collect()
            built |= {end for end in missing if any(row[0] == to_micros(end) for row in held)}
        return ends & built

    def _logged(self, snapshot: Snapshot, ends: Sequence[datetime]) -> "DataFrame":
        from pyspark.sql import functions as F

        frame = self.log.read(snapshot)
        # The range prunes files by their statistics; the list is exact.
        ranged = frame.where(F.col(INTERVAL).between(micros_literal(min(ends)), micros_literal(max(ends))))
        return ranged if len(ends) == 1 else ranged.where(F.col(INTERVAL).isin([micros_literal(e) for e in ends]))

    def _changes(self, accepted: "DataFrame", snapshot: Snapshot | None, reruns: set[datetime]) -> "DataFrame":
        starts = {i.end: self.clock if i.end in reruns else i.end for i in self.intervals}
        nominal = Nominal(starts=starts)
        ends = sorted(starts)
        if snapshot is None or not reruns or not self.log.may_hold(snapshot, ends):
            return first_rows(accepted, self.applied, nominal)
        return difference(accepted, self._logged(snapshot, ends), self.applied, nominal)

    def _totals(self, appended: "DataFrame") -> dict[datetime, dict[str, int]]:
        """Rows, corrections and retractions to append, by the end of their interval."""
        from pyspark.sql import functions as F

        counted = appended.groupBy(F.unix_micros(INTERVAL).alias("end")).agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if(CORRECTS).alias("corrections"),
            F.count_if(F.col(OP) == RETRACT).alias("retractions"),
        )
        listed = collect_one(counted.groupBy().agg(F.collect_list(F.struct("*")).alias("all")), self.applied.reference)
        ends = {to_micros(i.end): i.end for i in self.intervals}
        return {
            ends[r["end"]]: {name: r[name] for name in ("rows", "corrections", "retractions")} for r in listed["all"]
        }

    def _tell(
        self,
        totals: Mapping[datetime, Mapping[str, int]],
        filled: set[datetime],
        reruns: set[datetime],
        held: Mapping[datetime, str],
        snapshot: Snapshot | None,
    ) -> Told:
        rows = {end: total["rows"] for end, total in totals.items()}
        other = changed_sources(self.builder.registry, self.applied, self.intervals, held)
        changed = sorted(reruns & (totals.keys() | other))
        late = find_late(self.builder.registry, self.log, snapshot, self.applied, self.intervals, changed)
        return tell(
            self.intervals, filled=filled, rows=rows, fingerprints=held, changed=changed, late=late, view=self.applied
        )

    def _append(self, appended: "DataFrame", snapshot: Snapshot | None, told: Told) -> Commit | None:
        rows = told.rows
        if not rows:
            return None
        keys = list(self.applied.join_keys)
        files = max(1, rows // _ROWS_PER_FILE)
        parts = appended.coalesce(1) if files == 1 else appended.repartitionByRange(files, *keys, EVENT)
        ordered = parts.sortWithinPartitions(*keys, EVENT)
        position = (snapshot.position if snapshot is not None else 0) + 1
        return self.log.append(ordered, position=position, run_id=self.run_id, note=told.note())

    def _quarantine(self, verdict: Verdict) -> None:
        quarantine = Quarantine(self.builder.spark, self.builder.warehouse, self.applied)
        quarantine.replace([i.end for i in self.intervals], verdict.quarantined, run_id=self.run_id)

    def _changed_import(self, totals: Mapping[datetime, Mapping[str, int]], reruns: set[datetime]) -> RefusedError:
        changed = {end: t for end, t in totals.items() if end in reruns}
        lines = [f"{t['rows']} rows in the interval that ends {format_instant(e)}" for e, t in sorted(changed.items())]
        return RefusedError(
            f"{self.applied.reference} is an imported log, whose built intervals must not change, but its source did: "
            f"{'; '.join(lines)}; restore the source, or import the new rows under a later created time"
        )

    def _finish(
        self,
        totals: Mapping[datetime, Mapping[str, int]],
        told: Told,
        verdict: Verdict,
        count: int,
        commit: Commit | None,
        before: Snapshot | None,
    ) -> BuildResult:
        registry = self.builder.registry
        after = commit or before
        position, version = (after.position, after.version) if after is not None else (None, None)
        told.record(registry, self.applied, self.run_id, position=position, version=version)
        if commit is not None:
            record_commit(registry, self.applied, commit)
        sums = {name: sum(t[name] for t in totals.values()) for name in ("rows", "corrections", "retractions")}
        status = "empty" if count == 0 else "built" if totals else "unchanged"
        counts = {**sums, "quarantined": verdict.quarantined_rows}
        registry.finish_run(
            self.run_id,
            status=status,
            position=commit.position if commit is not None else None,
            delta_version=version,
            committed_at=commit.committed_at if commit is not None else None,
            counts=counts,
        )
        logger.info(status, extra={"view": self.applied.reference, **counts, "delta_version": version})
        return BuildResult(status=status, delta_version=version, quarantined=verdict.quarantined_rows, **sums)

    def _filled(self, verdict: Verdict, count: int) -> Iterator[datetime]:
        """The ends of the intervals that got rows from the transform."""
        from pyspark.sql import functions as F

        if len(self.intervals) == 1:
            yield from [self.intervals[0].end] if count else []
            return
        ends = {to_micros(i.end): i.end for i in self.intervals}
        for frame in (verdict.accepted, verdict.quarantined):
            if frame is not None and count:
                yield from (ends[r[0]] for r in frame.select(F.unix_micros(INTERVAL)).distinct().collect())
