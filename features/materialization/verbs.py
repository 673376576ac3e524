"""The verbs of a feature store that fill a range of intervals, and that keep and bring back all that it holds."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.config import BackfillSettings
from features.core.applied import AppliedView
from features.core.definitions import FeatureView
from features.core.times import parse_instant
from features.registry import Registry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.materialization.backfill import Backfill, BackfillPlan
    from features.materialization.backup_folder import BackupResult, VerifyResult
    from features.materialization.build import Builder
    from features.materialization.load import Loader
    from features.materialization.restore import RestoreResult
    from features.materialization.results import ChunkResult


@dataclass(frozen=True, kw_only=True)
class Ledgered:
    """What these verbs share. current: the code of a view and its applied version.

    session, builder, loader: start Spark.
    """

    registry: Registry
    warehouse: str
    settings: BackfillSettings
    current: Callable[[str], tuple[FeatureView, AppliedView]]
    session: "Callable[[], SparkSession]"
    builder: "Callable[[], Builder]"
    loader: "Callable[[], Loader]"


class LedgerVerbs(ABC):
    """Part of `FeatureStore`."""

    @property
    @abstractmethod
    def _ledgered(self) -> Ledgered:
        """What these verbs share."""

    def backfill(
        self,
        view: str,
        start: datetime | str,
        end: datetime | str,
        *,
        every: bool = False,
        load: bool = True,
        chunk: int | None = None,
        parallel: int | None = None,
    ) -> "tuple[ChunkResult, ...]":
        """Build the intervals of [start, end) that are missing or stale, then load; see `Backfill.run`.

        Args:
            every: build all of them again, not just those. load: bring the online table up to the log afterwards.
            chunk: intervals of one build, at most; None: by the rows that they had so far.
            parallel: builds at once, of intervals that were never built; None: as `backfill.parallel` says.

        Returns: what each build did, by the range that it was of.

        Raises: BackfillError: chunks were refused or failed; what was built stays, and is not loaded yet.
        """
        shared = self._ledgered
        code, applied = shared.current(view)
        wanted = self._wanted(applied, start, end, every=every, chunk=chunk, parallel=parallel)
        results = wanted.run(shared.builder(), code)
        if load:
            shared.loader().load(applied)
        return results

    def plan_backfill(
        self,
        view: str,
        start: datetime | str,
        end: datetime | str,
        *,
        every: bool = False,
        chunk: int | None = None,
        parallel: int | None = None,
    ) -> "BackfillPlan":
        """What `backfill` would build now, and what that may take; nothing is computed. Arguments: as there."""
        applied = self._ledgered.registry.view(view)
        return self._wanted(applied, start, end, every=every, chunk=chunk, parallel=parallel).plan()

    def backup(self, path: str, *, keep: int | None = None) -> "BackupResult":
        """Copy registry, logs, quarantine and saved sets to a folder, as one; what it has already is not copied again.

        Builds, loads and saves may go on meanwhile. Configuration and code are not part of it.

        Args:
            path: on a disk, or a URI of an object store. keep: remove all but so many of the latest backups there.

        Raises: RegistryError, StorageError, UsageError.
        """
        from features.materialization.backup import Backup
        from features.materialization.backup_folder import BackupFolder

        shared, folder = self._ledgered, BackupFolder.open(path)
        return Backup(registry=shared.registry, warehouse=shared.warehouse, target=folder).make(keep=keep)

    def verify_backup(self, path: str, id: str | None = None) -> "VerifyResult":
        """Read all of a backup, or the latest, and compare it with what was taken. Raises: NotFoundError."""
        from features.materialization.backup_folder import BackupFolder

        return BackupFolder.open(path).verify(id)

    def restore(self, path: str, id: str | None = None) -> "RestoreResult":
        """Bring a backup, or the latest, back into this environment, whose registry and warehouse are empty.

        Every view is to be loaded afterwards: what is online is not part of a backup. Killed, it is run again.

        Raises: NotFoundError: no such backup. RegistryError: the registry is not empty. StorageError.
        """
        from features.materialization.backup_folder import BackupFolder
        from features.materialization.restore import Restore

        shared, folder = self._ledgered, BackupFolder.open(path)
        return Restore(registry=shared.registry, warehouse=shared.warehouse, source=folder, session=shared.session).run(
            id
        )

    def _wanted(
        self,
        applied: AppliedView,
        start: datetime | str,
        end: datetime | str,
        *,
        every: bool,
        chunk: int | None,
        parallel: int | None,
    ) -> "Backfill":
        from features.materialization.backfill import Backfill

        settings = self._ledgered.settings
        return Backfill(
            registry=self._ledgered.registry,
            applied=applied,
            start=parse_instant(start, name="start"),
            end=parse_instant(end, name="end"),
            every=every,
            chunk=chunk,
            parallel=settings.parallel if parallel is None else parallel,
            most_parallel=settings.max_parallel,
        )
