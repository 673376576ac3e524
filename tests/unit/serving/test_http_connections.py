"""What connections cost that clients keep, cut or leave unread; and what does not belong to a request."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from uvicorn import Config
from uvicorn.server import ServerState

from features.serving.http import lingering as lingering_module
from features.serving.http import protocol as protocol_module
from features.serving.http.admission import Admission
from features.serving.http.gate import Gate
from features.serving.http.metrics import Metrics
from features.serving.http.protocol import BoundedProtocol

PATH = b"/get-online-features"


class Server:
    """A listening protocol before an application that tells what it was asked, and answers with a body of `size`."""

    def __init__(self, *, size: int = 0, reads: bool = True, seconds: float = 0.0) -> None:
        self.asked: list[tuple[str, dict[bytes, bytes], bytes]] = []
        self.protocols: list[BoundedProtocol] = []
        self.admission = Admission(most=1, target_seconds=1)
        self._gate = Gate(self.admission, Metrics(), lambda exchange, status: None)
        self._size, self._reads, self._seconds = size, reads, seconds
        self._state = ServerState()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", self._reads
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if "extensions" in scope:
            self.admission.leave()
        self.asked.append((scope["path"], dict(scope["headers"]), body))
        await asyncio.sleep(self._seconds)
        headers = [(b"content-length", str(self._size).encode())]
        if not self._reads:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 200 if self._reads else 413, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * self._size})

    @asynccontextmanager
    async def listening(self, *, keep_alive: float = 5) -> AsyncIterator[tuple[str, int]]:
        config = Config(self, interface="asgi3", lifespan="off", ws="none", log_config=None)
        config.timeout_keep_alive = keep_alive  # type: ignore[assignment]
        config.load()

        def make() -> BoundedProtocol:
            made = BoundedProtocol(config, self._state, {}, gate=self._gate)
            self.protocols.append(made)
            return made

        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()
        finally:
            server.close()
            for protocol in self.protocols:
                protocol.transport.abort()
            await asyncio.sleep(0.02)

    async def talk(self, *pieces: bytes, seconds: float = 1.0, keep_alive: float = 5) -> tuple[bytes, bool]:
        """What comes back within the time, and whether the server has closed by then."""
        async with self.listening(keep_alive=keep_alive) as address:
            reader, writer = await asyncio.open_connection(*address)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.02)
            answer = b""
            try:
                async with asyncio.timeout(seconds):
                    while data := await reader.read(1 << 16):
                        answer += data
                closed = True
            except TimeoutError:
                closed = False
            writer.close()
            return answer, closed


def request(body: bytes = b"{}", *, more: bytes = b"", path: bytes = PATH) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n%s\r\n%s" % (path, len(body), more, body)


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
WEBSOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET])
@pytest.mark.parametrize("cut", [None, -33, -1, 60])
def test_an_offer_to_upgrade_is_passed_over(offer: bytes, cut: int | None) -> None:
    body = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    sent = request(body, more=offer) + request(b"next")
    server = Server()

    answer, _ = asyncio.run(server.talk(*([sent] if cut is None else [sent[:cut], sent[cut:]])))

    assert answer.count(b"HTTP/1.1 200") == 2
    assert [asked[2] for asked in server.asked] == [body, b"next"]
    assert b"upgrade" not in server.asked[0][1]
    assert server.asked[0][1].get(b"connection", b"").lower() in (b"", b"keep-alive")


def test_nobody_is_connected_elsewhere() -> None:
    answer, closed = asyncio.run(Server().talk(b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n"))

    assert answer.startswith(b"HTTP/1.1 400")
    assert closed


def test_fields_behind_a_body_are_not_its_heads() -> None:
    server = Server()
    head = b"POST %s HTTP/1.1\r\nX-API-Key: wrong\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH

    asyncio.run(server.talk(head + b"2\r\n{}\r\n0\r\nX-API-Key: right\r\n\r\n"))

    [(_, headers, body)] = server.asked
    assert (headers[b"x-api-key"], body) == (b"wrong", b"{}")


def test_fields_behind_a_body_without_end_are_refused() -> None:
    head = b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" % PATH

    answer, closed = asyncio.run(Server().talk(head, b"a: b\r\n" * 40_000))

    assert answer.startswith(b"HTTP/1.1 400")
    assert closed


def test_a_client_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "_WRITE_SECONDS", 0.2)
    server = Server(size=32 << 20)

    async def ask() -> bool:
        async with server.listening() as address:
            client = socket.create_connection(address)
            client.sendall(request())
            await asyncio.sleep(1)
            gone = server.protocols[0].transport.is_closing()
            client.close()
            return gone

    assert asyncio.run(ask())


def test_refusals_that_are_not_read_do_not_pile_up() -> None:
    server = Server()
    server.admission.enter()

    async def ask() -> int:
        async with server.listening() as address:
            client = socket.create_connection(address)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(2):
                    while True:
                        await loop.sock_sendall(client, request(b"") * 1000)
            except TimeoutError:
                pass
            kept = server.protocols[0].transport.get_write_buffer_size()
            client.close()
            return kept

    assert asyncio.run(ask()) < 4 << 20


@pytest.mark.parametrize("more", [b"\r\n", b""])
def test_bytes_that_begin_no_request_keep_no_connection(more: bytes) -> None:
    _, closed = asyncio.run(Server().talk(request(), more, seconds=2, keep_alive=0.2))

    assert closed


def test_who_is_answered_before_its_body_is_sent_gets_the_answer() -> None:
    server = Server(reads=False, size=10)
    sent = request(b"x" * (20 << 20))

    async def ask() -> bytes:
        async with server.listening() as address:

            def send_first() -> bytes:
                with socket.create_connection(address, timeout=5) as client:
                    client.sendall(sent)
                    return client.recv(1 << 16)

            return await asyncio.to_thread(send_first)

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 413")


def test_who_never_ends_its_body_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering_module, "_SECONDS", 0.2)

    answer, closed = asyncio.run(Server(reads=False).talk(request(b"x" * 1000)[:-1], seconds=2))

    assert answer.startswith(b"HTTP/1.1 413")
    assert closed


def test_a_client_that_leaves_several_requests_behind_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(seconds=0.2)

    async def ask() -> None:
        async with server.listening() as address:
            _, writer = await asyncio.open_connection(*address)
            writer.write(request() + request() + request(path=b"/health"))
            await asyncio.sleep(0.05)
            writer.transport.abort()
            await asyncio.sleep(0.5)

    # Its transports raise where asyncio's own only warn.
    with caplog.at_level(logging.WARNING), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())

    assert caplog.records == []
    assert server.admission.under_way == 0
    assert len(server.asked) == 1


def test_a_head_that_waits_for_answers_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "_HEAD_SECONDS", 0.1)
    server = Server(seconds=0.15)

    answer, _ = asyncio.run(server.talk(request() * 3 + request()[:20], seconds=2))

    assert answer.count(b"HTTP/1.1 200") == 3
