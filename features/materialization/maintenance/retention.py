"""Retention: whole (key, event) histories past a view's retention leave its log, in one commit that brings no rows.

What a reader at any moment from now on gets stays the same, since retention is at least as long as lookback; so does
whatever a held training set needs. Readers that pinned an older version keep its files until VACUUM.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.times import to_micros
from features.errors import StorageError
from features.materialization.ledger import Told, finish_with, reconcile
from features.materialization.maintenance.results import Kept, RetainResult
from features.materialization.maintenance.spans import Hold, Span, find_holds, spans_to_remove
from features.materialization.publishing import ATTEMPTS
from features.registry import Registry
from features.registry.maintenance import RETAIN
from features.stores.delta import FeatureLog
from features.stores.log_state import EVENT, LogState, Snapshot
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyspark.sql import Column, SparkSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Retention:
    """What retentions of one environment share. session: starts Spark, where there is something to remove."""

    session: "Callable[[], SparkSession]"
    registry: Registry
    warehouse: str

    def retain(self, applied: AppliedView, *, now: datetime, dry_run: bool = False) -> RetainResult:
        """Remove the rows of events before now - retention that no held training set needs.

        Args:
            applied: the view version. now: what retention is judged at, aware; recorded with the run.
            dry_run: count the rows, and change nothing.

        Raises:
            StorageError: the log cannot be read or written, or builds kept winning the race for its next position.
            RegistryError: a manifest was damaged, so that nobody can tell what it holds.
        """
        if applied.retention is None:
            return RetainResult(cutoff=None)
        cutoff = now - applied.retention
        if not self._may_hold(applied, cutoff):
            return RetainResult(cutoff=cutoff)
        work = _Removal(self, applied, FeatureLog(self.session(), self.warehouse, applied), cutoff)
        return work.tell(work.plan()) if dry_run else work.execute(now)

    def _may_hold(self, applied: AppliedView, cutoff: datetime) -> bool:
        """Whether any file can hold an event before the cutoff, by its statistics: without Spark, in no time."""
        log = LogState(self.warehouse, applied)
        snapshot = log.snapshot()
        last = to_micros(cutoff) - 1
        return snapshot is not None and any(f.may_hold(EVENT, high=last) for f in log.files(snapshot).files)


@dataclass(frozen=True)
class _Plan:
    """What goes from one snapshot of a log. rows: how many; 0: there is no snapshot, or nothing to remove."""

    snapshot: Snapshot | None
    spans: "Sequence[Span]"
    rows: int = 0
    kept: "Sequence[Kept]" = ()


@dataclass(frozen=True)
class _Removal:
    shared: Retention
    applied: AppliedView
    log: FeatureLog
    cutoff: datetime

    def execute(self, now: datetime) -> RetainResult:
        registry, applied = self.shared.registry, self.applied
        reconcile(registry, self.log, applied)
        plan = self.plan()
        if not plan.rows:
            return self.tell(plan)
        # Its end is what `retained_from` answers: told before anything goes, so that no rerun brings it back.
        run_id = registry.start_run(kind=RETAIN, view=applied, start=None, end=self.cutoff, now=now)
        try:
            result = self._remove(plan, run_id)
        except BaseException as exc:
            registry.finish_run(run_id, status="failed", message=f"{type(exc).__name__}: {exc}"[:2000])
            raise
        logger.info("retained", extra={"view": applied.reference, "rows": result.rows, "before": self.cutoff})
        return result

    def plan(self) -> _Plan:
        """What goes from the newest snapshot. Manifests are read after it: the nearer to the removal, the better."""
        snapshot = self.log.snapshot()
        if snapshot is None:
            return _Plan(snapshot=None, spans=())
        cutoff = to_micros(self.cutoff)
        held = find_holds(self.shared.registry.manifests(), self.applied)
        holds = [hold for hold in held if hold.span.start is None or hold.span.start < cutoff]
        spans = spans_to_remove(cutoff, holds)
        rows, kept = self._count(snapshot, spans, holds)
        return _Plan(snapshot=snapshot, spans=spans, rows=rows, kept=kept)

    def tell(self, plan: _Plan, *, delta_version: int | None = None) -> RetainResult:
        """As a result."""
        return RetainResult(cutoff=self.cutoff, rows=plan.rows, kept=plan.kept, delta_version=delta_version)

    def _remove(self, plan: _Plan, run_id: str) -> RetainResult:
        registry, applied = self.shared.registry, self.applied
        for _ in range(ATTEMPTS):
            if plan.snapshot is None or not plan.rows:
                registry.finish_run(run_id, status="unchanged")
                return self.tell(plan)
            commit = self.log.remove(
                " OR ".join(f"({span.sql()})" for span in plan.spans),
                position=plan.snapshot.position + 1,
                run_id=run_id,
                note=Told(intervals=[]).note(),
                reason="retention",
            )
            if commit is not None:
                finish_with(registry, applied, commit, counts={"rows": plan.rows})
                return self.tell(plan, delta_version=commit.version)
            logger.warning("a build committed first: retaining again", extra={"view": applied.reference})
            plan = self.plan()
        raise StorageError(
            f"builds of {applied.reference} committed first, {ATTEMPTS} times in a row; retain it when none runs"
        )

    def _count(
        self, snapshot: Snapshot, spans: "Sequence[Span]", holds: "Sequence[Hold]"
    ) -> "tuple[int, Sequence[Kept]]":
        """The rows in the spans, and those past retention that each hold keeps."""
        from pyspark.sql import functions as F

        past = F.expr(Span(start=None, end=to_micros(self.cutoff)).sql())
        counts = [F.count_if(_any(spans)), *(F.count_if(_any([hold.span])) for hold in holds)]
        try:
            (row,) = self.log.read(snapshot).where(past).agg(*counts).collect()
        except spark_errors() as exc:
            raise StorageError(f"the log of {self.applied.reference} cannot be read: {first_line(exc)}") from exc
        pairs = zip(holds, row[1:], strict=True)
        return row[0], tuple(Kept(training_set=hold.training_set, rows=rows) for hold, rows in pairs if rows)


def _any(spans: "Sequence[Span]") -> "Column":
    from pyspark.sql import functions as F

    return reduce(lambda one, other: one | other, [F.expr(span.sql()) for span in spans], F.lit(False))
