"""The data files of a log at one Delta version, with what Delta's statistics say of them; and which rows went since."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from features.errors import StorageError
from features.stores.filesystems import OpenFolder, anywhere, is_native, native_uri
from features.stores.spark_errors import first_line

if TYPE_CHECKING:
    import pyarrow as pa

# Delta cuts timestamps in statistics to milliseconds, the maximum too. In microseconds.
_SLACK = 1_000

# Where a commit's metadata says that it removed rows, and why.
REMOVES = "removes"
_REMOVING = frozenset({"DELETE", "UPDATE", "MERGE", "TRUNCATE"})

# What a table may ask of its readers that reading its Parquet files alone does not do.
_NOT_PLAIN = {"deletionVectors": "deletion vectors", "columnMapping": "column mapping", "typeWidening": "widened types"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFile:
    """One Parquet file of a log.

    path: absolute, or a URI. size: bytes. rows: as Delta's statistics have it, None where they have not.
    bounds: by column, the least and greatest value that it may hold, both inclusive, times in microseconds; no entry
    where unknown. Delta keeps the first letters of long texts: a least one is cut, a greatest one rounded up.
    """

    path: str
    size: int
    rows: int | None
    bounds: Mapping[str, tuple[Any, Any]]

    def may_hold(self, column: str, *, low: Any = None, high: Any = None) -> bool:
        """Whether the file can hold a value of a column in [low, high], times in microseconds; None: no limit there."""
        least, greatest = self.bounds.get(column, (None, None))
        if least is None or greatest is None:
            return True
        return (low is None or greatest >= low) and (high is None or least <= high)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFiles:
    """The files of a log at one version. obstacle: why a reader of plain Parquet must not read them; None: it may."""

    version: int
    files: tuple[LogFile, ...]
    obstacle: str | None


def list_files(path: str, columns: Sequence[str], *, version: int | None = None) -> LogFiles:
    """The files of the Delta table at `path`, at a version (None: the newest), with the bounds of `columns`.

    Raises: StorageError: the table cannot be read.
    """
    import pyarrow as pa
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(native_uri(path), version=version)
        actions = pa.table(table.get_add_actions(flatten=True))
        features = table.protocol().reader_features or []
        mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    except (DeltaError, OSError) as exc:
        raise StorageError(f"cannot read the log at {path}: {first_line(exc)}") from exc
    known = [c for c in columns if f"min.{c}" in actions.column_names and f"max.{c}" in actions.column_names]
    lows = {c: _values(actions[f"min.{c}"], slack=0) for c in known}
    highs = {c: _values(actions[f"max.{c}"], slack=_SLACK) for c in known}
    counts = actions["num_records"].to_pylist() if "num_records" in actions.column_names else [None] * len(actions)
    files = tuple(
        LogFile(
            path=_absolute(native_uri(anywhere(path)), name),
            size=size,
            rows=rows,
            # A file may lack statistics that others have.
            bounds={
                c: (lows[c][place], highs[c][place])
                for c in known
                if lows[c][place] is not None and highs[c][place] is not None
            },
        )
        for place, (name, size, rows) in enumerate(
            zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), counts, strict=True)
        )
    )
    if not is_native(path):
        scheme = path.partition("://")[0]
        return LogFiles(version=table.version(), files=files, obstacle=f"tasks cannot open {scheme}:// by themselves")
    asked = [name for feature, name in _NOT_PLAIN.items() if feature in features]
    if mapping != "none" and _NOT_PLAIN["columnMapping"] not in asked:
        asked.append(_NOT_PLAIN["columnMapping"])
    obstacle = f"the table uses {' and '.join(asked)}" if asked else None
    return LogFiles(version=table.version(), files=files, obstacle=obstacle)


def find_removal(path: str, *, after: int) -> str | None:
    """What removed rows from a table behind a Delta version, such as "retention"; None: nothing did.

    Compaction replaces files, not rows: up to a position, later files then say what those of the version said.

    Raises: StorageError: the table cannot be read.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    folder = OpenFolder.open(path)
    try:
        newest = DeltaTable(native_uri(path)).version()
        # Commit by commit: of the history that Delta tells, a far store is asked for more than these.
        names = [f"{folder.inner}/_delta_log/{version:020}.json" for version in range(after + 1, newest + 1)]
        commits = list(folder.each(lambda name: _read_text(folder, name), names))
    except (DeltaError, OSError) as exc:
        raise StorageError(f"cannot read the log at {path}: {first_line(exc)}") from exc
    for text in commits:
        actions = (json.loads(line) for line in text.splitlines())
        entry: Mapping[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
        reason = _metadata(entry).get(REMOVES)
        if reason is not None:
            return str(reason)
        if entry.get("operation") in _REMOVING:
            return f"a {entry['operation']} statement"
    return None


def _read_text(folder: OpenFolder, name: str) -> str:
    with folder.filesystem.open_input_stream(name) as stream:
        return bytes(stream.read()).decode()


def _metadata(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        found = json.loads(entry.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _values(column: "pa.ChunkedArray", *, slack: int) -> list[Any]:
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    micros = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()
    return [None if value is None else value + slack for value in micros]


def _absolute(table: str, name: str) -> str:
    name = unquote(name)
    return name if "://" in name or name.startswith("/") else f"{table.rstrip('/')}/{name}"
