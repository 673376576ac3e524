"""Many statements at once, with a bound on how many are under way."""

from collections.abc import Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Any

from cassandra.cluster import Session
from cassandra.query import Statement

# Sockets and the server's queues stay busy well below it; above it, requests only wait longer.
IN_FLIGHT = 256

Rows = list[tuple[Any, ...]]


def execute_all(session: Session, statements: Sequence[Statement]) -> "Future[Sequence[Rows]]":
    """A future of the rows of each statement, of their first page: each reads one partition.

    The first failure ends it: what is under way is left alone, nothing more is sent. Nothing here blocks.
    """
    run = _Run(session, statements)
    run.send()
    return run.answer


class _Run:
    """Statements under way. Its methods are called by the caller's thread first, then by the driver's."""

    def __init__(self, session: Session, statements: Sequence[Statement]) -> None:
        self.answer: Future[Sequence[Rows]] = Future()
        # A running future cannot be cancelled, so setting its result never fails.
        self.answer.set_running_or_notify_cancel()
        self._session = session
        self._statements = statements
        self._rows: list[Rows] = [[] for _ in statements]
        self._lock = Lock()
        self._sent = 0
        self._left = len(statements)
        self._failed = False
        self._sending = False
        if not statements:
            self.answer.set_result([])

    def send(self) -> None:
        """Send until the bound is reached."""
        with self._lock:
            # A callback that runs at once, inside add_callbacks, must not send from there: the stack would grow.
            if self._sending:
                return
            self._sending = True
        while (index := self._take()) is not None:
            try:
                future = self._session.execute_async(self._statements[index])
                future.add_callbacks(self._succeed, self._fail, callback_args=(index,))
            except Exception as exc:  # noqa: BLE001 - boundary: lost in the driver's thread, it would leave no answer
                self._fail(exc)

    def _take(self) -> int | None:
        with self._lock:
            under_way = self._sent - (len(self._statements) - self._left)
            if self._failed or self._sent == len(self._statements) or under_way >= IN_FLIGHT:
                self._sending = False
                return None
            self._sent += 1
            return self._sent - 1

    def _succeed(self, rows: Rows | None, index: int) -> None:
        self._rows[index] = list(rows or ())
        with self._lock:
            self._left -= 1
            done = self._left == 0 and not self._failed
        if done:
            self.answer.set_result(self._rows)
        else:
            self.send()

    def _fail(self, error: Exception) -> None:
        with self._lock:
            first = not self._failed
            self._failed = True
        if first:
            self.answer.set_exception(error)
