"""What becomes of withheld rows: they are listed, shown, released into the log, or dropped.

A release marks rows in the quarantine, and then publishes all marked rows of its range that the log lacks. Killed in
between, it is finished by the next release of the range, or by its next build: both take marked rows for accepted.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.schedule import Interval, cover
from features.core.times import format_instant, to_micros
from features.engine.changes import Nominal, difference, first_rows
from features.engine.session import persisted
from features.errors import FeatureStoreError, RefusedError, StorageError
from features.materialization.ledger import Told, reconcile, record_commit
from features.materialization.maintenance.expired import drop_expired
from features.materialization.publishing import (
    ATTEMPTS,
    Totals,
    append_changes,
    count_changes,
    logged_rows,
    sum_changes,
)
from features.materialization.results import ReleaseResult
from features.materialization.staleness import find_late
from features.registry import Registry
from features.stores.delta import FeatureLog
from features.stores.log_state import EVENT, INTERVAL, Commit, Snapshot
from features.stores.quarantine import Quarantine
from features.stores.quarantine_reading import Chosen, QuarantineTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)

_SHOWN_INTERVALS = 5


@dataclass(frozen=True, kw_only=True)
class Releaser:
    """What releases and drops of one environment share."""

    spark: "SparkSession"
    registry: Registry
    warehouse: str

    def release(
        self,
        view: AppliedView,
        start: datetime,
        end: datetime,
        *,
        keys: Sequence[Mapping[str, Any]] | None = None,
        now: datetime | None = None,
        actor: str,
    ) -> ReleaseResult:
        """Publish withheld rows of the intervals of [start, end) as corrections, known from the release on.

        Their created time is the release's start plus the view's delay, or later than all that was known of the row. A
        rerun that withholds the same values again leaves them published; one that computes others withholds these.

        Args:
            view: the version.
            start, end: aware; whole intervals of the schedule.
            keys: only rows of these, each naming join keys, all or some of them; None: all rows.
            now: when the release counts as started; None: the present.
            actor: who releases them, for the marks and the audit log.

        Raises:
            IntervalError, UsageError: the range, or the keys.
            RefusedError: the view is an imported log, or an interval with such rows is not built.
            StorageError: log or quarantine cannot be read or written, or builds kept winning the race.
        """
        cover(view.schedule, start, end)
        if view.is_imported:
            raise RefusedError(
                f"{view.reference} is an imported log, whose built intervals must not change: repair the rows, or the "
                "expectation, and import them under a later created time"
            )
        chosen = Chosen(start=start, end=end, keys=keys)
        log = FeatureLog(self.spark, self.warehouse, view)
        reconcile(self.registry, log, view)
        clock = now or datetime.now(UTC)
        with self._recorded("release", view, chosen, clock) as run_id:
            return _Release(self, view, log, chosen, clock, run_id, actor).execute()

    def drop(
        self,
        view: AppliedView,
        start: datetime,
        end: datetime,
        *,
        keys: Sequence[Mapping[str, Any]] | None = None,
        actor: str,
    ) -> int:
        """Remove withheld rows of the intervals of [start, end), save the released ones; how many.

        The audit log keeps that they were there. A rerun of an interval that computes them again withholds them again.

        Raises: IntervalError, UsageError: the range, or the keys; StorageError.
        """
        cover(view.schedule, start, end)
        chosen = Chosen(start=start, end=end, keys=keys)
        with self._recorded("drop", view, chosen, datetime.now(UTC)) as run_id:
            quarantine = Quarantine(self.spark, self.warehouse, view)
            rows = quarantine.table.count_unreleased(chosen)
            if rows:
                self.note("drop quarantined", view, chosen, rows=rows, run_id=run_id, actor=actor)
                quarantine.remove(chosen)
            self.registry.finish_run(run_id, status="dropped" if rows else "unchanged", counts={"rows": rows})
        logger.info("dropped", extra={"view": view.reference, "rows": rows})
        return rows

    def note(self, action: str, view: AppliedView, chosen: Chosen, *, rows: int, run_id: str, actor: str) -> None:
        """Tell the audit log."""
        # As the gate writes keys, so that an erasure finds them.
        keys = None if chosen.keys is None else [tell_key(key) for key in chosen.keys]
        bounds = {"start": chosen.start, "end": chosen.end}
        told = {name: format_instant(bound) for name, bound in bounds.items() if bound is not None}
        detail = {"view": view.reference, **told, "keys": keys, "rows": rows, "run_id": run_id}
        self.registry.note(action, detail, actor=actor)

    @contextmanager
    def _recorded(self, kind: str, view: AppliedView, chosen: Chosen, clock: datetime) -> Iterator[str]:
        chosen.check(view)
        run_id = self.registry.start_run(kind=kind, view=view, start=chosen.start, end=chosen.end, now=clock)
        try:
            yield run_id
        except BaseException as exc:
            status = "refused" if isinstance(exc, RefusedError) else "failed"
            message = str(exc) if isinstance(exc, FeatureStoreError) else f"{type(exc).__name__}: {exc}"
            self.registry.finish_run(run_id, status=status, message=message[:2000])
            raise


@dataclass(frozen=True)
class _Release:
    """One release, from its marks to its entry in the ledger."""

    releaser: Releaser
    view: AppliedView
    log: FeatureLog
    chosen: Chosen
    clock: datetime
    run_id: str
    actor: str

    def execute(self) -> ReleaseResult:
        quarantine = Quarantine(self.releaser.spark, self.releaser.warehouse, self.view)
        intervals = self._built(quarantine.table)
        if not intervals:
            return self._finish({}, None, self.log.snapshot(), 0, ())
        # None that a build has withheld since: what it is a part of may not be published yet.
        chosen = replace(self.chosen, ends=tuple(intervals))
        marked = quarantine.table.count_unreleased(chosen)
        if marked:
            # Told first: what was done must be found there, whoever is killed.
            self.releaser.note(
                "release quarantined", self.view, self.chosen, rows=marked, run_id=self.run_id, actor=self.actor
            )
            quarantine.mark(chosen, at=self.clock, by=self.actor)
        for _ in range(ATTEMPTS):
            snapshot = self.log.snapshot()
            # After the snapshot: a build writes the quarantine before the log.
            version, released = quarantine.released(chosen)
            with persisted(self._changes(released, snapshot, sorted(intervals))) as changes:
                totals = count_changes(changes, self.view)
                if not totals:
                    return self._finish({}, None, snapshot, marked, ())
                told = self._tell(totals, snapshot, intervals)
                commit = append_changes(self.log, changes, self.view, snapshot, told, self.run_id)
                if commit is not None:
                    place = {"position": commit.position, "version": commit.version}
                    told.record(self.releaser.registry, self.log, self.view, self.run_id, **place)
                    overtaken = self._overtaken(quarantine, version, changes, intervals)
                    return self._finish(totals, commit, snapshot, marked, overtaken)
            logger.warning("another run committed first: comparing again", extra={"view": self.view.reference})
        raise StorageError(
            f"other runs of {self.view.reference} committed first, {ATTEMPTS} times in a row; run it again, alone"
        )

    def _built(self, table: QuarantineTable) -> dict[datetime, Interval]:
        """The intervals with chosen rows, by their ends. Raises: RefusedError: one of them is not built."""
        ends = {end for end in table.read(self.chosen, [INTERVAL])[INTERVAL].to_pylist() if end is not None}
        entries = self.releaser.registry.ledger(self.view, since=self.chosen.start, until=self.chosen.end)
        built = {entry.interval.end: entry.interval for entry in entries if entry.built}
        if missing := sorted(ends - built.keys()):
            shown = ", ".join(format_instant(end) for end in missing[:_SHOWN_INTERVALS])
            more = f" and {len(missing) - _SHOWN_INTERVALS} more" if len(missing) > _SHOWN_INTERVALS else ""
            raise RefusedError(
                f"the run that withheld rows of {self.view.reference} in the intervals that end at {shown}{more} was "
                "not completed, so that nothing of them is published yet: build them, then release"
            )
        return {end: built[end] for end in sorted(ends)}

    def _changes(self, released: "DataFrame", snapshot: Snapshot | None, ends: Sequence[datetime]) -> "DataFrame":
        nominal = Nominal(starts=dict.fromkeys(ends[:1], self.clock))
        released = drop_expired(released, self.releaser.registry.retained_from(self.view))
        if snapshot is None:
            return first_rows(released, self.view, nominal)
        identity = [*self.view.join_keys, EVENT, INTERVAL]
        logged = logged_rows(self.log, snapshot, ends)
        # What was not withheld is none of a release's business: without it, nothing seems to be gone.
        return difference(released, logged.join(released.select(*identity), identity, "left_semi"), self.view, nominal)

    def _tell(self, totals: Totals, snapshot: Snapshot | None, intervals: Mapping[datetime, Interval]) -> Told:
        changed = sorted(totals)
        mine = [intervals[end] for end in changed]
        late = find_late(self.releaser.registry, self.log, snapshot, self.view, mine, changed)
        reach = max(changed) + self.view.history
        return Told(
            intervals=[(to_micros(i.start), to_micros(i.end), "released", totals[i.end]["rows"], None) for i in mine],
            # Unlike a build, which computes all intervals of its range anew, from the first of them on.
            stale=(to_micros(min(changed)), to_micros(reach)) if self.view.history else None,
            late=[(to_micros(i.start), to_micros(i.end)) for i in late],
        )

    def _overtaken(
        self, quarantine: Quarantine, version: int, changes: "DataFrame", intervals: Mapping[datetime, Interval]
    ) -> tuple[datetime, ...]:
        """The intervals that a build has changed meanwhile without a commit: with what was published, they are stale.

        Such a build has looked at the log before this commit, and so could not take it back.
        """
        if quarantine.table.version() == version:
            return ()
        from pyspark.sql import functions as F

        lost = quarantine.without(changes).select(F.unix_micros(INTERVAL)).distinct().collect()
        ends = tuple(sorted(end for end in intervals if to_micros(end) in {row[0] for row in lost}))
        for end in ends:
            self.releaser.registry.mark_stale(self.view, after=intervals[end].start, until=end)
        return ends

    def _finish(
        self,
        totals: Totals,
        commit: Commit | None,
        before: Snapshot | None,
        marked: int,
        overtaken: tuple[datetime, ...],
    ) -> ReleaseResult:
        registry, sums = self.releaser.registry, sum_changes(totals)
        version = commit.version if commit is not None else before.version if before is not None else None
        if commit is not None:
            record_commit(registry, self.view, commit)
        status = "released" if totals else "unchanged"
        registry.finish_run(
            self.run_id,
            status=status,
            position=commit.position if commit is not None else None,
            delta_version=version,
            committed_at=commit.committed_at if commit is not None else None,
            counts={"marked": marked, "rows": sums["rows"], "corrections": sums["corrections"]},
        )
        logger.info(status, extra={"view": self.view.reference, "rows": sums["rows"], "delta_version": version})
        return ReleaseResult(
            view=self.view.reference,
            status=status,
            marked=marked,
            rows=sums["rows"],
            corrections=sums["corrections"],
            overtaken=overtaken,
            delta_version=version,
        )


def tell_key(key: Mapping[str, Any]) -> str:
    """A key for people, such as `carrier='UA', day=2024-01-01`."""
    return ", ".join(f"{name}={_tell_value(value)}" for name, value in key.items())


def _tell_value(value: Any) -> str:
    if isinstance(value, datetime):
        return format_instant(value)
    return repr(value) if isinstance(value, str | bytes) else str(value)
