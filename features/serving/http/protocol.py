"""HTTP/1.1 as uvicorn speaks it, with bounds on what comes before there is a request that has bounds of its own.

Requests that are too many are refused here: what uvicorn and the application make for one costs several times as much,
and a server that is offered twice what it can answer would spend a third of its time on refusals.
"""

import asyncio
from typing import Any, cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from features.serving.http.gate import ADMITTED, Gate
from features.serving.http.lingering import LingeringTransport
from features.serving.http.messages import ErrorAnswer

_HEAD_SECONDS = 10.0
_MOST_HEAD_BYTES = 64 << 10
_PIECE_BYTES = 8 << 10
# How long a client may leave an answer unread once the buffers on the way are full.
_WRITE_SECONDS = 30.0
# Of an upgrade: RFC 9110 section 7.8, and RFC 7540 section 3.2.1, which Java's own client still sends.
_UPGRADE_HEADERS = frozenset((b"upgrade", b"http2-settings"))


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request line and headers are too long, or do not come in time.

    So it does where a client does not read its answer. An idle connection that has had one is uvicorn's to close.
    Fields behind a body are not looked at. No upgrade is taken up: a request that offers one is answered as it is.

    gate: asked about the requests that are its own, as far as they arrive as a whole; the others find their way to it.
    """

    def __init__(self, *args: Any, gate: Gate | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._gate = gate
        # The parts of a body, while it is not known whether all of it has come along with the head.
        self._held: list[bytes] | None = None
        self._offers_upgrade = False
        # Of several on one connection, `cycle` is the last that has arrived.
        self._answered: RequestResponseCycle | None = None
        self._head_bytes = self._trailer_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._lingering: LingeringTransport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._have_head()
        self.resume_writing()
        if self._lingering is not None:
            self._lingering.end()
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._lingering is not None and not self._lingering.discard(data):
            return
        # What is received at once may hold the head's end and much of the body: only bytes that come while the head
        # is unfinished are the head's.
        while self._head_timer is not None and data and not self.transport.is_closing():
            piece, data = data[:_PIECE_BYTES], data[_PIECE_BYTES:]
            self._feed(piece)
            if self._head_timer is not None:
                self._head_bytes += len(piece)
                if self._head_bytes > _MOST_HEAD_BYTES:
                    self._have_head()
                    self.send_400_response("the request's headers are too long")
                    return
        if data and not self.transport.is_closing():
            self._feed(data)
        if self._is_idle():
            # Bytes that begin no request leave it as idle as it was.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        """Called by the parser."""
        super().on_message_begin()
        self._trailer_bytes = 0
        if self._head_timer is None:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, also with fields behind a body: those must not pass for the head's."""
        if self._head_timer is not None:
            super().on_header(name, value)
            return
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > _MOST_HEAD_BYTES:
            raise ValueError("too many fields behind a body")

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self.parser.should_upgrade():
            # The parser takes what follows for another protocol, and says so once this returns.
            self._offers_upgrade = True
            return
        self._have_head()
        if self._lingering is not None:
            return
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
            self._begin()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._offers_upgrade:
            return
        if self._lingering is not None:
            self._lingering.end()
        if self._held is not None and self._gate is not None:
            if self._gate.enter():
                self.scope["extensions"] = {ADMITTED: {}}
            elif not self.flow.write_paused:
                self._held = None
                self._refuse(self._gate)
                return
        self._let_go()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Called by the event loop: the client does not read, and buffers are full."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(_WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Called by the event loop."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Called where nothing has come for long."""
        if self.transport.get_write_buffer_size():
            # To close it would be to wait until the client has read.
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """As the application's errors are. Called by uvicorn, too."""
        body = msgspec.json.encode(ErrorAnswer(detail=msg))
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(b"%sconnection: close\r\n\r\n%s" % (head, body))
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _feed(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._go_on_without_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError:
            if self._lingering is not None:
                self._lingering.end()
            else:
                self.send_400_response("Invalid HTTP request received.")
        self._let_go()

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Have the request parsed again as one that offers none, and what follows as its body."""
        self._offers_upgrade = False
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("CONNECT is not for servers")
            return
        lines = [method, b" ", self.url, b" HTTP/", self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() not in _UPGRADE_HEADERS)
            if name not in _UPGRADE_HEADERS:
                lines += (name, b": ", value, b"\r\n")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(b"".join((*lines, b"\r\n")))
        if rest and not self.transport.is_closing():
            self._feed(rest)

    def _let_go(self) -> None:
        """What is held goes on as uvicorn would have had it."""
        if self._held is not None:
            parts, self._held = self._held, None
            self._begin()
            for part in parts:
                super().on_body(part)

    def _begin(self) -> None:
        super().on_headers_complete()
        cycle = self.cycle
        lingering = LingeringTransport(self.transport, self.loop, is_wanted=lambda: self._linger(cycle, lingering))
        cycle.transport = cast(asyncio.Transport, lingering)

    def _linger(self, cycle: RequestResponseCycle, lingering: LingeringTransport) -> bool:
        """Whether a connection is to be kept a little while: its request was answered before it was all there."""
        if not cycle.more_body or cycle is not self.cycle or self.transport.is_closing():
            return False
        self._lingering = lingering
        self.flow.resume_reading()
        return True

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

    def _is_idle(self) -> bool:
        return (
            self.timeout_keep_alive_task is None
            and self._head_timer is None
            and (self.cycle is None or self.cycle.response_complete)
            and not self.transport.is_closing()
        )

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._give_up)

    def _have_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if self._answered is not None and not self._answered.response_complete:
            # Nothing is read meanwhile: the rest of the head may well be there.
            self._await_head()
            return
        self._head_timer = None
        self.transport.close()
