"""Files of a Delta table that no version of it needs any more: found by Delta's rules, then deleted.

Delta's own VACUUM adds two versions to the table, whether or not it deletes anything; this adds none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from features.errors import StorageError
from features.stores.filesystems import OpenFolder, native_uri
from features.stores.spark_errors import first_line

# What Delta keeps by default. Files that no version names may be of a writer that has not committed yet: sooner than
# this, only files that a later version has replaced are given up.
WEEK_HOURS = 168


@dataclass(frozen=True, kw_only=True, slots=True)
class Unneeded:
    """A file that can go. path: below its table's, size: bytes."""

    path: str
    size: int


def find_unneeded(path: str, *, hours: int) -> tuple[Unneeded, ...]:
    """The files of the table at `path` that can go; none where there is no table.

    Args:
        path: of the table.
        hours: files stay that were replaced, or written, later than so many hours ago.

    Raises: StorageError: the table cannot be read.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        table = DeltaTable(native_uri(path))
        found = set(table.vacuum(max(hours, WEEK_HOURS), dry_run=True, full=True))
        if hours < WEEK_HOURS:
            found |= set(table.vacuum(hours, dry_run=True, enforce_retention_duration=False))
    except TableNotFoundError:
        return ()
    except (DeltaError, OSError) as exc:
        raise StorageError(f"cannot read the table at {path}: {first_line(exc)}") from exc
    return _that_exist(path, sorted(found))


def delete_files(path: str, files: Sequence[Unneeded]) -> None:
    """Delete files of the table at `path`; one that is gone by now is none. Raises: StorageError: one cannot be."""
    folder = OpenFolder.open(path)

    def delete(file: Unneeded) -> None:
        try:
            folder.filesystem.delete_file(f"{folder.inner}/{file.path}")
        except FileNotFoundError:
            return

    try:
        for _ in folder.each(delete, files):
            pass
    except OSError as exc:
        raise StorageError(f"cannot delete files of the table at {path}: {exc}; vacuum it again") from exc


def vacuum_now(path: str) -> None:
    """Delete what versions of a table have replaced, at once; a reader of an older version loses what it reads.

    Files that no version names stay for a week: a writer that has not committed yet keeps its own.

    Raises: StorageError: the table cannot be read, or a file not be deleted.
    """
    delete_files(path, find_unneeded(path, hours=0))


def _that_exist(path: str, names: Sequence[str]) -> tuple[Unneeded, ...]:
    """Delta remembers replaced files for a while after they were deleted."""
    from pyarrow.fs import FileType

    folder = OpenFolder.open(path)
    try:
        infos = folder.filesystem.get_file_info([f"{folder.inner}/{name}" for name in names]) if names else []
    except OSError as exc:
        raise StorageError(f"cannot list the files of the table at {path}: {exc}") from exc
    pairs = zip(names, infos, strict=True)
    return tuple(Unneeded(path=name, size=info.size or 0) for name, info in pairs if info.type == FileType.File)
