"""A folder of backups: what each lists, and what is read, checked and removed of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from features.errors import NotFoundError, StorageError, UsageError
from features.stores.object_pool import ObjectPool, list_files, make_folder, told

FORMAT = 1
_BACKUPS = "backups"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupFile:
    """A file: its path below the warehouse, its bytes, when it was written (ns), and the SHA-256 of its content."""

    path: str
    size: int
    written: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupTable:
    """A Delta table: its path below the warehouse, version, and data and log files. view: whose log it is, if any.

    position: a log's last. known: the last that the registry of the backup knows.
    """

    path: str
    version: int
    view: str | None
    position: int
    known: int
    data: tuple[BackupFile, ...]
    log: tuple[BackupFile, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupContent:
    """What a backup lists. registry: SHA-256 and bytes of its dump. sets: files of saved training sets."""

    id: str
    warehouse: str
    release: str
    registry: str
    registry_bytes: int
    tables: tuple[BackupTable, ...]
    sets: tuple[BackupFile, ...]
    warnings: tuple[str, ...]
    format: int = FORMAT

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        """Of its JSON."""
        tables = tuple(
            BackupTable(**{**t, "data": _files(t["data"]), "log": _files(t["log"])}) for t in content["tables"]
        )
        given = {"tables": tables, "sets": _files(content["sets"]), "warnings": tuple(content["warnings"])}
        return cls(**{**content, **given})

    @property
    def files(self) -> Iterator[BackupFile]:
        """All files, save the registry's dump."""
        for table in self.tables:
            yield from (*table.data, *table.log)
        yield from self.sets

    @property
    def digests(self) -> set[str]:
        """Of all that it needs."""
        return {self.registry, *(file.sha256 for file in self.files)}


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupResult:
    """A backup that was made: how much it holds, and how much of that was not there before.

    warnings: what the registry names, and could not be taken.
    """

    id: str
    path: str
    tables: int
    files: int
    bytes: int
    copied_files: int
    copied_bytes: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyResult:
    """Whether a backup is whole.

    damaged: paths whose content is missing, or not what was taken. objects: files of the folder that should hold it.
    """

    id: str
    path: str
    files: int
    damaged: tuple[str, ...]
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupFolder:
    """A folder of backups, on a disk or in an object store."""

    pool: ObjectPool

    @classmethod
    def open(cls, path: str) -> Self:
        """Raises: UsageError: no path; StorageError: the scheme is unknown."""
        if not path:
            raise UsageError("name the folder of the backups")
        return cls(pool=ObjectPool.open(path))

    def ids(self) -> tuple[str, ...]:
        """Of its backups, the oldest first."""
        inner = f"{self.pool.folder.inner}/{_BACKUPS}"
        names = (info.base_name for info in list_files(self.pool.folder, inner))
        return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))

    def read(self, id: str | None = None) -> BackupContent:
        """A backup, or the latest. Raises: NotFoundError: there is none; StorageError: it cannot be read."""
        ids = self.ids()
        if not ids or (id is not None and id not in ids):
            hint = "make one with `features backup`"
            raise NotFoundError.of(f"backup at {self.pool.folder.path}:", id or "", ids, hint=hint)
        path = self._file(id or ids[-1])
        try:
            with told(f"reading {path}"), self.pool.folder.filesystem.open_input_stream(path) as stream:
                content = json.loads(stream.read())
            if content["format"] != FORMAT:
                raise StorageError(f"the backup {path} is of format {content['format']}, this release reads {FORMAT}")
            return BackupContent.parse(content)
        except (ValueError, KeyError, TypeError) as exc:
            raise StorageError(
                f"the backup {path} is damaged: {exc}; delete it, then take another, or use an earlier one"
            ) from exc

    def write(self, content: BackupContent) -> None:
        """Add a backup, whose files are all there."""
        path = self._file(content.id)
        with told(f"writing {path}"):
            make_folder(self.pool.folder, path)
            with self.pool.folder.filesystem.open_output_stream(f"{path}.part") as stream:
                stream.write(json.dumps(asdict(content)).encode())
            self.pool.folder.filesystem.move(f"{path}.part", path)

    def keep(self, count: int) -> None:
        """Remove all but the latest backups, and the files that none of these needs."""
        ids = self.ids()
        for id in ids[:-count]:
            with told(f"removing backup {id}"):
                self.pool.folder.filesystem.delete_file(self._file(id))
        self.pool.keep_only(set().union(*(self.read(id).digests for id in ids[-count:])))

    def verify(self, id: str | None = None) -> VerifyResult:
        """Read all that a backup, or the latest, needs, and compare it with what was taken."""
        content = self.read(id)
        sound = {digest: self.pool.is_sound(digest) for digest in content.digests}
        damaged = [file.path for file in content.files if not sound[file.sha256]]
        damaged += [] if sound[content.registry] else ["the registry"]
        files = sum(1 for _ in content.files) + 1
        objects = tuple(sorted(self.pool.path_of(digest) for digest, is_sound in sound.items() if not is_sound))
        return VerifyResult(
            id=content.id, path=self.pool.folder.path, files=files, damaged=tuple(damaged), objects=objects
        )

    def _file(self, id: str) -> str:
        return f"{self.pool.folder.inner}/{_BACKUPS}/{id}.json"


def _files(content: Sequence[Mapping[str, Any]]) -> tuple[BackupFile, ...]:
    return tuple(BackupFile(**file) for file in content)
