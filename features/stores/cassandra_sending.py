"""Batches on their way to Cassandra: a window that follows what the servers can take, and repeats of what failed."""

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING, Any, Protocol

from cassandra import InvalidRequest, OperationTimedOut, ReadTimeout, Unavailable, WriteTimeout
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import ErrorMessage, OverloadedErrorMessage

from features.stores.cassandra_session import VENDOR_ERRORS

if TYPE_CHECKING:
    from features.stores.cassandra_batches import Batch

_ATTEMPTS = 5
_UNSENT_SECONDS = 0.05
_PASSING = (
    OperationTimedOut, ReadTimeout, WriteTimeout, Unavailable, OverloadedErrorMessage, NoHostAvailable,
    ConnectionException,
)  # fmt: skip

_UNSENT = (ConnectionBusy, NoConnectionsAvailable, ConnectionException, OSError)
# All that a batch may be given up for. Of what servers answer, not everything is a DriverException.
FAILURES = (*VENDOR_ERRORS, ErrorMessage)

Answer = Callable[[Exception | None], None]


class Transport(Protocol):
    """Sends a batch and returns at once; later, from any thread, tells the answer: None, or why it failed."""

    def __call__(self, batch: "Batch", answer: Answer) -> None:
        """Send it. An exception of the driver is an answer too."""


class Window:
    """How many batches may be under way: one more for each round of answers, half on a sign of overload.

    This is the rule by which TCP shares a line: several loads, each with a window of its own, end in a fair share.
    """

    def __init__(self, *, start: float = 16, most: int = 32, slow_seconds: float = 1.0) -> None:
        """slow_seconds: an answer that took longer is a sign of overload."""
        self._size = start
        self._most = most
        self._slow_seconds = slow_seconds
        self._halved_at = 0.0

    @property
    def limit(self) -> int:
        """Batches under way at most; never less than 1."""
        return int(self._size)

    def acknowledge(self, *, sent_at: float, now: float) -> None:
        """An answer came. Times are of one monotonic clock, in seconds."""
        if now - sent_at > self._slow_seconds:
            self.halve(sent_at=sent_at, now=now)
        else:
            self._size = min(self._most, self._size + 1 / self._size)

    def halve(self, *, sent_at: float, now: float) -> None:
        """A batch met an overload. Those sent before the last halving tell nothing new."""
        if sent_at >= self._halved_at:
            self._size = max(1.0, self._size / 2)
            self._halved_at = now


@dataclass(frozen=True, slots=True)
class _Try:
    """One batch and how often it failed. since: when it was first handed over."""

    batch: "Batch"
    failures: int
    since: float


class Sender:
    """Sends batches, each until it is acknowledged. Used by one thread; answers come from others.

    Repeating is harmless, since a batch carries its write timestamps: an unsure outcome is simply sent again.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        window: Window,
        max_bytes: int,
        patience_seconds: float,
        backoff_seconds: float = 0.5,
    ) -> None:
        """See the attributes.

        Args:
            transport: sends.
            window: bounds what is under way.
            max_bytes: bound of a batch, as the server adds up its bytes; sinks where a server has a lower one.
            patience_seconds: how long a full socket, or any node that is up, is waited for before that is a failure.
            backoff_seconds: from a batch's first failure to its repetition; doubled after each further one.
        """
        self.max_bytes = max_bytes
        self._transport = transport
        self._window = window
        self._patience_seconds = patience_seconds
        self._backoff_seconds = backoff_seconds
        self._changed = Condition()
        self._under_way = 0
        self._acknowledged: Counter[str] = Counter()
        # Ordered by when they are due; the number keeps batches from being compared.
        self._failed: list[tuple[float, int, _Try]] = []
        self._numbers = itertools.count()
        self._error: Exception | None = None

    @property
    def acknowledged(self) -> Counter[str]:
        """How many statements the servers acknowledged, by what they do (`Statements.verb`)."""
        with self._changed:
            return self._acknowledged.copy()

    def send(self, batch: "Batch") -> None:
        """Send it as soon as the window has room. Raises: the error of an earlier batch that is given up."""
        # What waits to be repeated counts too: while a server is overloaded, batches would pile up here instead.
        self._repeat_until(lambda: self._under_way + len(self._failed) < self._window.limit)
        self._start(_Try(batch, 0, time.monotonic()))

    def drain(self) -> None:
        """Return once all is acknowledged. Raises: the error of a batch that is given up."""
        self._repeat_until(lambda: not self._under_way and not self._failed)

    def _repeat_until(self, done: Callable[[], bool]) -> None:
        """Repeat what is due, before anything new, until the condition holds."""
        while True:
            with self._changed:
                if self._error is not None:
                    raise self._error
                seconds = self._failed[0][0] - time.monotonic() if self._failed else None
                is_due = seconds is not None and seconds <= 0
                if is_due and self._under_way < self._window.limit:
                    again = heapq.heappop(self._failed)[-1]
                elif done():
                    return
                else:
                    self._changed.wait(None if is_due else seconds)
                    continue
            self._start(again)

    def _start(self, attempt: _Try) -> None:
        with self._changed:
            self._under_way += 1
        sent_at = time.monotonic()
        try:
            self._transport(attempt.batch, lambda error: self._finish(attempt, sent_at, error))
        except FAILURES as exc:
            self._finish(attempt, sent_at, exc)

    def _finish(self, attempt: _Try, sent_at: float, error: Exception | None) -> None:
        now = time.monotonic()
        with self._changed:
            self._under_way -= 1
            if error is None:
                self._acknowledged[attempt.batch.statements.verb] += len(attempt.batch)
                self._window.acknowledge(sent_at=sent_at, now=now)
            elif _is_too_large(error) and len(attempt.batch) > 1:
                self.max_bytes = min(self.max_bytes, max(1, attempt.batch.weight // 2))
                for half in attempt.batch.halves():
                    self._again(_Try(half, attempt.failures, now), due=now)
            elif _is_unsent(error) and now - attempt.since < self._patience_seconds:
                self._window.halve(sent_at=sent_at, now=now)
                self._again(attempt, due=now + _UNSENT_SECONDS)
            elif isinstance(error, _PASSING) and attempt.failures + 1 < _ATTEMPTS:
                self._window.halve(sent_at=sent_at, now=now)
                backoff = self._backoff_seconds * 2**attempt.failures
                self._again(_Try(attempt.batch, attempt.failures + 1, now), due=now + backoff)
            else:
                self._error = self._error or error
            self._changed.notify_all()

    def _again(self, attempt: _Try, *, due: float) -> None:
        heapq.heappush(self._failed, (due, next(self._numbers), attempt))


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, InvalidRequest) and "Batch too large" in str(error)


def _is_unsent(error: Exception) -> bool:
    """Whether it reached no node: sockets are full, since servers read no faster, or no node is up just now."""
    causes: Any = getattr(error, "errors", None) or {}
    return isinstance(error, NoHostAvailable) and all(isinstance(cause, _UNSENT) for cause in causes.values())
