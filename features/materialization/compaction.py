"""Compaction: a log's many small files, one or more a day, as few that are sorted by key and time."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.errors import StorageError
from features.materialization.ledger import Told, finish_with, reconcile, record_commit
from features.materialization.publishing import ATTEMPTS
from features.materialization.results import CompactResult
from features.registry import Registry
from features.stores.delta import FeatureLog
from features.stores.log_files import LogFile
from features.stores.log_state import CREATED, EVENT, INTERVAL, SEQ, Commit, Snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)

_ROWS_PER_FILE = 1_000_000
# Below this many files for each one that there could be, rewriting all of them does not pay.
_WORTH_IT = 2


@dataclass(frozen=True, kw_only=True)
class Compactor:
    """What compactions of one environment share: the session, the registry and the warehouse's path."""

    spark: "SparkSession"
    registry: Registry
    warehouse: str

    def compact(self, applied: AppliedView) -> CompactResult:
        """Rewrite the log of a view version as files of a million rows, each of one range of (key, event_timestamp).

        Rows, their positions and what any reader finds stay the same: files that running readers and older versions
        need lie there until VACUUM removes them, and a position names the same rows in the new files. It is a commit
        of a position of its own, without rows, so that it and the builds beside it cannot overwrite each other.

        Returns: how many files there were and are; the same number twice where rewriting would not pay.

        Raises: StorageError: the log cannot be read or written, or builds kept winning the race for its next position.
        """
        log = FeatureLog(self.spark, self.warehouse, applied)
        reconcile(self.registry, log, applied)
        run_id = self.registry.start_run(kind="compact", view=applied, start=None, end=None, now=datetime.now(UTC))
        try:
            result, commit = self._compact(log, applied, run_id)
        except BaseException as exc:
            self.registry.finish_run(run_id, status="failed", message=f"{type(exc).__name__}: {exc}"[:2000])
            raise
        counts = {"files_before": result.files_before, "files_after": result.files_after}
        if commit is None:
            self.registry.finish_run(run_id, status="unchanged", counts=counts)
        else:
            finish_with(self.registry, applied, commit, counts=counts)
        logger.info("compacted", extra={"view": applied.reference, **counts})
        return result

    def _compact(self, log: FeatureLog, applied: AppliedView, run_id: str) -> tuple[CompactResult, Commit | None]:
        for _ in range(ATTEMPTS):
            snapshot = log.snapshot()
            if snapshot is None:
                return CompactResult(files_before=0, files_after=0, delta_version=None), None
            before = log.files(snapshot).files
            wanted = wanted_files(before)
            if len(before) < wanted * _WORTH_IT:
                same = CompactResult(files_before=len(before), files_after=len(before), delta_version=snapshot.version)
                return same, None
            told = Told(intervals=[])
            commit = log.rewrite(
                _sorted(log, snapshot, applied, wanted),
                position=snapshot.position + 1,
                run_id=run_id,
                note=told.note(),
            )
            if commit is not None and commit.version != snapshot.version + 1:
                # A change that takes no position, such as a DELETE by hand, came between: it must not be undone.
                logger.warning("the log was changed meanwhile: compacting again", extra={"view": applied.reference})
                log.restore(commit.version - 1)
                record_commit(self.registry, applied, commit)
                continue
            if commit is not None:
                after = log.files(Snapshot(version=commit.version, position=commit.position)).files
                return (
                    CompactResult(files_before=len(before), files_after=len(after), delta_version=commit.version),
                    commit,
                )
            logger.warning("a build committed first: compacting again", extra={"view": applied.reference})
        raise StorageError(
            f"builds of {applied.reference} committed first, {ATTEMPTS} times in a row; compact it when none runs"
        )


def wanted_files(files: Sequence[LogFile]) -> int:
    """How many files the rows of these make."""
    return max(1, -(-sum(file.rows or 0 for file in files) // _ROWS_PER_FILE))


def _sorted(log: FeatureLog, snapshot: Snapshot, applied: AppliedView, files: int) -> "DataFrame":
    frame = log.read(snapshot)
    keys = list(applied.join_keys)
    parts = frame.coalesce(1) if files == 1 else frame.repartitionByRange(files, *keys, EVENT)
    # As a build sorts, and then in the order in which rows of one event count: the last of them is the likely winner.
    return parts.sortWithinPartitions(*keys, EVENT, INTERVAL, CREATED, SEQ)
