"""HTTP/1.1 as uvicorn speaks it, with bounds on what comes before there is a request that has bounds of its own."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_SECONDS = 10.0
_MOST_HEAD_BYTES = 64 << 10
_PIECE_BYTES = 8 << 10


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request line and headers are too long, or do not come in time.

    An idle connection that has had an answer is uvicorn's to close.
    """

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
            if self._head_timer is not None:
                self._head_bytes += len(piece)
                if self._head_bytes > _MOST_HEAD_BYTES:
                    self._have_head()
                    self.send_400_response("the request's headers are too long")
                    return
        if data and not self.transport.is_closing():
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Called by the parser."""
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._have_head()
        super().on_headers_complete()

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
