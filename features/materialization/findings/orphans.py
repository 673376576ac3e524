"""Folders and tables that belong to no version of the registry: nothing reads them, they only take space."""

import re
import shlex
from collections.abc import Collection, Iterator, Sequence

from features.core.applied import AppliedView
from features.errors import StorageError
from features.materialization.findings.finding import WARNING, Finding
from features.stores.filesystems import open_filesystem

_TRAINING_SETS = "training_sets"
_VERSIONED = re.compile(r"(quarantine_)?v([1-9][0-9]*)")
_ONLINE = re.compile(r".+__v[1-9][0-9]*")
_ONLY_IF = "if no other registry uses this warehouse"


def find_orphan_folders(warehouse: str, versions: Sequence[AppliedView]) -> Iterator[Finding]:
    """Folders in the warehouse that are of no registered version.

    Raises: StorageError: the warehouse cannot be listed.
    """
    known = {(view.name, view.version) for view in versions}
    for view in _folders(warehouse):
        if view == _TRAINING_SETS:
            continue
        for folder in _folders(f"{warehouse.rstrip('/')}/{view}"):
            found = _VERSIONED.fullmatch(folder)
            if found is not None and (view, int(found[2])) in known:
                continue
            path = f"{warehouse.rstrip('/')}/{view}/{folder}"
            what = "a table" if found else "a folder"
            yield Finding(
                severity=WARNING,
                kind="orphan folder",
                where=path,
                what=f"{what} of no version that the registry knows",
                fix=f"{_ONLY_IF}: {_removal(path)}",
            )


def find_orphan_tables(
    tables: Collection[str], versions: Sequence[AppliedView], *, target: str, keyspace: str
) -> Iterator[Finding]:
    """Online tables that are named like a version's, and are none's."""
    known = {view.online_table for view in versions}
    for table in sorted(tables):
        if _ONLINE.fullmatch(table) and table not in known:
            yield Finding(
                severity=WARNING,
                kind="orphan table",
                where=f"{target}, {table}",
                what="a table of no version that the registry knows",
                fix=f"if no other registry uses this keyspace, in cqlsh: DROP TABLE {keyspace}.{table};",
            )


def tell_leftovers(folders: Sequence[str]) -> Iterator[Finding]:
    """Folders of training sets that no manifest names."""
    for path in folders:
        yield Finding(
            severity=WARNING,
            kind="leftover save",
            where=path,
            what="files of a training set that no manifest names: its save was killed, or still runs",
            fix=f"if no save runs, and {_ONLY_IF.removeprefix('if ')}: {_removal(path)}",
        )


def _folders(path: str) -> list[str]:
    from pyarrow.fs import FileSelector, FileType

    filesystem, inner = open_filesystem(path)
    try:
        found = filesystem.get_file_info(FileSelector(inner, allow_not_found=True))
    except OSError as exc:
        raise StorageError(f"cannot list {path}: {exc}; check the setting `warehouse`") from exc
    names = (info.base_name for info in found if info.type == FileType.Directory)
    return sorted(name for name in names if not name.startswith((".", "_")))


def _removal(path: str) -> str:
    return f"rm -r {shlex.quote(path)}" if "://" not in path else f"delete {path}"
