"""Reading many keys of many tables at once: one small statement for each, sent together, answered in any order.

Each event loop has connections of its own, so that an asyncio server reads without a change of thread; callers that are
not async share one loop, in a thread of this object's.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.errors import OnlineStoreError
from features.stores import cql
from features.stores.base import Key, OnlineRow, Read, ReadAnswer
from features.stores.cassandra_topology import DriverTopology, RingRouter
from features.stores.read_errors import client_closed, explain_outcome, unreachable
from features.stores.tls import client_context
from features.stores.wire.frames import FrameError, bound, bound_list
from features.stores.wire.keys import Serialise, key_serialiser, partition_key
from features.stores.wire.loop_thread import LoopStoppedError, LoopThread
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
    """How a table is read by key, ready for use. many: the statement for many keys; None: there is none."""

    one: str
    many: str | None
    serialisers: tuple[Serialise, ...]
    reader: RowReader


@dataclass(frozen=True, slots=True)
class _Plane:
    """What one event loop reads through."""

    reads: ReadPlane
    router: RingRouter
    until_loop_ends: AsyncGenerator[None]


class CassandraReader:
    """Reads of one keyspace. topology: asked for when the first read is; it may take seconds, and blocks.

    Safe to use from threads and event loops alike.
    """

    def __init__(self, settings: OnlineSettings, topology: Callable[[], DriverTopology]) -> None:
        self._settings = settings
        self._find_topology = topology
        self._lock = threading.Lock()
        self._planes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Plane] = WeakKeyDictionary()
        self._opening: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[_Plane]] = WeakKeyDictionary()
        self._thread: LoopThread | None = None
        self._access: Access | None = None
        self._selects: dict[tuple[str, tuple[str, ...]], _Select] = {}

    def read(self, requests: Sequence[Read], *, timeout_seconds: float | None) -> list[ReadAnswer]:
        """See `OnlineStore.read`."""
        with self._lock:
            if self._thread is None:
                self._thread = LoopThread("online-reads")
            thread = self._thread
        try:
            return thread.run(self.read_async(requests, timeout_seconds=timeout_seconds))
        except LoopStoppedError:
            return [client_closed()] * len(requests)

    async def read_async(self, requests: Sequence[Read], *, timeout_seconds: float | None) -> list[ReadAnswer]:
        """See `OnlineStore.read_async`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (timeout_seconds or self._settings.timeout_seconds)
        plane = self._planes.get(loop)
        if plane is None:
            try:
                async with asyncio.timeout_at(deadline):
                    plane = await self._opened(loop)
            except OnlineStoreError as exc:
                return [exc] * len(requests)
            except TimeoutError:
                return [unreachable(self._settings, "no connection came about in time")] * len(requests)
        work = _Work(plane.router, self._settings.keys_per_read)
        for request in requests:
            work.add(request, self._select(request.view, request.features))
        outcomes = await plane.reads.fetch(work.items, deadline=deadline)
        return [
            self._answer(request, asked, work.items, outcomes)
            for request, asked in zip(requests, work.asked, strict=True)
        ]

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

    def _answer(self, request: Read, asked: "_Asked", items: Sequence[Item], outcomes: Sequence[Outcome]) -> ReadAnswer:
        reader = self._select(request.view, request.features).reader
        found: dict[bytes | None, OnlineRow | None] = {}
        try:
            for number in asked.items:
                outcome = outcomes[number]
                if not isinstance(outcome, bytes):
                    return explain_outcome(outcome, self._settings, view=request.view)
                if asked.names_keys:
                    reader.read_by_key(outcome, into=found)
                else:
                    found[items[number].routing_key] = reader.read(outcome)
        except FrameError as exc:
            return OnlineStoreError(
                f"{self._settings.keyspace}.{request.view.online_table} was read, but not understood: {exc}; did "
                "someone alter the table?"
            )
        return [found.get(partition) for partition in asked.partitions]

    def _select(self, view: AppliedView, features: tuple[str, ...]) -> _Select:
        # A table's name stands for one version of a view, which never changes.
        found = self._selects.get((view.online_table, features))
        if found is None:
            types = {feature.name: feature.dtype for feature in view.features}
            found = _Select(
                cql.select(self._settings.keyspace, view, features),
                cql.select_many(self._settings.keyspace, view, features),
                tuple(key_serialiser(dtype) for dtype in view.join_keys.values()),
                RowReader([types[name] for name in features]),
            )
            if len(self._selects) >= _MAX_SELECTS:
                self._selects.clear()
            self._selects[view.online_table, features] = found
        return found

    async def _opened(self, loop: asyncio.AbstractEventLoop) -> _Plane:
        """The plane of a loop that has none yet. One opens it, however many wait; whoever gives up stops nobody."""
        opening = self._opening.get(loop)
        if opening is None:
            opening = self._opening[loop] = loop.create_task(self._open())
            opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(opening)

    async def _open(self) -> _Plane:
        loop = asyncio.get_running_loop()
        try:
            plane = await asyncio.to_thread(self._open_plane)
            await anext(plane.until_loop_ends)
            with self._lock:
                self._planes[loop] = plane
            return plane
        finally:
            self._opening.pop(loop, None)

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
        return _Plane(plane, router, self._closing(router))

    async def _closing(self, router: RingRouter) -> AsyncGenerator[None]:
        """Closes connections when the event loop ends: `asyncio.run` closes the generators that it finds suspended."""
        try:
            yield
        finally:
            router.close()
            # The generator knows its loop: a weak key is not enough for a plane, which has the generator.
            with self._lock:
                for loop, plane in list(self._planes.items()):
                    if plane.router is router or loop.is_closed():
                        del self._planes[loop]


