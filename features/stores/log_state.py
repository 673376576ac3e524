"""What is told of an offline log without Spark: its newest version, its files, its commits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.times import to_micros
from features.errors import StorageError
from features.stores.filesystems import native_uri
from features.stores.log_files import LogFiles, list_files
from features.stores.spark_errors import first_line

if TYPE_CHECKING:
    from deltalake import DeltaTable

EVENT, CREATED, AVAILABLE = "event_timestamp", "created_timestamp", "available_timestamp"
OP, SEQ, INTERVAL = "_op", "_seq", "_interval"
PUT, RETRACT = "put", "retract"

_HISTORY = 8

# Of Spark's Parquet files: how many rows a group has.
ROW_GROUP_SETTING = "parquet.block.row.count.limit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One Delta version of a log, and the position of its last commit: what a reader pins."""

    version: int
    position: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One append: its position, the Delta version that it made, when, by which run, and what that run noted of it.

    note: plain JSON, for who has to set the registry right after a kill.
    """

    position: int
    version: int
    committed_at: datetime
    run_id: str
    note: Mapping[str, Any]


class LogState:
    """What is told of a log without Spark: its newest version, its files, its commits."""

    def __init__(self, warehouse: str, view: AppliedView) -> None:
        self._warehouse = warehouse
        self._view = view
        self.path = f"{warehouse.rstrip('/')}/{view.log_path}"

    def beside(self, view: AppliedView) -> "LogState":
        """The log of another view version in the same warehouse."""
        return LogState(self._warehouse, view)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, in the order of the table. The ones that prune files stand first."""
        return (*self._own_columns, *(f.name for f in self._view.features))

    @property
    def _own_columns(self) -> tuple[str, ...]:
        return (*self._view.join_keys, EVENT, CREATED, OP, SEQ, INTERVAL)

    def snapshot(self, *, at_least: int = 0) -> Snapshot | None:
        """The newest version, or None before the first commit.

        Args:
            at_least: a position that is known to have been committed, asked of the registry before this.

        Raises: StorageError: the table cannot be read, or ends before that position.
        """
        table = self._open()
        position = 0 if table is None else table.transaction_version(self._view.reference) or 0
        if position < at_least:
            raise StorageError(
                f"the log of {self._view.reference} at {self.path} ends at position {position}, but the registry knows "
                f"commits up to {at_least}: the log is gone, or an older copy of it was put in its place; restore the "
                "log, or the registry and all logs from one backup"
            )
        return None if table is None else Snapshot(version=table.version(), position=position)

    def may_hold(self, snapshot: Snapshot, intervals: Sequence[datetime]) -> bool:
        """Whether any file of the snapshot can hold rows of these intervals (their ends), by its statistics alone."""
        first, last = to_micros(min(intervals)), to_micros(max(intervals))
        listed = list_files(self.path, [INTERVAL], version=snapshot.version).files
        return any(file.may_hold(INTERVAL, low=first, high=last) for file in listed)

    def files(self, snapshot: Snapshot) -> LogFiles:
        """The data files of a snapshot, with what Delta's statistics say of them. Raises: StorageError."""
        return list_files(self.path, self._own_columns, version=snapshot.version)

    def commits(self, *, after: int = 0) -> list[Commit]:
        """The commits behind a position that Delta's history still tells of, newest first."""
        table = self._open()
        if table is None:
            return []
        # The history is read from its end, so that asking for the last commit costs the same after years.
        limit = _HISTORY
        while True:
            entries = table.history(limit)
            found = [commit for commit in map(self._commit, entries) if commit is not None]
            if len(entries) < limit or any(commit.position <= after for commit in found):
                return [commit for commit in found if commit.position > after]
            limit *= 8

    def _commit(self, entry: dict[str, Any]) -> Commit | None:
        # OPTIMIZE and other maintenance add entries that are no commits of ours.
        metadata = json.loads(entry.get("userMetadata") or "{}")
        if metadata.get("view") != self._view.reference:
            return None
        at = datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)
        return Commit(
            position=metadata["position"],
            version=entry["version"],
            committed_at=at,
            run_id=metadata["run_id"],
            note=metadata.get("note", {}),
        )

    def _open(self) -> "DeltaTable | None":
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return DeltaTable(native_uri(self.path))
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as exc:
            raise StorageError(
                f"cannot read the log of {self._view.reference} at {self.path}: {first_line(exc)}"
            ) from exc
