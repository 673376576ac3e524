"""Closing a connection on which a client still sends, so that it gets its answer and not a reset.

Whoever closes with bytes unread resets the connection, and the reset may overtake the answer (RFC 9112 section 9.6).
"""

import asyncio
from collections.abc import Callable
from typing import Any

_SECONDS = 5.0
_MOST_BYTES = 256 << 20


class LingeringTransport:
    """A transport as an answer sees it, whose `close` reads and discards for a while first, if that is wanted.

    is_wanted: asked when it is to be closed. Once the request is all there is nothing to wait for: `end` it then.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        is_wanted: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._is_wanted = is_wanted
        self._timer: asyncio.TimerHandle | None = None
        self._left = _MOST_BYTES

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Close, now or soon."""
        if not self._is_wanted():
            self._transport.close()
        elif self._timer is None:
            self._timer = self._loop.call_later(_SECONDS, self._transport.close)

    def discard(self, data: bytes) -> bool:
        """Count what came behind the answer; whether it may still be looked through for the request's end."""
        self._left -= len(data)
        if self._left < 0:
            self.end()
        return not self._transport.is_closing()

    def end(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()