class _Asked(NamedTuple):
    """What asks for a request's keys.

    items: the numbers of its items. partitions: by key its partition key; None: no row can have it. names_keys: each
    row of an answer stands behind its key; else an answer is of one key.
    """

    items: range
    partitions: Sequence[bytes | None]
    names_keys: bool


class _Work:
    """The items of some requests, each distinct key of a table once.

    Keys of one replica share a statement, which costs the server less than a statement for each of them.
    """

    def __init__(self, router: RingRouter, keys_per_item: int) -> None:
        self.items: list[Item] = []
        self.asked: list[_Asked] = []
        self._router = router
        self._most = keys_per_item
        # Views of one entity are asked for the very same keys: they are serialised and grouped once.
        self._keyed: dict[tuple[int, tuple[Serialise, ...]], _Keyed] = {}

    def add(self, request: Read, select: _Select) -> None:
        """One request's keys."""
        known = (id(request.keys), select.serialisers)
        keyed = self._keyed.get(known)
        if keyed is None:
            keyed = self._keyed[known] = _Keyed(request.keys, select.serialisers)
        first = len(self.items)
        many = select.many if self._most > 1 and len(keyed.distinct) > 1 else None
        if many is not None:
            if keyed.groups is None:
                keyed.groups = [(bound_list(group), group[0]) for group in self._group(list(keyed.distinct))]
            self.items += [Item(many, values, 1, routing) for values, routing in keyed.groups]
        else:
            count = len(select.serialisers)
            self.items += [Item(select.one, values, count, key) for key, values in keyed.distinct.items()]
        self.asked.append(_Asked(range(first, len(self.items)), keyed.partitions, names_keys=many is not None))

    def _group(self, keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        """Partition keys of one replica each, in groups of about equal size."""
        by_owner: dict[Hashable, list[bytes]] = {}
        for key in keys:
            by_owner.setdefault(self._router.owner(key), []).append(key)
        for owned in by_owner.values():
            count = -(-len(owned) // self._most)
            for number in range(count):
                yield owned[len(owned) * number // count : len(owned) * (number + 1) // count]


class _Keyed:
    """Keys as Cassandra has them.

    partitions: by key its partition key; None: no row can have it. distinct: by partition key the values as they are
    bound. groups: once they are asked for so, keys that share a statement, bound, and the first of them.
    """

    def __init__(self, keys: Sequence[Key], serialisers: tuple[Serialise, ...]) -> None:
        self.partitions: list[bytes | None] = []
        self.distinct: dict[bytes, bytes] = {}
        self.groups: list[tuple[bytes, bytes]] | None = None
        for key in keys:
            parts = [serialise(part) for serialise, part in zip(serialisers, key, strict=True)]
            partition = partition_key(parts)
            self.partitions.append(partition)
            if partition is not None:
                self.distinct[partition] = bound(parts)


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    if loop.is_closed():
        return
    loop.call_soon_threadsafe(function)
