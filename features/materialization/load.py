"""Loading: the latest row of every key that was touched since the checkpoint, from the offline log to the online store.

What is online after a load is a function of (key, log position) alone, whatever was loaded before, in whatever order.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.times import duration_micros, to_micros
from features.engine.session import persisted
from features.engine.winners import winners
from features.errors import FeatureStoreError, OnlineStoreError
from features.materialization.results import LoadResult
from features.registry import Registry
from features.stores.base import DELETE, MAX_TTL_SECONDS, TTL_SECONDS, OnlineRow, OnlineStore, Read, Written
from features.stores.delta import CREATED, EVENT, SEQ, FeatureLog, Snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)

_SAMPLE = 100
# A row whose TTL is shorter may be gone when it is read back.
_EXPIRING_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Loader:
    """What loads of one environment share."""

    spark: "SparkSession"
    registry: Registry
    warehouse: str
    online: OnlineStore

    def load(self, applied: AppliedView, *, full: bool = False) -> LoadResult:
        """Bring the online table to the newest log position, and move the checkpoint there once that is verified.

        Args:
            applied: the view version.
            full: write every key's winner, and delete the keys that the log does not hold.

        Raises:
            OnlineStoreError: the store cannot be reached, did not acknowledge every row, or reads back something else.
            StorageError: the log cannot be read.
        """
        run_id = self.registry.start_run(kind="load", view=applied, start=None, end=None, now=datetime.now(UTC))
        try:
            result, position = self._load(applied, full=full)
        except BaseException as exc:
            known = isinstance(exc, FeatureStoreError)
            message = str(exc) if known else f"{type(exc).__name__}: {exc}"
            self.registry.finish_run(run_id, status="failed", message=message[:2000])
            raise
        counts = {"rows": result.rows, "deleted": result.deleted}
        self.registry.finish_run(
            run_id, status="loaded", position=position, delta_version=result.delta_version, counts=counts
        )
        logger.info("loaded", extra={"view": applied.reference, **counts, "position": position})
        return result

    def _load(self, applied: AppliedView, *, full: bool) -> tuple[LoadResult, int | None]:
        log = FeatureLog(self.spark, self.warehouse, applied)
        snapshot = log.snapshot()
        is_new = self.online.create(applied)
        if snapshot is None:
            return LoadResult(rows=0, deleted=0, delta_version=None), None
        position = snapshot.position
        # A table that was dropped, or lost with its cluster, holds nothing of what the checkpoint says.
        checkpoint = 0 if is_new else self.registry.checkpoint(applied, target=self.online.target)
        if checkpoint > position:
            raise OnlineStoreError(
                f"{applied.online_table} was loaded up to position {checkpoint}, but the log at {log.path} ends at "
                f"{position}: it is another log. Restore the log, or drop the table and load again"
            )
        if checkpoint == position and not full:
            return LoadResult(rows=0, deleted=0, delta_version=snapshot.version), position
        with persisted(self._winners(log, snapshot, applied, after=0 if full else checkpoint)) as rows:
            written = self.online.write(applied, rows, position=position)
            absent = 0
            if full:
                keys = rows.where(~rows[DELETE]).select(*applied.join_keys)
                absent = self.online.delete_absent(applied, keys, position=position)
            self._verify(applied, rows, written, log, position)
        self.registry.move_checkpoint(applied, target=self.online.target, position=position)
        deleted = written.deleted + absent
        return LoadResult(rows=written.rows, deleted=deleted, delta_version=snapshot.version), position

    def _winners(self, log: FeatureLog, snapshot: Snapshot, applied: AppliedView, *, after: int) -> "DataFrame":
        from pyspark.sql import functions as F

        frame = log.read(snapshot, position=snapshot.position)
        if after:
            touched = frame.where(F.col(SEQ) > after).select(*applied.join_keys).distinct()
            frame = frame.join(touched, list(applied.join_keys), "left_semi")
        best = winners(frame, applied)
        ttl = F.lit(None).cast("int")
        expired = F.lit(False)
        if applied.retention is not None:
            now = to_micros(datetime.now(UTC))
            left = F.floor((F.unix_micros(EVENT) + (duration_micros(applied.retention) - now)) / 1_000_000)
            ttl = F.when(left <= MAX_TTL_SECONDS, left.cast("int"))
            expired = F.coalesce(left <= 0, F.lit(False))
        return best.select(
            *applied.join_keys,
            EVENT,
            CREATED,
            *(f.name for f in applied.features),
            (~F.col("_found") | expired).alias(DELETE),
            ttl.alias(TTL_SECONDS),
        )

    def _verify(
        self, applied: AppliedView, rows: "DataFrame", written: Written, log: FeatureLog, position: int
    ) -> None:
        """Read back a sample of what was written; the checkpoint moves only when it is there."""
        import pyarrow as pa

        expected = rows.count()
        if written.rows + written.deleted != expected:
            raise OnlineStoreError(
                f"{applied.online_table}: {expected} rows were to be written or deleted, "
                f"{written.rows + written.deleted} were acknowledged; load again"
            )
        names = tuple(f.name for f in applied.features)
        sample: pa.Table = rows.limit(_SAMPLE).toArrow()
        wanted = sample.to_pylist()
        keys = tuple(tuple(row[key] for key in applied.join_keys) for row in wanted)
        (found,) = self.online.read([Read(view=applied, features=names, keys=keys)])
        different = [k for k, r, o in zip(keys, wanted, found, strict=True) if not _same(r, o, names)]
        if not different:
            return
        newest = log.snapshot()
        if newest is not None and newest.position > position:
            # Another loader may be ahead, and the greater position wins: that is no fault of this load.
            logger.info("the log has moved on during the load", extra={"view": applied.reference})
            return
        shown = ", ".join(f"{name}={value!r}" for name, value in zip(applied.join_keys, different[0], strict=True))
        raise OnlineStoreError(
            f"{applied.online_table} holds another row of {shown} than was loaded; did someone write to the table? "
            "load again, with full=True if it persists"
        )


def _same(row: dict[str, Any], online: OnlineRow | None, names: Sequence[str]) -> bool:
    if row[DELETE]:
        return online is None
    if online is None and row[TTL_SECONDS] is not None and row[TTL_SECONDS] <= _EXPIRING_SECONDS:
        return True
    if (
        online is None
        or to_micros(row[EVENT]) != online.event_micros
        or to_micros(row[CREATED]) != online.created_micros
    ):
        return False
    return all(_equal(row[name], value) for name, value in zip(names, online.values, strict=True))


def _equal(a: Any, b: Any) -> bool:
    """Equality in which NaN equals NaN, inside lists too."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b) or (a != a and b != b)
