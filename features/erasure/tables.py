"""Erasing from what a view version holds: its offline log, its quarantine, and its online table."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.arrow_types import to_python
from features.erasure.request import ErasureRequest
from features.erasure.results import ErasedTable
from features.errors import OnlineStoreError, StorageError
from features.materialization.ledger import Told, finish_with, reconcile
from features.materialization.publishing import ATTEMPTS
from features.registry import Registry
from features.stores.base import OnlineStore, Read, rows_of
from features.stores.delta import FeatureLog
from features.stores.keyed_rows import KeyedRows, is_table, notes_of
from features.stores.log_state import Commit, Snapshot
from features.stores.quarantine import Quarantine
from features.stores.spark_errors import first_line, is_lost_race, spark_errors
from features.stores.vacuum import vacuum_now

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)

# Keys that are read back online.
_READ_BACK = 1_000


@dataclass(frozen=True, kw_only=True)
class TableEraser:
    """Erases from one view version at a time. Each step can be repeated, and finds nothing more to do."""

    spark: "SparkSession"
    registry: Registry
    warehouse: str
    online: OnlineStore

    def look(self, view: AppliedView, request: ErasureRequest) -> ErasedTable:
        """What `erase_offline` and `erase_online` would remove: counted, nothing is changed. Raises: StorageError."""
        keys = request.typed(view.join_keys)
        log = self._log(view)
        snapshot = log.snapshot()
        rows = None if snapshot is None else log.keyed(keys, snapshot)
        withheld = self._quarantine(view, keys)
        known = self._known_keys(view, keys, [] if rows is None else [rows.find()]) if rows is not None else None
        return ErasedTable(
            view=view.reference,
            offline=0 if rows is None else rows.found[0],
            quarantined=0 if withheld is None else withheld.found[0],
            online=self._count_online(view, keys if known is None else known),
            position=None if snapshot is None else snapshot.position,
        )

    def erase_offline(self, view: AppliedView, request: ErasureRequest, erasure_id: str) -> int:
        """Remove the rows from the log; the position since which it holds none of them, 0 where nothing was built.

        Raises: StorageError: the log cannot be read or written, or builds kept winning the race for its next position.
        """
        log = self._log(view)
        keys = request.typed(view.join_keys)
        reconcile(self.registry, log, view)
        for _ in range(ATTEMPTS):
            snapshot = log.snapshot()
            if snapshot is None:
                return 0
            rows = log.keyed(keys, snapshot)
            if not rows.found[0]:
                return snapshot.position
            commit = self._commit(log, view, rows, snapshot, erasure_id)
            if commit is not None:
                return commit.position
            logger.warning("a build committed first: erasing again", extra={"view": view.reference})
        raise StorageError(
            f"builds of {view.reference} committed first, {ATTEMPTS} times in a row; when none runs, "
            f"run `features erase --resume {erasure_id}`"
        )

    def _commit(
        self, log: FeatureLog, view: AppliedView, rows: KeyedRows, snapshot: Snapshot, erasure_id: str
    ) -> Commit | None:
        count = rows.found[0]
        run_id = self.registry.start_run(kind="erase", view=view, start=None, end=None, now=datetime.now(UTC))
        note = {**Told(intervals=[]).note(), "erasure": erasure_id, "rows": count}
        try:
            commit = log.erase(rows, position=snapshot.position + 1, run_id=run_id, note=note, reason="erasure")
        except BaseException as exc:
            self.registry.finish_run(run_id, status="failed", message=f"{type(exc).__name__}: {exc}"[:2000])
            raise
        if commit is None:
            self.registry.finish_run(run_id, status="unchanged")
            return None
        finish_with(self.registry, view, commit, counts={"erased": count})
        logger.info("erased from the log", extra={"view": view.reference, "rows": count, "position": commit.position})
        return commit

    def commits(self, view: AppliedView, erasure_id: str) -> list[Commit]:
        """What an erasure has committed to a log, newest first: told by the log, whoever was killed."""
        return [commit for commit in self._log(view).commits() if commit.note.get("erasure") == erasure_id]

    def erase_quarantine(self, view: AppliedView, request: ErasureRequest, erasure_id: str) -> int:
        """Remove withheld rows; how many this run and earlier ones of the erasure removed.

        Raises: StorageError: the table cannot be written, or builds kept writing it.
        """
        for _ in range(ATTEMPTS):
            rows = self._quarantine(view, request.typed(view.join_keys))
            if rows is None:
                return 0
            if not rows.found[0]:
                return sum(note["rows"] for note in notes_of(rows.path) if note.get("erasure") == erasure_id)
            try:
                rows.erase(json.dumps({"erasure": erasure_id, "rows": rows.found[0]}))
            except spark_errors() as exc:
                if not is_lost_race(exc):
                    where = f"the quarantine of {view.reference} at {rows.path}"
                    raise StorageError(
                        f"cannot erase from {where}: {first_line(exc)}; run `features erase --resume {erasure_id}`"
                    ) from exc
        raise StorageError(
            f"builds kept writing the quarantine of {view.reference}; when none runs, run `features erase --resume "
            f"{erasure_id}`"
        )

    def erase_online(
        self, view: AppliedView, request: ErasureRequest, *, position: int, commits: Sequence[Commit]
    ) -> int | None:
        """Delete the keys' rows online, at the position since which the log holds none; how many. None: no table.

        Loads of older positions, however late, bring none of them back; a load of a later one brings what was built
        since. Where the view has more join keys than the entity, the keys are those that the log held before the
        erasure's commits, and those that are stored.

        Raises: OnlineStoreError: the store cannot be reached, or a row stays; StorageError: the log cannot be read.
        """
        if not self.online.exists(view):
            return None
        keys = request.typed(view.join_keys)
        log = self._log(view)
        snapshot, loaded = log.snapshot(), self.registry.checkpoint(view, target=self.online.target)
        if snapshot is None or snapshot.position < loaded:
            # The log was lost, in part or whole: what was loaded from it may be of later positions.
            position = max(position, loaded)
        is_whole = self._is_whole(view, keys)
        deleted, known = 0, None
        unreadable: tuple[type[Exception], ...] = (StorageError, *spark_errors())
        try:
            before = [log.keyed(keys, Snapshot(version=c.version - 1, position=c.position - 1)).find() for c in commits]
            known = self._known_keys(view, keys, before)
            if known is not None:
                deleted += self.online.delete_matching(view, known, position=position)
        except unreadable as exc:
            if is_whole:
                raise OnlineStoreError(f"{view.online_table}: deleting keys failed: {first_line(exc)}") from exc
            # Vacuumed since: no load can still be at work that has read it.
            logger.warning("the log before the erasure is gone", extra={"view": view.reference})
            known = None
        if not is_whole:
            deleted += self.online.delete_matching(view, self.spark.createDataFrame(keys), position=position)
        if known is not None:
            self._check_gone(view, log, known, position)
        logger.info("erased online", extra={"view": view.reference, "keys": deleted, "position": position})
        return deleted

    def came_back(self, view: AppliedView, request: ErasureRequest, *, position: int) -> int:
        """Rows of the keys that were built behind a position: their source still holds them."""
        log = self._log(view)
        snapshot = log.snapshot()
        if snapshot is None or snapshot.position <= position:
            return 0
        return log.keyed(request.typed(view.join_keys), snapshot).found[0]

    def vacuum(self, view: AppliedView) -> None:
        """Remove the files that the log and the quarantine have replaced. Raises: StorageError."""
        for path in (self._log(view).path, Quarantine(self.spark, self.warehouse, view).path):
            vacuum_now(path)

    def _log(self, view: AppliedView) -> FeatureLog:
        return FeatureLog(self.spark, self.warehouse, view)

    def _quarantine(self, view: AppliedView, keys: "pa.Table") -> KeyedRows | None:
        path = Quarantine(self.spark, self.warehouse, view).path
        return KeyedRows(self.spark, path, keys) if is_table(self.spark, path) else None

    def _is_whole(self, view: AppliedView, keys: "pa.Table") -> bool:
        return set(keys.column_names) == set(view.join_keys)

    def _known_keys(self, view: AppliedView, keys: "pa.Table", logged: "Sequence[DataFrame]") -> "DataFrame | None":
        """Whole keys of the view, distinct: those asked for or, where they lack columns, of what was logged."""
        if self._is_whole(view, keys):
            return self.spark.createDataFrame(keys)
        found = [frame.select(*(f"`{name}`" for name in view.join_keys)) for frame in logged]
        return reduce(lambda one, other: one.union(other), found).distinct() if found else None

    def _check_gone(self, view: AppliedView, log: FeatureLog, keys: "DataFrame", position: int) -> None:
        snapshot = log.snapshot()
        left = self._count_online(view, keys)
        if left and (snapshot is None or snapshot.position <= position):
            raise OnlineStoreError(
                f"{view.online_table} still answers for {left} of the erased keys: someone wrote to the table by hand, "
                f"which wins over every load. Drop it (`features drop {view.reference}`), load again, then resume"
            )

    def _count_online(self, view: AppliedView, keys: "DataFrame | pa.Table") -> int | None:
        """How many of these keys, of the first thousand, are stored; None: there is no table."""
        import pyarrow as pa

        if not self.online.exists(view):
            return None
        if not isinstance(keys, pa.Table):
            keys = keys.limit(_READ_BACK).toArrow()
        if set(keys.column_names) != set(view.join_keys):
            return 0
        values = [to_python(keys[name].slice(0, _READ_BACK), dtype) for name, dtype in view.join_keys.items()]
        read = Read(view=view, features=(), keys=tuple(zip(*values, strict=True)))
        return sum(row is not None for row in rows_of(*self.online.read([read])))
