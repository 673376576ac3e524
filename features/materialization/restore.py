"""Bringing a backup back, into an empty registry and a warehouse of its own: logs first, the registry last.

Online tables are not in a backup, and may hold more than its logs do. So each log goes on at a position above all that
it, or any copy of it, can have had; and the first load of each view is a full one, which wins over whatever is online.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.errors import StorageError
from features.materialization.backup_folder import BackupContent, BackupFile, BackupFolder, BackupTable
from features.materialization.ledger import Told, reconcile
from features.registry import Registry, RestoredLog
from features.stores.delta import FeatureLog
from features.stores.filesystems import OpenFolder, is_local
from features.stores.object_pool import list_files, sha256_of, told
from features.stores.table_files import LOG_FOLDER, advance_table, list_log

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

# How the ids begin of the runs that commit behind what was restored.
_ATTEMPT = "restore-"


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreResult:
    """What a restore brought back: how many tables and files of the warehouse, and all of the registry.

    positions: from which each log goes on, by `view@version`.
    """

    id: str
    tables: int
    files: int
    bytes: int
    positions: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Restore:
    """A restore of one environment. session: the Spark session, started where a log is ahead of its registry."""

    registry: Registry
    warehouse: str
    source: BackupFolder
    session: "Callable[[], SparkSession]"

    def run(self, id: str | None = None) -> RestoreResult:
        """Bring a backup, or the latest, back. Killed anywhere, it is run again, and copies the rest.

        Raises: NotFoundError: no such backup. RegistryError: the registry is not empty. StorageError: the warehouse
            holds other tables of these views, or the backup is damaged.
        """
        content = self.source.read(id)
        self.registry.check_empty()
        if not self.source.pool.is_sound(content.registry):
            raise StorageError(f"the registry in backup {content.id} is missing or damaged; restore another backup")
        target = OpenFolder.open(self.warehouse)
        for table in content.tables:
            self._check_table(table, content, target)
        for table in content.tables:
            self._copy(table.data, target)
            # A table is there once its commits are: the oldest first, one after the other.
            self._copy(table.log, target, in_order=True)
            logger.info("a table is restored", extra={"table": table.path, "version": table.version})
        self._copy(content.sets, target)
        logs = tuple(self._advance(table, content) for table in content.tables if table.view is not None)
        self.registry.restore_dump(
            self.source.pool.lines(content.registry),
            relocate=lambda row: _relocate(row, content.warehouse, self.warehouse),
            logs=[log for log in logs if log is not None],
            backup=content.id,
        )
        for table in content.tables:
            # A run of which the backup's registry knew nothing yet had committed; the log tells of it.
            if table.view is not None and table.position > table.known:
                view = self.registry.view(table.view)
                reconcile(self.registry, FeatureLog(self.session(), self.warehouse, view), view)
        held = list(content.files)
        return RestoreResult(
            id=content.id,
            tables=len(content.tables),
            files=len(held),
            bytes=sum(file.size for file in held),
            positions={log.view: log.position for log in logs if log is not None},
        )

    def _check_table(self, table: BackupTable, content: BackupContent, target: OpenFolder) -> None:
        """That what is there of a table, if anything, is what an earlier attempt brought back."""
        wanted = {file.path.rpartition("/")[2]: file for file in table.log}
        mark = f"{table.version + 1:020}.json"
        for name in list_log(f"{self.warehouse}/{table.path}"):
            file = wanted.get(name)
            if name == mark and self._is_ours(f"{target.inner}/{table.path}/{LOG_FOLDER}/{name}", content, target):
                continue
            if file and file.sha256 == sha256_of(target, f"{target.inner}/{file.path}"):
                continue
            raise StorageError(
                f"{self.warehouse}/{table.path} holds another table ({name}); restore into a warehouse of its own"
            )

    def _is_ours(self, path: str, content: BackupContent, target: OpenFolder) -> bool:
        """Whether an earlier attempt to restore this backup made a commit."""
        with told(f"reading {path}"), target.filesystem.open_input_stream(path) as stream:
            return f"{_ATTEMPT}{content.id}-".encode() in stream.read()

    def _copy(self, files: Sequence[BackupFile], target: OpenFolder, *, in_order: bool = False) -> None:
        def copy(file: BackupFile) -> None:
            self.source.pool.get(file.sha256, target, f"{target.inner}/{file.path}")

        folders = {file.path.rpartition("/")[0] for file in files}
        there = {info.path: info.size for folder in folders for info in list_files(target, f"{target.inner}/{folder}")}
        missing = [file for file in files if there.get(f"{target.inner}/{file.path}") != file.size]
        # Far away several are copied at a time, whichever side that is.
        remote = target if is_local(self.source.pool.folder.path) else self.source.pool.folder
        for _ in map(copy, missing) if in_order else remote.each(copy, missing):
            pass

    def _advance(self, table: BackupTable, content: BackupContent) -> RestoredLog | None:
        """Have a log go on behind the seconds since 1970: no log takes a position a second, so none was ever there."""
        if table.view is None or not table.position:
            return None
        run_id = f"{_ATTEMPT}{content.id}-{table.view}"
        position = advance_table(
            f"{self.warehouse}/{table.path}",
            version=table.version,
            application=table.view,
            position=max(table.position + 1, int(time.time())),
            metadata={"run_id": run_id, "view": table.view, "note": Told(intervals=[]).note()},
        )
        return RestoredLog(
            view=table.view,
            run_id=run_id,
            position=position,
            delta_version=table.version + 1,
            committed_at=datetime.now(UTC),
            is_told=table.position == table.known,
        )


def _relocate(content: dict[str, Any], before: str, after: str) -> dict[str, Any]:
    """A manifest's content with paths below another warehouse."""
    found = dict(content)
    for name in ("path", "spine_path"):
        path = found.get(name)
        if isinstance(path, str) and path.startswith(f"{before}/"):
            found[name] = after + path.removeprefix(before)
    return found
