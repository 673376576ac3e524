"""Maintenance of view versions, one after the other: retain, then compact, then VACUUM; what fails stops no other."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from features.config import MaintenanceSettings
from features.core.applied import AppliedView
from features.errors import FeatureStoreError, UsageError
from features.materialization.compaction import Compactor, wanted_files
from features.materialization.ledger import known_position
from features.materialization.maintenance.results import PARTS, FileCounts, Maintained
from features.materialization.maintenance.retention import Retention
from features.materialization.maintenance.vacuum import Vacuum
from features.registry import Registry
from features.stores.log_state import LogState

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Maintainer:
    """What maintenance of one environment shares. session: starts Spark, where there is something to rewrite."""

    session: "Callable[[], SparkSession]"
    registry: Registry
    warehouse: str
    settings: MaintenanceSettings

    def maintain(
        self,
        views: Sequence[AppliedView],
        *,
        now: datetime,
        present: datetime,
        parts: Sequence[str] = PARTS,
        dry_run: bool = False,
    ) -> tuple[Maintained, ...]:
        """Maintain view versions, in order; an error is told beside what came before it, and the next one follows.

        Args:
            views: versions. now: what retention is judged at. present: what VACUUM counts the age of files from.
            parts: of PARTS, those to do. dry_run: tell what would be done.

        Raises: UsageError: a part is none.
        """
        if unknown := set(parts) - set(PARTS):
            raise UsageError(f"maintenance has the parts {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
        return tuple(self._maintain(view, now, present, parts, dry_run) for view in views)

    def _maintain(
        self, view: AppliedView, now: datetime, present: datetime, parts: Sequence[str], dry_run: bool
    ) -> Maintained:
        done = Maintained(view=view.reference)
        try:
            # A log that is gone, or an older copy, has nothing to maintain, and is not well.
            LogState(self.warehouse, view).snapshot(at_least=known_position(self.registry, view))
            if "retain" in parts:
                retention = Retention(session=self.session, registry=self.registry, warehouse=self.warehouse)
                done = replace(done, retain=retention.retain(view, now=now, dry_run=dry_run))
            if "compact" in parts:
                done = replace(done, compact=self._compact(view, dry_run=dry_run))
            if "vacuum" in parts:
                hours = self.settings.vacuum_hours
                vacuum = Vacuum(registry=self.registry, warehouse=self.warehouse, hours=hours)
                done = replace(done, vacuum=vacuum.vacuum(view, now=present, dry_run=dry_run))
        except FeatureStoreError as exc:
            logger.error("maintenance failed", extra={"view": view.reference, "reason": str(exc)})
            return replace(done, error=str(exc))
        logger.info("maintained", extra={"view": view.reference})
        return done

    def _compact(self, view: AppliedView, *, dry_run: bool) -> FileCounts:
        """Rewrite a log that has many more files than it needs: each time costs a rewrite of all of it."""
        log = LogState(self.warehouse, view)
        snapshot = log.snapshot()
        if snapshot is None:
            return FileCounts(files_before=0, files_after=0)
        files = log.files(snapshot).files
        wanted = wanted_files(files)
        if len(files) - wanted < self.settings.compact_files:
            return FileCounts(files_before=len(files), files_after=len(files))
        if dry_run:
            return FileCounts(files_before=len(files), files_after=wanted)
        compactor = Compactor(spark=self.session(), registry=self.registry, warehouse=self.warehouse)
        result = compactor.compact(view)
        return FileCounts(files_before=result.files_before, files_after=result.files_after)
