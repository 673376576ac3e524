"""One connection to one node: many requests under way at once, each answered out of order, none decoded here."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from features.stores.wire import frames
from features.stores.wire.frames import HEADER, MAX_BODY_BYTES, REQUEST_VERSION, FrameError, ServerError

# Requests that one connection has under way; more wait for an answer. Far above what a node answers at once.
_STREAMS = 1024
# How long a peer that was asked may say nothing at all. Counted in ticks, so that an event loop that was held up hears
# what came meanwhile before it judges. Halfway the peer is asked for a word: a slow read is no silence.
_SILENCE_SECONDS = 1.0
_SILENT_TICKS, _PROBE_TICKS = 4, 2
# The reason of what this side gave up.
CLIENT_CLOSED = "the client was closed"


@dataclass(frozen=True, slots=True)
class Lost:
    """In place of an answer: the connection broke, or was given up, before there was one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A message other than RESULT and ERROR: those of the handshake."""

    opcode: int
    body: bytes


# The body of a RESULT, or what came instead; None: no answer yet.
Answer = bytes | Reply | ServerError | Lost | None


class Exchange:
    """Requests that were sent together.

    answers: beside the requests; left: how many have none yet; abandoned: nobody waits for them any more.
    """

    __slots__ = ("_loop", "_wake", "abandoned", "answers", "left")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.answers: list[Answer] = [None] * count
        self.left = count
        self.abandoned = False
        self._loop = loop
        self._wake: asyncio.Future[None] | None = None

    def settle(self, at: int, answer: Answer) -> None:
        """Take one answer."""
        self.answers[at] = answer
        self.left -= 1
        if not self.left:
            self._awake()

    async def wait(self, *, until: float | None = None) -> None:
        """Come back once all are answered, or at that time of the event loop. One may wait at a time."""
        if not self.left:
            return
        # A timer and a future, rather than asyncio.timeout: this is on the path of every read.
        self._wake = self._loop.create_future()
        timer = self._loop.call_at(until, self._awake) if until is not None else None
        try:
            await self._wake
        finally:
            if timer is not None:
                timer.cancel()

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class Connection(asyncio.Protocol):
    """Belongs to the event loop that opened it; its methods are called there only.

    Attributes: is_open: whether requests may be sent; looked at often, so no property.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._left_over = b""
        self._free = list(range(_STREAMS))
        self._under_way: dict[int, tuple[Exchange, int]] = {}
        self._waiting: deque[tuple[Exchange, int, int, bytes]] = deque()
        self._closed: str | None = None
        self.is_open = True
        self._watch: asyncio.TimerHandle | None = None
        self._is_watched = False
        self._quiet_ticks = 0

    @property
    def load(self) -> int:
        """How many requests are under way or wait."""
        return len(self._under_way) + len(self._waiting)

    def send(self, opcode: int, bodies: Sequence[bytes]) -> Exchange:
        """Send requests of one kind, in one write."""
        exchange = Exchange(len(bodies), asyncio.get_running_loop())
        if self._closed is not None:
            for at in range(len(bodies)):
                exchange.settle(at, Lost(self._closed))
        elif len(bodies) <= len(self._free) and not self._waiting:
            self._write([(exchange, at, opcode, body) for at, body in enumerate(bodies)])
        else:
            self._waiting.extend((exchange, at, opcode, body) for at, body in enumerate(bodies))
            self._send_waiting()
        return exchange

    def watch(self) -> None:
        """From now on, give the connection up once the peer owes an answer and has said nothing for _SILENCE_SECONDS.

        So a peer that vanished without a word is found out, whatever becomes of those who wait for it.
        """
        self._is_watched = True

    def close(self, reason: str) -> None:
        """Give up what is under way; closing twice is fine."""
        if self._closed is not None:
            return
        self._closed = reason
        self.is_open = False
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()
        given_up = [*self._under_way.values(), *((exchange, at) for exchange, at, _, _ in self._waiting)]
        self._under_way.clear()
        self._waiting.clear()
        for exchange, at in given_up:
            exchange.settle(at, Lost(reason))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.close(f"the connection broke: {exc}" if exc else "the node closed the connection")

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: hands whole frames to those who wait for them, and keeps the rest."""
        self._quiet_ticks = 0
        if self._left_over:
            data = self._left_over + data
        at, end = 0, len(data)
        read_header, under_way, free = HEADER.unpack_from, self._under_way, self._free
        while end - at >= HEADER.size:
            _, flags, stream, opcode, length = read_header(data, at)
            start = at + HEADER.size
            if not 0 <= length <= MAX_BODY_BYTES:
                self.close(f"a frame of {length} bytes arrived")
                return
            at_next = start + length
            if at_next > end:
                break
            at = at_next
            answer: Answer = data[start:at_next]
            if flags or opcode != frames.RESULT:
                try:
                    answer = _read_other(flags, opcode, data[start:at_next])
                except FrameError as exc:
                    self.close(str(exc))
                    return
            # The server's own messages, about events, have negative streams; none are asked for.
            if (awaited := under_way.pop(stream, None)) is not None:
                free.append(stream)
                exchange, place = awaited
                exchange.settle(place, answer)
        self._left_over = data[at:]
        if self._waiting:
            self._send_waiting()

    def _send_waiting(self) -> None:
        requests: list[tuple[Exchange, int, int, bytes]] = []
        while self._waiting and len(requests) < len(self._free):
            request = self._waiting.popleft()
            if not request[0].abandoned:
                requests.append(request)
        if requests:
            self._write(requests)

    def _write(self, requests: Sequence[tuple[Exchange, int, int, bytes]]) -> None:
        parts = []
        for exchange, at, opcode, body in requests:
            stream = self._free.pop()
            self._under_way[stream] = (exchange, at)
            parts.append(HEADER.pack(REQUEST_VERSION, 0, stream, opcode, len(body)))
            parts.append(body)
        if self._transport is not None:
            self._transport.write(b"".join(parts))
        if self._watch is None and self._is_watched:
            self._quiet_ticks = 0
            self._await_tick()

    def _await_tick(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(_SILENCE_SECONDS / _SILENT_TICKS, self._tick)

    def _tick(self) -> None:
        self._watch = None
        if self._closed is not None or not self._under_way:
            return
        self._quiet_ticks += 1
        if self._quiet_ticks >= _SILENT_TICKS:
            self.close(f"nothing came for {_SILENCE_SECONDS} s")
            return
        self._await_tick()
        if self._quiet_ticks == _PROBE_TICKS:
            self.send(frames.OPTIONS, [b""])


def _read_other(flags: int, opcode: int, body: bytes) -> Answer:
    """The answer of a frame that is no plain result. Raises: FrameError."""
    if flags:
        body = frames.strip_extras(flags, body)
    if opcode == frames.RESULT:
        return body
    return frames.read_error(body) if opcode == frames.ERROR else Reply(opcode, body)
