"""Nodes of a cluster as a reader sees them: a few connections each, opened when wanted, given up when silent."""

import asyncio
import time
from dataclasses import dataclass

from features.stores.wire import frames
from features.stores.wire.connection import Connection, Lost
from features.stores.wire.frames import ServerError
from features.stores.wire.opening import Access, ConnectError, ask, open_connection

_FIRST_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.1, 5.0


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
    """

    def __init__(self, address: Address, access: Access, *, connections: int, timeout_seconds: float) -> None:
        self.address = address
        self._access = access
        self._timeout_seconds = timeout_seconds
        self._connections: list[Connection | None] = [None] * connections
        self._opening: dict[int, asyncio.Task[Connection]] = {}
        self._statements: dict[str, bytes] = {}
        self._backoff_seconds = 0.0
        self._retry_at = 0.0
        self._failure: ConnectError | None = None
        self._turn = 0

    @property
    def may_answer(self) -> bool:
        """Whether it is connected, or a try to connect is due."""
        return any(c is not None and c.is_open for c in self._connections) or time.monotonic() >= self._retry_at

    @property
    def load(self) -> int:
        """How many requests are under way."""
        return sum(c.load for c in self._connections if c is not None)

    async def connection(self) -> Connection:
        """An open connection: each time the next one.

        Raises: ConnectError: none can be opened, or the last try was a moment ago; RefusedCredentialsError.
        """
        self._turn = (self._turn + 1) % len(self._connections)
        kept = self._connections[self._turn]
        return kept if kept is not None and kept.is_open else await self._open(self._turn)

    async def statement_id(self, connection: Connection, statement: str) -> bytes:
        """The id under which the node knows a statement, prepared where it is not.

        Raises: StatementError: the server refuses it; ConnectError.
        """
        known = self._statements.get(statement)
        if known is not None:
            return known
        answer = await ask(connection, frames.PREPARE, frames.prepare(statement))
        if isinstance(answer, ServerError):
            raise StatementError(answer)
        if not isinstance(answer, bytes):
            raise ConnectError(answer.reason if isinstance(answer, Lost) else f"PREPARE was answered by {answer!r}")
        found = self._statements[statement] = frames.read_statement_id(answer)
        return found

    def forget(self, statement: str) -> None:
        """The node does not know the statement any more: prepare it when it is wanted."""
        self._statements.pop(statement, None)

    def close(self) -> None:
        """Give up all connections."""
        for task in self._opening.values():
            task.cancel()
        for connection in self._connections:
            if connection is not None:
                connection.close("the client was closed")

    async def _open(self, slot: int) -> Connection:
        # One try at a time for each connection, however many requests wait for it.
        task = self._opening.get(slot)
        if task is None:
            if self._failure is not None and time.monotonic() < self._retry_at:
                raise self._failure
            task = self._opening[slot] = asyncio.create_task(self._try_open(slot))
            task.add_done_callback(lambda done: self._opened(slot, done))
        # A request that gives up must not take the connection from those that wait beside it.
        return await asyncio.shield(task)

    def _opened(self, slot: int, task: "asyncio.Task[Connection]") -> None:
        self._opening.pop(slot, None)
        if not task.cancelled():
            # Looked at, even where all that waited have given up: asyncio would complain.
            task.exception()

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
