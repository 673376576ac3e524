"""Nodes of a cluster as a reader sees them: a few connections each, opened when wanted, given up when silent."""

import asyncio
import time
from dataclasses import dataclass
from typing import TypeVar

from features.stores.wire import frames
from features.stores.wire.connection import CLIENT_CLOSED, Connection, Lost
from features.stores.wire.frames import FrameError, ServerError
from features.stores.wire.opening import Access, ConnectError, ask, open_connection

_FIRST_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.1, 5.0
# When there are more, all are forgotten, and prepared again as they are wanted.
_MAX_STATEMENTS = 4096

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens for CQL."""

    host: str
    port: int


class StatementError(Exception):
    """A statement could not be prepared, for a reason that another try would meet too: `error` is the server's."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(str(error))
        self.error = error


class Node:
    """One node, for one event loop.

    connections: how many are kept open. The server's network layer works on each with one thread.

    Attributes: is_up: what others say of it; its router sets it.
    """

    def __init__(self, address: Address, access: Access, *, connections: int, timeout_seconds: float) -> None:
        self.address = address
        self.is_up = True
        self._access = access
        self._timeout_seconds = timeout_seconds
        self._connections: list[Connection | None] = [None] * connections
        self._opening: dict[int, asyncio.Task[Connection]] = {}
        self._statements: dict[str, bytes] = {}
        self._preparing: dict[str, asyncio.Task[bytes]] = {}
        self._backoff_seconds = 0.0
        self._retry_at = 0.0
        self._failure: ConnectError | None = None
        self._turn = 0
        self._closed = False

    @property
    def may_answer(self) -> bool:
        """Whether it is connected, or a try to connect is due and nobody is at it: one that hangs is not waited for."""
        return self._any_open() is not None or (not self._opening and self._is_try_due())

    @property
    def load(self) -> int:
        """How many requests are under way."""
        return sum([c.load for c in self._connections if c is not None])

    async def connection(self) -> Connection:
        """An open connection: each time the next one. One that must be opened first is waited for if there is no other.

        Raises: ConnectError: none can be opened, or the last try was a moment ago; RefusedCredentialsError.
        """
        self._turn = (self._turn + 1) % len(self._connections)
        kept = self._connections[self._turn]
        if kept is not None and kept.is_open:
            return kept
        opening = self._open(self._turn)
        other = self._any_open()
        if other is not None:
            return other
        if opening is not None:
            return await _result(opening)
        # A new one each time: one that is raised again and again gathers tracebacks.
        failure = self._failure if self._failure is not None and not self._closed else ConnectError(CLIENT_CLOSED)
        raise type(failure)(*failure.args)

    async def statement_id(self, connection: Connection, statement: str) -> bytes:
        """The id under which the node knows a statement, prepared where it is not: once, however many reads want it.

        Raises: StatementError: the server refuses it; ConnectError.
        """
        known = self._statements.get(statement)
        if known is not None:
            return known
        task = self._preparing.get(statement)
        if task is None:
            task = self._preparing[statement] = asyncio.create_task(self._prepare(connection, statement))
            task.add_done_callback(lambda done: _end(self._preparing, statement, done))
        return await _result(task)

    def forget(self, statement: str) -> None:
        """The node does not know the statement any more: prepare it when it is wanted."""
        self._statements.pop(statement, None)

    def close(self) -> None:
        """Give up all connections, for good."""
        self._closed = True
        for task in (*self._opening.values(), *self._preparing.values()):
            task.cancel()
        for connection in self._connections:
            if connection is not None:
                connection.close(CLIENT_CLOSED)

    def _any_open(self) -> Connection | None:
        for connection in self._connections:
            if connection is not None and connection.is_open:
                return connection
        return None

    def _is_try_due(self) -> bool:
        return not self._closed and time.monotonic() >= self._retry_at

    def _open(self, slot: int) -> "asyncio.Task[Connection] | None":
        """The try to open a connection, one at a time for each; None: the last one failed a moment ago."""
        task = self._opening.get(slot)
        if task is None and self._is_try_due():
            task = self._opening[slot] = asyncio.create_task(self._try_open(slot))
            task.add_done_callback(lambda done: _end(self._opening, slot, done))
        return task

    async def _try_open(self, slot: int) -> Connection:
        address = self.address
        try:
            opened = await open_connection(
                address.host, address.port, self._access, timeout_seconds=self._timeout_seconds
            )
        except ConnectError as exc:
            grown = max(_FIRST_BACKOFF_SECONDS, 2 * self._backoff_seconds)
            self._backoff_seconds = min(grown, _MAX_BACKOFF_SECONDS)
            self._retry_at = time.monotonic() + self._backoff_seconds
            self._failure = exc
            raise
        self._backoff_seconds, self._retry_at, self._failure = 0.0, 0.0, None
        self._connections[slot] = opened
        return opened

    async def _prepare(self, connection: Connection, statement: str) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await ask(connection, frames.PREPARE, frames.prepare(statement))
            if isinstance(answer, ServerError):
                raise StatementError(answer)
            if not isinstance(answer, bytes):
                raise ConnectError(answer.reason if isinstance(answer, Lost) else f"PREPARE was answered by {answer!r}")
            found = frames.read_statement_id(answer)
        except TimeoutError as exc:
            raise ConnectError("PREPARE was not answered in time") from exc
        except FrameError as exc:
            raise ConnectError(str(exc)) from exc
        if len(self._statements) >= _MAX_STATEMENTS:
            self._statements.clear()
        self._statements[statement] = found
        return found


async def _result(task: "asyncio.Task[T]") -> T:
    """What a task of a node comes to. Whoever gives up waiting must not take it from those that wait beside it."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        waiting = asyncio.current_task()
        if task.cancelled() and waiting is not None and not waiting.cancelling():
            raise ConnectError(CLIENT_CLOSED) from None
        raise


def _end(tasks: "dict[K, asyncio.Task[T]]", key: K, task: "asyncio.Task[T]") -> None:
    tasks.pop(key, None)
    if not task.cancelled():
        # Looked at, even where all that waited have given up: asyncio would complain.
        task.exception()
