"""HTTP/1.1 as uvicorn speaks it, with bounds on what comes before there is a request that has bounds of its own.

Requests that are too many are refused here: what uvicorn and the application make for one costs several times as much,
and a server that is offered twice what it can answer would spend a third of its time on refusals.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from features.serving.http.gate import ADMITTED, Gate

_HEAD_SECONDS = 10.0
_MOST_HEAD_BYTES = 64 << 10
_PIECE_BYTES = 8 << 10


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request line and headers are too long, or do not come in time.

    An idle connection that has had an answer is uvicorn's to close.

    gate: asked about the requests that are its own, as far as they arrive as a whole; the others find their way to it.
    """

    def __init__(self, *args: Any, gate: Gate | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._gate = gate
        # The parts of a body, while it is not known whether all of it has come along with the head.
        self._held: list[bytes] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._have_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        # What is received at once may hold the head's end and much of the body: only bytes that come while the head
        # is unfinished are the head's.
        while self._head_timer is not None and data and not self.transport.is_closing():
            piece, data = data[:_PIECE_BYTES], data[_PIECE_BYTES:]
            super().data_received(piece)
            self._let_go()
            if self._head_timer is not None:
                self._head_bytes += len(piece)
                if self._head_bytes > _MOST_HEAD_BYTES:
                    self._have_head()
                    self.send_400_response("the request's headers are too long")
                    return
        if data and not self.transport.is_closing():
            super().data_received(data)
            self._let_go()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._have_head()
        gate = self._gate
        if (
            gate is not None
            and self.url == gate.path
            and self.parser.get_method() == gate.method
            and not self.expect_100_continue
            and (self.cycle is None or self.cycle.response_complete)
        ):
            self._held = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._held is not None and self._gate is not None:
            if not self._gate.enter():
                self._held = None
                self._refuse(self._gate)
                return
            self.scope["extensions"] = {ADMITTED: {}}
        self._let_go()
        super().on_message_complete()

    def _let_go(self) -> None:
        """What is held goes on as uvicorn would have had it."""
        if self._held is not None:
            parts, self._held = self._held, None
            super().on_headers_complete()
            for part in parts:
                super().on_body(part)

    def _refuse(self, gate: Gate) -> None:
        lines = [b"HTTP/1.1 503 Service Unavailable\r\n"]
        headers, body = gate.refuse(self.headers)
        keep_alive = self.parser.should_keep_alive()
        for name, value in (*self.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join((*lines, b"\r\n", body)))
        self.on_response_complete()
        if not keep_alive:
            self.transport.close()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._give_up)

    def _have_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        self.transport.close()
