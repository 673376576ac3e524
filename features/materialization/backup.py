"""Backups: registry, logs, quarantine and saved training sets as one; the logs hold all that the registry names.

A backup is a file that lists others: `backups/<id>.json`, written last. Files are kept once, by their content, so each
backup copies what is new since the one before it.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from features.errors import StorageError, UsageError
from features.materialization.backup_folder import (
    BackupContent,
    BackupFile,
    BackupFolder,
    BackupResult,
    BackupTable,
)
from features.registry import Registry
from features.stores.filesystems import OpenFolder, is_local
from features.stores.object_pool import ObjectPool, list_files, told
from features.stores.table_files import LOG_FOLDER, TableFiles, list_table

logger = logging.getLogger(__name__)

# Of files that went away while they were copied: the table is listed anew.
_ATTEMPTS = 3
_LEFT_OUT = "_saving"


@dataclass
class _Named:
    """What a registry names that lies in the warehouse: views, positions of their logs, folders of saved sets."""

    views: set[str] = field(default_factory=set)
    known: dict[str, int] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)

    def note(self, line: str) -> str:
        """Take note of a line of the registry's dump."""
        content = json.loads(line)
        row = content.get("row", {})
        if content.get("table") == "definition_versions" and row["kind"] == "feature view":
            self.views.add(row["name"])
        elif content.get("table") == "commits":
            view = f"{row['view']}@{row['version']}"
            self.known[view] = max(self.known.get(view, 0), row["log_position"])
        elif content.get("table") == "manifests":
            path = json.loads(row["content"]).get("path", "")
            self.sets[f"{row['name']}@{row['number']}"] = path.rpartition("/")[0]
        return line


@dataclass(frozen=True, kw_only=True)
class Backup:
    """One backup of an environment's registry and warehouse to a folder, while builds, loads and saves go on."""

    registry: Registry
    warehouse: str
    target: BackupFolder

    def make(self, *, keep: int | None = None) -> BackupResult:
        """Take the registry first, as one state; then each log at its newest version, which holds all that it names.

        Killed anywhere, it is run again, and copies the rest. One at a time to a folder.

        Args:
            keep: remove all but so many of the latest backups afterwards.

        Raises: UsageError: keep; RegistryError, StorageError.
        """
        if keep is not None and keep < 1:
            raise UsageError(f"keep={keep} must be at least 1")
        id = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        ids = self.target.ids()
        before = {file.path: file for file in self.target.read(ids[-1]).files} if ids else {}
        copier = _Copier(
            source=OpenFolder.open(self.warehouse), pool=self.target.pool, before=before, held=self.target.pool.sizes()
        )
        named = _Named()
        registry, size = self.target.pool.put_text(named.note(line) for line in self.registry.dump())
        logger.info("the registry is copied", extra={"bytes": size})
        warnings: list[str] = []
        tables = tuple(self._tables(named, copier, warnings))
        sets = tuple(self._sets(named, copier, warnings))
        content = BackupContent(
            id=id,
            warehouse=self.warehouse,
            release=_release(),
            registry=registry,
            registry_bytes=size,
            tables=tables,
            sets=sets,
            warnings=tuple(warnings),
        )
        self.target.write(content)
        if keep is not None:
            self.target.keep(keep)
        held = list(content.files)
        return BackupResult(
            id=id,
            path=self.target.pool.folder.path,
            tables=len(tables),
            files=len(held) + 1,
            bytes=sum(file.size for file in held) + size,
            copied_files=copier.files + 1,
            copied_bytes=copier.bytes + size,
            warnings=content.warnings,
        )

    def _tables(self, named: _Named, copier: "_Copier", warnings: list[str]) -> Iterator[BackupTable]:
        missing = {view.replace("@", "/v"): view for view in named.known}
        found = [(path, _view_of(path)) for name in sorted(named.views) for path in copier.find_tables(name)]
        # Logs before quarantines: a release marks rows before it publishes them, so what a copied log holds of released
        # rows is marked; marks that are ahead of the log are published by the next build.
        for path, view in sorted(found, key=lambda pair: pair[1] is None):
            table = self._table(path, view, copier, known=named.known.get(view or "", 0))
            if table is not None:
                missing.pop(path, None)
                logger.info("a table is copied", extra={"table": path, "version": table.version})
                yield table
        for path, view in missing.items():
            self._warn(
                warnings, f"the log of {view} is gone: {self.warehouse}/{path}, of which the registry knows commits"
            )

    def _table(self, path: str, view: str | None, copier: "_Copier", *, known: int) -> BackupTable | None:
        for attempt in range(_ATTEMPTS):
            listed = list_table(f"{self.warehouse}/{path}", applications=() if view is None else (view,))
            if listed is None:
                return None
            try:
                return self._copied(path, view, listed, copier, known=known)
            except FileNotFoundError as exc:
                # VACUUM, or an erasure, came between: the newest version lacks the file.
                if attempt == _ATTEMPTS - 1:
                    raise StorageError(f"the table at {path} lacks a file of its own: {exc}; restore it") from exc
        return None

    def _copied(self, path: str, view: str | None, listed: TableFiles, copier: "_Copier", *, known: int) -> BackupTable:
        position = listed.positions.get(view or "", 0)
        if position < known:
            raise StorageError(
                f"the log of {view} ends at position {position}, but the registry knows it up to {known}: it is "
                "another log, or an older one; restore it first"
            )
        data = copier.copy([f"{path}/{name}" for name in listed.data])
        log = copier.copy([f"{path}/{name}" for name in listed.log])
        return BackupTable(
            path=path, version=listed.version, view=view, position=position, known=known, data=data, log=log
        )

    def _sets(self, named: _Named, copier: "_Copier", warnings: list[str]) -> Iterator[BackupFile]:
        for reference, folder in sorted(named.sets.items()):
            if not folder.startswith(f"{self.warehouse}/"):
                self._warn(warnings, f"the files of {reference} lie outside of the warehouse: {folder}")
                continue
            paths = copier.find_files(folder.removeprefix(f"{self.warehouse}/"))
            try:
                yield from copier.copy([path for path in paths if path.rpartition("/")[2] != _LEFT_OUT])
            except FileNotFoundError as exc:
                raise StorageError(
                    f"files of {reference} were removed meanwhile: {exc}; make the backup again"
                ) from exc
            if not paths:
                self._warn(warnings, f"the files of {reference} are gone: {folder}")

    def _warn(self, warnings: list[str], text: str) -> None:
        logger.warning(text)
        warnings.append(text)


