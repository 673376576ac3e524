"""The online store in this process: the protocol's reference, for tests, examples and trying things out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from features.core.applied import AppliedView
from features.core.dtypes import DType
from features.core.times import from_micros, to_micros
from features.errors import NotLoadedError, OnlineStoreError
from features.stores.base import (
    DELETE,
    TTL_SECONDS,
    Evidence,
    Key,
    LoadSize,
    OnlineRow,
    OnlineStore,
    Read,
    ReadAnswer,
    WinnerRows,
    WritePath,
    Written,
)
from features.stores.winner_rows import SAMPLE, as_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_SECOND_MICROS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryRow:
    """One key's row on its way into a table.

    event_micros, created_micros: microseconds since 1970 UTC; None in a deletion.
    values: feature to Python value, of every feature; None deletes the key.
    ttl_seconds: how long the row is to be seen, from now on; None: for good; not positive: it is a deletion.
    """

    key: Key
    event_micros: int | None = None
    created_micros: int | None = None
    values: Mapping[str, Any] | None = None
    ttl_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class _Slot:
    """What a table knows of a key. A deletion stays, so that an older put that comes later changes nothing."""

    position: int
    row: MemoryRow | None
    expires_micros: int | None

    def is_seen(self, now: int) -> bool:
        return self.row is not None and (self.expires_micros is None or now < self.expires_micros)


class MemoryStore(OnlineStore):
    """Tables in memory, gone with the object. Safe to use from threads.

    clock: what is now, by which rows reach the end of their TTL.
    """

    def __init__(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = Lock()
        self._tables: dict[str, dict[Key, _Slot]] = {}
        self._columns: dict[str, dict[str, DType]] = {}
        self._target = f"memory://{uuid4().hex}"

    @property
    def target(self) -> str:
        """A name of this object's own: another one holds other rows."""
        return self._target

    def create(self, view: AppliedView) -> bool:
        """Make the view's table where it is missing; whether it was. Raises: OnlineStoreError: it has other columns."""
        columns = dict(view.join_keys) | {feature.name: feature.dtype for feature in view.features}
        with self._lock:
            is_new = view.online_table not in self._tables
            self._tables.setdefault(view.online_table, {})
            if self._columns.setdefault(view.online_table, columns) != columns:
                raise OnlineStoreError(
                    f"table {view.online_table} in memory has other columns than {view.reference}; open a new store"
                )
        return is_new

    def exists(self, view: AppliedView) -> bool:
        """Whether the view's table is there."""
        with self._lock:
            return view.online_table in self._tables

    def tables(self) -> tuple[str, ...]:
        """The names of all tables."""
        with self._lock:
            return tuple(self._tables)

    def server_version(self) -> str | None:
        """None: it has no server."""
        return None

    def drop(self, view: AppliedView) -> bool:
        """Remove the view's table; whether it was there."""
        with self._lock:
            self._columns.pop(view.online_table, None)
            return self._tables.pop(view.online_table, None) is not None

    def choose_path(self, view: AppliedView, size: LoadSize, *, wanted: str | None = None) -> WritePath:
        """There is one."""
        return WritePath(name="memory", reason="rows are kept in this process")

    def write(
        self, view: AppliedView, winners: "DataFrame | WinnerRows", *, position: int, path: str | None = None
    ) -> Written:
        """Put or delete each row at a log position. The rows are collected: they must fit into memory."""
        table = as_rows(winners).to_frame().toArrow()
        written = self.apply_rows(view.online_table, _rows(view, table), position=position)
        return replace(written, evidence=Evidence(rows=table.num_rows, sample=table.slice(0, SAMPLE)))

    def apply_rows(self, table: str, rows: Iterable[MemoryRow], *, position: int) -> Written:
        """Put or delete each row at a log position, unless the key has one of a later position.

        At one position a deletion wins over a put, as in Cassandra.

        Raises: OnlineStoreError: the table was not created.
        """
        puts = deleted = 0
        with self._lock:
            slots = self._table(table)
            now = to_micros(self._clock())
            for row in rows:
                slot = _make_slot(row, position=position, now=now)
                puts += slot.row is not None
                deleted += slot.row is None
                old = slots.get(row.key)
                if old is None or (old.position, old.row is None) <= (position, slot.row is None):
                    slots[row.key] = slot
        return Written(rows=puts, deleted=deleted)

    def delete_absent(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """Delete each stored key that is not in `keys`, unless it has a row of a later position; how many."""
        table = keys.select(*view.join_keys).toArrow()
        kept = set(zip(*(_python_values(table[name], dtype) for name, dtype in view.join_keys.items()), strict=True))
        with self._lock:
            slots = self._table(view.online_table)
            now = to_micros(self._clock())
            absent = [
                key
                for key, slot in slots.items()
                if key not in kept and slot.is_seen(now) and slot.position <= position
            ]
        return self.apply_rows(view.online_table, [MemoryRow(key=key) for key in absent], position=position).deleted

    def delete_matching(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """Delete each row whose key holds one of `keys`; see `OnlineStore.delete_matching`."""
        names = [name for name in view.join_keys if name in keys.columns]
        table = keys.toArrow()
        doomed = set(zip(*(_python_values(table[name], view.join_keys[name]) for name in names), strict=True))
        if len(names) < len(view.join_keys):
            places = [place for place, name in enumerate(view.join_keys) if name in names]
            with self._lock:
                slots, now = self._table(view.online_table), to_micros(self._clock())
                doomed = {
                    key
                    for key, slot in slots.items()
                    if tuple(key[place] for place in places) in doomed
                    and slot.is_seen(now)
                    and slot.position <= position
                }
        return self.apply_rows(view.online_table, [MemoryRow(key=key) for key in doomed], position=position).deleted

    def read(self, requests: Sequence[Read], *, timeout_seconds: float | None = None) -> list[ReadAnswer]:
        """See `OnlineStore.read`: it takes no time."""
        with self._lock:
            now = to_micros(self._clock())
            return [self._read_one(request, now) for request in requests]

    async def read_async(self, requests: Sequence[Read], *, timeout_seconds: float | None = None) -> list[ReadAnswer]:
        """The same: nothing here waits."""
        return self.read(requests, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        """Nothing to release: the rows stay for as long as the object."""

    def _read_one(self, request: Read, now: int) -> ReadAnswer:
        slots = self._tables.get(request.view.online_table)
        if slots is None:
            return NotLoadedError(request.view.reference, f"no table {request.view.online_table} in memory")
        found: list[OnlineRow | None] = []
        for key in request.keys:
            slot = slots.get(key)
            found.append(_answer(slot.row, request.features) if slot is not None and slot.is_seen(now) else None)
        return found

    def _table(self, name: str) -> dict[Key, _Slot]:
        try:
            return self._tables[name]
        except KeyError:
            raise OnlineStoreError(f"no table {name} in memory; run `features apply`, then load") from None


def _make_slot(row: MemoryRow, *, position: int, now: int) -> _Slot:
    ttl = row.ttl_seconds
    if row.values is None or (ttl is not None and ttl <= 0):
        return _Slot(position, None, None)
    return _Slot(position, row, None if ttl is None else now + ttl * _SECOND_MICROS)


def _answer(row: MemoryRow | None, features: Sequence[str]) -> OnlineRow | None:
    if row is None or row.values is None or row.event_micros is None or row.created_micros is None:
        return None
    return OnlineRow(row.event_micros, row.created_micros, tuple(row.values[name] for name in features))


def _rows(view: AppliedView, table: "pa.Table") -> list[MemoryRow]:
    keys = zip(*(_python_values(table[name], dtype) for name, dtype in view.join_keys.items()), strict=True)
    names = [feature.name for feature in view.features]
    values = zip(*(_python_values(table[f.name], f.dtype) for f in view.features), strict=True)
    micros = [_micros(table[name]) for name in ("event_timestamp", "created_timestamp")]
    gone, ttl = table[DELETE].to_pylist(), table[TTL_SECONDS].to_pylist()
    return [
        MemoryRow(key=key)
        if is_gone
        else MemoryRow(
            key=key,
            event_micros=event,
            created_micros=created,
            values=dict(zip(names, row, strict=True)),
            ttl_seconds=t,
        )
        for key, row, event, created, is_gone, t in zip(keys, values, *micros, gone, ttl, strict=True)
    ]


def _micros(column: "pa.ChunkedArray") -> list[int]:
    import pyarrow as pa

    return list(column.cast(pa.int64()).to_pylist())


def _python_values(column: "pa.ChunkedArray", dtype: DType) -> list[Any]:
    """The values as `OnlineRow` promises them: instants aware and in UTC."""
    import pyarrow as pa

    if dtype.kind == "timestamp":
        return [None if micros is None else from_micros(micros) for micros in _micros(column)]
    if dtype.element == DType.TIMESTAMP:
        lists = column.cast(pa.list_(pa.int64())).to_pylist()
        return [None if micros is None else [from_micros(m) for m in micros] for micros in lists]
    return list(column.to_pylist())
