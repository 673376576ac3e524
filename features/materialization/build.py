"""Building intervals: source -> transform -> gate -> offline log, all or nothing, and again without harm.

What readers see changes in one Delta commit. A run that is killed before it has published nothing; killed after it,
the rerun finds no difference, and sets the registry right.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.definitions import FeatureView
from features.core.profile import Profile
from features.core.schedule import Interval, cover
from features.core.times import format_instant, to_micros
from features.engine.changes import Nominal, difference, first_rows
from features.engine.session import persisted
from features.engine.source import Connections
from features.engine.stages import Stages, rows_scanned
from features.engine.transform import check_rows
from features.errors import FeatureStoreError, IntervalError, RefusedError, StorageError
from features.materialization.computing import Computed, compute
from features.materialization.ledger import Told, check_ended, check_overlap, find_span, reconcile, record_commit, tell
from features.materialization.maintenance.expired import check_not_expired, drop_expired
from features.materialization.publishing import (
    ATTEMPTS,
    Totals,
    append_changes,
    count_changes,
    logged_rows,
    reading_log,
    sum_changes,
)
from features.materialization.results import BuildResult
from features.materialization.source_drift import SourceWatch
from features.materialization.staleness import changed_sources, find_late
from features.materialization.upstreams import open_upstreams
from features.quality import GateRefusedError, Verdict, judge
from features.registry import IntervalOutcome, Registry
from features.stores.delta import FeatureLog
from features.stores.log_state import INTERVAL, Commit, Snapshot
from features.stores.quarantine import Quarantine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)


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
    connections: Connections = field(default_factory=dict)

    def build(
        self,
        view: FeatureView,
        applied: AppliedView,
        start: datetime,
        end: datetime,
        *,
        now: datetime | None = None,
        nominal: datetime | None = None,
        upstream_versions: Mapping[str, int] | None = None,
    ) -> BuildResult:
        """Compute the intervals of [start, end) and append what differs from the log, in one commit.

        Args:
            view, applied: the code, and the version that it was applied as.
            start, end: aware; whole intervals of the schedule.
            now: when a rerun counts as started, and so when its corrections are known, plus delay; None: the present.
            nominal: the same for a scheduled `reprocess`, whose clock is its own interval's end.
            upstream_versions: the Delta version to read of a view that this one reads, by its name or `name@version`;
                of all others the newest.

        Raises:
            IntervalError: the range is reversed, off the schedule, not over yet, past retention, or (without one)
                overlaps a built range; the ledger stays as it is.
            SourceError, TransformError: with the view's name and the cause.
            UpstreamError: a view that this one reads lacks intervals, for now.
            RefusedError: the gate refused an interval, or an imported log has changed in one that was built.
            StorageError: the log cannot be written, or other runs kept winning the race for its next position.
        """
        intervals = cover(applied.schedule, start, end)
        check_ended(applied, intervals, now=datetime.now(UTC))
        log = FeatureLog(self.spark, self.warehouse, applied)
        clock = nominal or now or datetime.now(UTC)
        run_id = self.registry.start_run(kind="build", view=applied, start=start, end=end, now=clock)
        try:
            watch = SourceWatch(self.registry, applied, run_id, since=intervals[0].end, until=intervals[-1].end)
            run = _Run(self, view, applied, log, intervals, clock, run_id, upstream_versions or {}, watch)
            result = run.execute()
        except GateRefusedError as exc:
            self.registry.record_validation(run_id, [asdict(result) for result in exc.results])
            self._record_failure(applied, run_id, intervals, "refused", str(exc))
            raise
        except IntervalError as exc:
            # Nothing was done to what was asked wrongly: the ledger keeps what it knows of these intervals.
            self.registry.finish_run(run_id, status="failed", message=str(exc)[:2000])
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
    upstream_versions: Mapping[str, int]
    watch: SourceWatch

    def execute(self) -> BuildResult:
        reconcile(self.builder.registry, self.log, self.applied)
        check_overlap(self.builder.registry, self.applied, self.intervals)
        check_not_expired(self.builder.registry, self.applied, self.intervals)
        name = self.applied.reference
        start, end = self.intervals[0].start, self.intervals[-1].end
        stages = Stages(logger, name)
        upstreams = open_upstreams(
            self.log, self.builder.registry, self.applied, self.intervals, self.upstream_versions, run_id=self.run_id
        )
        computed = compute(
            self.builder.spark,
            self.view,
            self.applied,
            self.intervals,
            upstreams,
            connections=self.builder.connections,
            check=self.watch.check,
        )
        with persisted(computed.rows) as rows:
            count = check_rows(rows, self.applied, name)
            stages.tell("transformed", rows_in=rows_scanned(rows), rows=count, start=start, end=end)
            span = find_span(self.builder.registry, self.applied, self.intervals, computed.newest)
            verdict = judge(rows.drop("_copies", "_alike"), self.applied, span)
            self._record_verdict(verdict)
            withheld = verdict.quarantined_rows
            stages.tell("judged", rows_in=count, rows=count - withheld, quarantined=withheld)
            with self.builder.publishing:
                result = self._publish(verdict, count, computed)
            changes = {"rows": result.rows, "corrections": result.corrections, "retractions": result.retractions}
            told = {"quarantined": result.quarantined, "delta_version": result.delta_version}
            stages.end(result.status, rows_in=count - withheld, **changes, **told)
            return result

    def _record_verdict(self, verdict: Verdict) -> None:
        results = [asdict(result) for result in verdict.results]
        self.builder.registry.record_validation(self.run_id, results)

    def _publish(self, verdict: Verdict, count: int, computed: Computed) -> BuildResult:
        quarantine = Quarantine(self.builder.spark, self.builder.warehouse, self.applied)
        ends = [interval.end for interval in self.intervals]
        for _ in range(ATTEMPTS):
            snapshot = self.log.snapshot()
            if self.applied.schedule is None:
                # One that overlaps may have been committed since this run began; later ones win the race of appending.
                reconcile(self.builder.registry, self.log, self.applied)
                check_overlap(self.builder.registry, self.applied, self.intervals)
            reruns = self._reruns(snapshot)
            # After the snapshot: a release marks its rows before it publishes them.
            withheld = quarantine.compare(ends, verdict.quarantined)
            accepted = verdict.accepted
            if withheld.released is not None:
                accepted = accepted.unionByName(withheld.released.select(accepted.columns))
            with persisted(self._changes(accepted, snapshot, reruns)) as changes:
                totals = count_changes(changes, self.applied)
                if self.applied.is_imported and totals and set(totals) & reruns:
                    raise self._changed_import(totals, reruns)
                told = self._tell(totals, verdict.profiles, reruns, computed, snapshot)
                # Before the log: a release reads them in the opposite order, so it has these rows, or loses its race.
                if withheld.differs:
                    quarantine.replace(ends, withheld, run_id=self.run_id)
                commit = None
                if totals:
                    commit = append_changes(self.log, changes, self.applied, snapshot, told, self.run_id)
                    is_done = commit is not None
                else:
                    is_done = not withheld.differs or self.log.snapshot() == snapshot
            if is_done:
                kept = verdict.quarantined_rows - withheld.released_rows
                return self._finish(totals, told, kept, count, commit, snapshot)
            logger.warning("another run committed first: comparing again", extra={"view": self.applied.reference})
        raise StorageError(
            f"other runs of {self.applied.reference} committed first, {ATTEMPTS} times in a row; run it again, alone"
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
            with reading_log(self.applied):
                held = logged_rows(self.log, snapshot, missing).select(F.unix_micros(INTERVAL)).distinct().collect()
            built |= {end for end in missing if any(row[0] == to_micros(end) for row in held)}
        return ends & built

    def _changes(self, accepted: "DataFrame", snapshot: Snapshot | None, reruns: set[datetime]) -> "DataFrame":
        starts = {i.end: self.clock if i.end in reruns else i.end for i in self.intervals}
        nominal = Nominal(starts=starts)
        ends = sorted(starts)
        # Asked after the snapshot was taken: a retention that it shows is told by then, a later one wins the position.
        kept_from = self.builder.registry.retained_from(self.applied)
        accepted = drop_expired(accepted, kept_from)
        if snapshot is None or not reruns or not self.log.may_hold(snapshot, ends):
            return first_rows(accepted, self.applied, nominal)
        logged = drop_expired(logged_rows(self.log, snapshot, ends), kept_from)
        return difference(accepted, logged, self.applied, nominal)

    def _tell(
        self,
        totals: Totals,
        profiles: Mapping[datetime, Profile],
        reruns: set[datetime],
        computed: Computed,
        snapshot: Snapshot | None,
    ) -> Told:
        rows = {end: total["rows"] for end, total in totals.items()}
        other = changed_sources(self.builder.registry, self.applied, self.intervals, computed.held)
        changed = sorted(reruns & (totals.keys() | other))
        late = find_late(self.builder.registry, self.log, snapshot, self.applied, self.intervals, changed)
        return tell(
            self.intervals,
            profiles=profiles,
            rows=rows,
            fingerprints=computed.held,
            changed=changed,
            late=late,
            reads=computed.reads,
            view=self.applied,
        )

    def _changed_import(self, totals: Totals, reruns: set[datetime]) -> RefusedError:
        changed = {end: t for end, t in totals.items() if end in reruns}
        lines = [f"{t['rows']} rows in the interval that ends {format_instant(e)}" for e, t in sorted(changed.items())]
        return RefusedError(
            f"{self.applied.reference} is an imported log, whose built intervals must not change, but its source did: "
            f"{'; '.join(lines)}; restore the source, or import the new rows under a later created time"
        )

    def _finish(
        self,
        totals: Totals,
        told: Told,
        withheld: int,
        count: int,
        commit: Commit | None,
        before: Snapshot | None,
    ) -> BuildResult:
        registry = self.builder.registry
        after = commit or before
        position, version = (after.position, after.version) if after is not None else (None, None)
        told.record(registry, self.log, self.applied, self.run_id, position=position, version=version)
        if commit is not None:
            record_commit(registry, self.applied, commit)
        self.watch.record()
        sums = sum_changes(totals)
        status = "empty" if count == 0 else "built" if totals else "unchanged"
        counts = {**sums, "quarantined": withheld}
        registry.finish_run(
            self.run_id,
            status=status,
            message=self.watch.notice,
            position=commit.position if commit is not None else None,
            delta_version=version,
            committed_at=commit.committed_at if commit is not None else None,
            counts=counts,
        )
        return BuildResult(
            status=status,
            quarantined=withheld,
            delta_version=version,
            position=position,
            run_id=self.run_id,
            **sums,
        )