@dataclass
class _Copier:
    """Copies files of the warehouse to the pool, save those that an earlier backup took.

    before: the files of that, by path. held: bytes of what the pool has, by SHA-256.
    """

    source: OpenFolder
    pool: ObjectPool
    before: Mapping[str, BackupFile]
    held: Mapping[str, int]
    files: int = 0
    bytes: int = 0

    def find_tables(self, view: str) -> list[str]:
        """The Delta tables in a view's folder, as paths below the warehouse."""
        from pyarrow.fs import FileSelector, FileType

        root = f"{self.source.inner}/{view}"
        with told(f"listing {root}"):
            found = self.source.filesystem.get_file_info(FileSelector(root, allow_not_found=True))
            names = sorted(info.base_name for info in found if info.type == FileType.Directory)
            logs = self.source.filesystem.get_file_info([f"{root}/{name}/{LOG_FOLDER}" for name in names])
        return [f"{view}/{name}" for name, log in zip(names, logs, strict=True) if log.type == FileType.Directory]

    def find_files(self, path: str) -> list[str]:
        """All files below a path, as paths below the warehouse."""
        root = f"{self.source.inner}/"
        return sorted(info.path.removeprefix(root) for info in list_files(self.source, f"{root}{path}"))

    def copy(self, paths: Sequence[str]) -> tuple[BackupFile, ...]:
        """Copy files, or find that they are there. Raises: FileNotFoundError: one is gone."""
        # Far away several are copied at a time, whichever side that is.
        remote = self.source if is_local(self.pool.folder.path) else self.pool.folder
        done = tuple(remote.each(self._copy, paths))
        for file, is_new in done:
            self.files += is_new
            self.bytes += file.size if is_new else 0
        return tuple(file for file, _ in done)

    def _copy(self, path: str) -> tuple[BackupFile, bool]:
        from pyarrow.fs import FileType

        info = self.source.filesystem.get_file_info(f"{self.source.inner}/{path}")
        if info.type != FileType.File:
            raise FileNotFoundError(path)
        known = self.before.get(path)
        if (
            known is not None
            and (known.size, known.written) == (info.size, info.mtime_ns)
            and known.sha256 in self.held
        ):
            return known, False
        try:
            digest = self.pool.put(self.source, info.path)
        except StorageError as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                raise exc.__cause__ from exc
            raise
        return BackupFile(path=path, size=info.size, written=info.mtime_ns, sha256=digest), True


def _view_of(path: str) -> str | None:
    """`name@version` of the view whose log lies at `name/v<version>`; None: it is another table."""
    name, _, folder = path.partition("/")
    return f"{name}@{folder[1:]}" if folder[:1] == "v" and folder[1:].isdecimal() else None


def _release() -> str:
    try:
        return version("feature-platform")
    except PackageNotFoundError:
        return "unknown"
