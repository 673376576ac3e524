"""Loading: the latest row of every key that was touched since the checkpoint, from the offline log to the online store.

What is online after a load is a function of (key, log position) alone, whatever was loaded before, in whatever order.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.engine.latest import Latest, plan_latest
from features.engine.progress import progress
from features.errors import FeatureStoreError, OnlineStoreError, StorageError
from features.materialization.ledger import known_position
from features.materialization.load_checks import verify
from features.materialization.results import LoadPlan, LoadResult
from features.registry import Registry
from features.stores.base import DELETE, OnlineStore
from features.stores.delta import FeatureLog
from features.stores.log_state import Snapshot
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

# As Python tells an error of a task.
_UNREADABLE = f"{StorageError.__module__}.{StorageError.__name__}: "


@dataclass(frozen=True, kw_only=True)
class Loader:
    """What loads of one environment share."""

    spark: "SparkSession"
    registry: Registry
    warehouse: str
    online: OnlineStore

    def plan(self, applied: AppliedView, *, full: bool = False, path: str | None = None) -> LoadPlan:
        """What `load` would do now: keys are counted exactly, by reading keys and times alone; nothing is written.

        A table that is missing counts as one that was never loaded.

        Raises: OnlineStoreError, StorageError, PlatformError: as `load`.
        """
        log = FeatureLog(self.spark, self.warehouse, applied)
        snapshot = log.snapshot()
        position = snapshot.position if snapshot is not None else 0
        checkpoint = self._checkpoint(applied, log, position) if self.online.exists(applied) else 0
        full = full or self._was_restored(applied, checkpoint)
        after = 0 if full else checkpoint
        told = LoadPlan(view=applied.reference, position=position, checkpoint=checkpoint)
        if snapshot is None:
            return replace(told, reason="the log holds nothing yet")
        if checkpoint == position and not full:
            return replace(told, reason="everything in the log is online")
        latest = plan_latest(self.spark, log, snapshot, applied, after=after, now=datetime.now(UTC))
        chosen = self.online.choose_path(applied, latest.size, wanted=path)
        with _explained(f"counting the keys of {applied.reference}"):
            counted = {bool(row[0]): int(row[1]) for row in latest.keys.groupBy(DELETE).count().collect()}
        return replace(
            told,
            rows=counted.get(False, 0),
            deleted=counted.get(True, 0),
            files=latest.files,
            bytes=latest.size.bytes,
            path=chosen.name,
            reason=chosen.reason,
            engine=latest.engine,
        )

    def load(self, applied: AppliedView, *, full: bool = False, path: str | None = None) -> LoadResult:
        """Bring the online table to the newest log position, and move the checkpoint there once that is verified.

        Where another load ran ahead meanwhile, it may not be: the checkpoint stays, and the next load repeats this one.

        Args:
            applied: the view version.
            full: write every key's winner, and delete the keys that the log does not hold.
            path: how the store is written; None: as the settings say. See `OnlineStore.choose_path`.

        Raises:
            OnlineStoreError: the store cannot be reached, did not acknowledge every row, or reads back something else.
            StorageError: the log cannot be read.
            PlatformError: the machine lacks what the path needs.
        """
        run_id = self.registry.start_run(kind="load", view=applied, start=None, end=None, now=datetime.now(UTC))
        began = time.monotonic()
        try:
            result, position = self._load(applied, full=full, path=path)
        except BaseException as exc:
            known = isinstance(exc, FeatureStoreError)
            message = str(exc) if known else f"{type(exc).__name__}: {exc}"
            self.registry.finish_run(run_id, status="failed", message=message[:2000])
            raise
        counts = {"rows": result.rows, "deleted": result.deleted}
        self.registry.finish_run(
            run_id, status="loaded", position=position, delta_version=result.delta_version, counts=counts
        )
        seconds = time.monotonic() - began
        speed = {"seconds": round(seconds, 1), "rows_per_second": round((result.rows + result.deleted) / seconds)}
        logger.info("loaded", extra={"view": applied.reference, **counts, "position": position, **speed})
        return result

    def _load(self, applied: AppliedView, *, full: bool, path: str | None) -> tuple[LoadResult, int | None]:
        log = FeatureLog(self.spark, self.warehouse, applied)
        known = known_position(self.registry, applied)
        snapshot = log.snapshot(at_least=known)
        self._require_table(applied)
        if snapshot is None:
            return LoadResult(rows=0, deleted=0, delta_version=None), None
        position = snapshot.position
        checkpoint = self._checkpoint(applied, log, position)
        full = full or self._was_restored(applied, checkpoint)
        if checkpoint == position and not full:
            return LoadResult(rows=0, deleted=0, delta_version=snapshot.version), position
        after = 0 if full else checkpoint
        latest = plan_latest(self.spark, log, snapshot, applied, after=after, now=datetime.now(UTC))
        if after and not latest.size.rows:
            # Compaction takes positions, and brings no rows.
            self.registry.move_checkpoint(applied, target=self.online.target, position=position)
            return LoadResult(rows=0, deleted=0, delta_version=snapshot.version), position
        return self._write(applied, log, snapshot, latest, full=full, path=path), position

    def _write(
        self, applied: AppliedView, log: FeatureLog, snapshot: Snapshot, latest: Latest, *, full: bool, path: str | None
    ) -> LoadResult:
        chosen = self.online.choose_path(applied, latest.size, wanted=path)
        told = {"view": applied.reference, "path": chosen.name, "reason": chosen.reason, "engine": latest.engine}
        logger.info("loading", extra={**told, "files": latest.files, "keys_at_most": latest.size.rows})
        loading = f"loading {applied.reference}"
        with progress(self.spark, loading), _explained(loading):
            written = self.online.write(applied, latest.rows, position=snapshot.position, path=chosen.name)
            absent = 0
            if full:
                kept = latest.keys.where(~latest.keys[DELETE]).drop(DELETE)
                absent = self.online.delete_absent(applied, kept, position=snapshot.position)
        if verify(self.online, applied, written, log, snapshot.position, now=latest.rows.now):
            self.registry.move_checkpoint(applied, target=self.online.target, position=snapshot.position)
        return LoadResult(rows=written.rows, deleted=written.deleted + absent, delta_version=snapshot.version)

    def _require_table(self, applied: AppliedView) -> None:
        """Make the table where it is missing: dropped, or lost with its cluster, it holds nothing of the checkpoint.

        That is forgotten first: a kill in between leaves a missing table, never an empty one that passes for loaded.
        """
        target = self.online.target
        if not self.online.exists(applied) and self.registry.checkpoint(applied, target=target):
            self.registry.reset_checkpoint(applied, target=target)
        self.online.create(applied)

    def _was_restored(self, applied: AppliedView, checkpoint: int) -> bool:
        """Whether the log came back from a backup since: the table may hold what the log no longer does."""
        return checkpoint < self.registry.restored_position(applied)

    def _checkpoint(self, applied: AppliedView, log: FeatureLog, position: int) -> int:
        checkpoint = self.registry.checkpoint(applied, target=self.online.target)
        if checkpoint > position:
            raise OnlineStoreError(
                f"{applied.online_table} was loaded up to position {checkpoint}, but the log at {log.path} ends at "
                f"{position}: it is another log. Restore the log, or drop the table and load again",
                retry=False,
            )
        return checkpoint


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """What Spark raises inside the block, as a StorageError: of a task that could not read the log, its own words."""
    try:
        yield
    except spark_errors() as exc:
        line = first_line(exc)
        told = line.partition(_UNREADABLE)[2]
        raise StorageError(told or f"{doing} failed: {line}; run it again") from exc
