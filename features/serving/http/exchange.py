"""One request and its answer, as ASGI has them: the headers that count, the body, and the way back."""

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from features.serving.http.refusals import RefusedRequestError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# What comes back in a header and goes into a log must not be able to break either.
_REQUEST_ID = re.compile(rb"[\w.:/+=@-]{1,128}")
_WANTED = frozenset(
    (
        b"x-request-id", b"authorization", b"x-api-key", b"accept", b"x-request-timeout-ms", b"content-length",
        b"content-encoding", b"transfer-encoding",
    )
)  # fmt: skip


@dataclass(slots=True)
class Exchange:
    """What is known of a request while it is answered; what its line in the access log tells at the end.

    caller: the name of its key. service: under which it is counted. arms: view to arm to rows, while a canary runs.
    admitted: it counts among those under way.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    request_id: str
    started: float = field(default_factory=time.perf_counter)
    body_read: bool = False
    admitted: bool = False
    caller: str | None = None
    service: str = "none"
    features: str | list[str] | None = None
    rows: int | None = None
    arms: dict[str, dict[str, int]] | None = None
    unavailable: list[str] | None = None

    @classmethod
    def of(cls, scope: Scope) -> "Exchange":
        """The request of a scope. A request id that is not safe to repeat is replaced."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in _WANTED:
                # Of a field that was sent twice, no value is picked: of two keys, each is somebody's.
                headers[name] = headers[name] + b", " + value if name in headers else value
        given = headers.get(b"x-request-id")
        known = given is not None and _REQUEST_ID.fullmatch(given)
        request_id = given.decode("ascii") if known and given is not None else secrets.token_hex(8)
        return cls(scope["method"], scope["path"], headers, request_id)

    @property
    def api_key(self) -> str | None:
        """The key that came along: as a bearer, or in a header of its own."""
        scheme, _, credentials = self.headers.get(b"authorization", b"").partition(b" ")
        key = credentials.strip() if scheme.lower() == b"bearer" else self.headers.get(b"x-api-key", b"")
        return key.decode("utf-8", "surrogateescape") or None

    def timeout_seconds(self, *, default_ms: int, most_ms: int) -> float:
        """The deadline, from now on. Raises: RefusedRequestError: 400: the header is no positive whole number."""
        given = self.headers.get(b"x-request-timeout-ms")
        if given is None:
            return min(default_ms, most_ms) / 1000
        if not given.isdigit() or len(given) > 9 or int(given) == 0:
            raise RefusedRequestError(400, "X-Request-Timeout-Ms must be a whole number of milliseconds, at least 1")
        return min(int(given), most_ms) / 1000

    def accepts(self, media_type: bytes) -> bool:
        """Whether the caller names a media type among those that it accepts."""
        accept = self.headers.get(b"accept")
        return accept is not None and media_type in accept.lower()

    async def read_body(self, receive: Receive, *, most_bytes: int) -> bytes:
        """The body.

        Raises: RefusedRequestError: 413: it is longer, or says that it will be; 400: it broke off; 415 or 501: it is
            compressed.
        """
        self._check_codings()
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > most_bytes:
            raise _too_long(most_bytes)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedRequestError(400, "the request broke off before its end")
            part = message.get("body", b"")
            size += len(part)
            if size > most_bytes:
                raise _too_long(most_bytes)
            parts.append(part)
            if not message.get("more_body", False):
                self.body_read = True
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check_codings(self) -> None:
        if self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise RefusedRequestError(415, "the body has a Content-Encoding; send it as plain JSON")
        if self.headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise RefusedRequestError(501, "of transfer codings, only `chunked` is taken")


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body, its media type, and headers beside."""

    status: int
    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


async def send_answer(send: Send, answer: Answer, exchange: Exchange) -> None:
    """Send an answer, with the request's id."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer_headers(answer, exchange)})
    await send({"type": "http.response.body", "body": b"" if exchange.method == "HEAD" else answer.body})


def answer_headers(answer: Answer, exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """The headers of an answer."""
    headers = [
        (b"content-type", answer.media_type.encode()),
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", exchange.request_id.encode()),
        *((name.encode(), value.encode()) for name, value in answer.headers.items()),
    ]
    if exchange.method == "POST" and not exchange.body_read:
        # The rest of the body is not worth reading.
        headers.append((b"connection", b"close"))
    return headers


def _too_long(most_bytes: int) -> RefusedRequestError:
    return RefusedRequestError(413, f"the body is longer than {most_bytes:,} bytes; split the request")
