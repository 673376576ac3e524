"""Reading many keys of many tables at once: one small statement for each, sent together, answered in any order.

Each event loop has connections of its own, so that an asyncio server reads without a change of thread; callers that are
not async share one loop, in a thread of this object's.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.errors import OnlineStoreError
from features.stores import cql
from features.stores.base import Key, OnlineRow, Read, ReadAnswer
from features.stores.cassandra_topology import DriverTopology, RingRouter
from features.stores.read_errors import explain_outcome
from features.stores.tls import client_context
from features.stores.wire.frames import FrameError, bound
from features.stores.wire.keys import Serialise, key_serialiser, partition_key
from features.stores.wire.loop_thread import LoopThread
from features.stores.wire.nodes import Address, Node
from features.stores.wire.opening import Access
from features.stores.wire.plane import Item, Outcome, ReadPlane
from features.stores.wire.rows import RowReader

# Two: one connection is one thread of the server's network layer.
_CONNECTIONS = 2
# One for each choice of features of a table that was asked for.
_MAX_SELECTS = 4096


@dataclass(frozen=True, slots=True)
class _Select:
    """One SELECT by key, ready for use."""

    text: str
    serialisers: tuple[Serialise, ...]
    reader: RowReader


@dataclass(frozen=True, slots=True)
class _Plane:
    """What one event loop reads through."""

    reads: ReadPlane
    router: RingRouter


class CassandraReader:
    """Reads of one keyspace. topology: asked for when the first read is; it may take seconds, and blocks.

    Safe to use from threads and event loops alike.
    """

    def __init__(self, settings: OnlineSettings, topology: Callable[[], DriverTopology]) -> None:
        self._settings = settings
        self._find_topology = topology
        self._lock = threading.Lock()
        self._planes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Plane] = WeakKeyDictionary()
        self._thread: LoopThread | None = None
        self._access: Access | None = None
        self._selects: dict[tuple[str, tuple[str, ...]], _Select] = {}

    def read(self, requests: Sequence[Read], *, timeout_seconds: float | None) -> list[ReadAnswer]:
        """See `OnlineStore.read`."""
        with self._lock:
            if self._thread is None:
                self._thread = LoopThread("online-reads")
            thread = self._thread
        return thread.run(self.read_async(requests, timeout_seconds=timeout_seconds))

    async def read_async(self, requests: Sequence[Read], *, timeout_seconds: float | None) -> list[ReadAnswer]:
        """See `OnlineStore.read_async`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (timeout_seconds or self._settings.timeout_seconds)
        plane = self._planes.get(loop)
        if plane is None:
            try:
                plane = self._planes[loop] = await asyncio.to_thread(self._open_plane)
            except OnlineStoreError as exc:
                return [exc] * len(requests)
        work = _Work()
        for request in requests:
            work.add(request, self._select(request.view, request.features))
        outcomes = await plane.reads.fetch(work.items, deadline=deadline)
        return [self._answer(request, places, outcomes) for request, places in zip(requests, work.places, strict=True)]

    def close(self) -> None:
        """Give up all connections; what is read later opens new ones."""
        with self._lock:
            thread, self._thread = self._thread, None
            planes = list(self._planes.items())
            self._planes.clear()
        for loop, plane in planes:
            if thread is None or loop is not thread.loop:
                _call_in(loop, plane.router.close)
        if thread is not None:
            own = [plane for loop, plane in planes if loop is thread.loop]
            thread.stop(*(plane.router.close for plane in own))

    def _answer(self, request: Read, places: Sequence[int | None], outcomes: Sequence[Outcome]) -> ReadAnswer:
        read = self._select(request.view, request.features).reader.read
        rows: list[OnlineRow | None] = []
        try:
            for place in places:
                outcome = None if place is None else outcomes[place]
                if isinstance(outcome, bytes):
                    rows.append(read(outcome))
                elif place is None:
                    rows.append(None)
                else:
                    return explain_outcome(outcome, self._settings, table=request.view.online_table)
        except FrameError as exc:
            return OnlineStoreError(
                f"{self._settings.keyspace}.{request.view.online_table} was read, but not understood: {exc}; did "
                "someone alter the table?"
            )
        return rows

    def _select(self, view: AppliedView, features: tuple[str, ...]) -> _Select:
        # A table's name stands for one version of a view, which never changes.
        found = self._selects.get((view.online_table, features))
        if found is None:
            types = {feature.name: feature.dtype for feature in view.features}
            found = _Select(
                cql.select(self._settings.keyspace, view, features),
                tuple(key_serialiser(dtype) for dtype in view.join_keys.values()),
                RowReader([types[name] for name in features]),
            )
            if len(self._selects) >= _MAX_SELECTS:
                self._selects.clear()
            self._selects[view.online_table, features] = found
        return found

    def _open_plane(self) -> _Plane:
        settings = self._settings
        topology = self._find_topology()
        with self._lock:
            if self._access is None:
                password = settings.password()
                secret = "" if password is None else password.get_secret_value()
                self._access = Access(username=settings.username, password=secret, tls=client_context(settings))
            access = self._access

        def open_node(address: Address) -> Node:
            return Node(address, access, connections=_CONNECTIONS, timeout_seconds=settings.timeout_seconds)

        router = RingRouter(topology, open_node)
        hedge = settings.hedge_milliseconds
        plane = ReadPlane(
            router, consistency=settings.consistency, hedge_seconds=None if hedge is None else hedge / 1000
        )
        return _Plane(plane, router)


class _Work:
    """The items of some requests, each distinct key of a table once, and where the answer to each key is."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.places: list[tuple[int | None, ...]] = []
        self._serialised: dict[tuple[int, tuple[Serialise, ...]], list[tuple[bytes, bytes] | None]] = {}

    def add(self, request: Read, select: _Select) -> None:
        """One request's keys."""
        known: dict[Key, int | None] = {}
        places = []
        for key, serialised in zip(request.keys, self._serialise(request.keys, select.serialisers), strict=True):
            if key not in known:
                known[key] = None if serialised is None else len(self.items)
                if serialised is not None:
                    values, routing_key = serialised
                    self.items.append(Item(select.text, values, len(select.serialisers), routing_key))
            places.append(known[key])
        self.places.append(tuple(places))

    def _serialise(
        self, keys: Sequence[Key], serialisers: tuple[Serialise, ...]
    ) -> Sequence[tuple[bytes, bytes] | None]:
        """Values as they are bound, and the partition key; None where no row can have it.

        Views that share their entity are asked for the very same keys: these are serialised once.
        """
        cached = self._serialised.get((id(keys), serialisers))
        if cached is None:
            cached = self._serialised[id(keys), serialisers] = [_serialise_key(key, serialisers) for key in keys]
        return cached


def _serialise_key(key: Key, serialisers: tuple[Serialise, ...]) -> tuple[bytes, bytes] | None:
    parts = [serialise(part) for serialise, part in zip(serialisers, key, strict=True)]
    routing_key = partition_key(parts)
    return None if routing_key is None else (bound(parts), routing_key)


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    if loop.is_closed():
        return
    loop.call_soon_threadsafe(function)
