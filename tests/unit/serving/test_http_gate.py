"""Requests that are too many are refused by the protocol, where they come as a whole; others by the application."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from features.serving.http.admission import Admission
from features.serving.http.exchange import Exchange
from features.serving.http.gate import ADMITTED, Gate
from features.serving.http.metrics import Metrics
from features.serving.http.protocol import BoundedProtocol

PATH = "/get-online-features"


class Desk:
    """A listening protocol with a gate of one request, before an application that tells what it was asked."""

    def __init__(self) -> None:
        self.admission = Admission(most=1, target_seconds=1)
        self.metrics = Metrics()
        self.told: list[tuple[Exchange, int]] = []
        self.calls: list[tuple[str, bytes, bool]] = []
        self.state = ServerState()
        self.gate = Gate(self.admission, self.metrics, lambda exchange, status: self.told.append((exchange, status)))

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        admitted = ADMITTED in scope.get("extensions", ())
        self.calls.append((scope["path"], body, admitted))
        if admitted:
            self.admission.leave()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        config = Config(self.application, interface="asgi3", lifespan="off", ws="none", log_config=None)
        config.load()
        make = partial(BoundedProtocol, config, self.state, {}, gate=self.gate)
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            server.close()
            await asyncio.sleep(0.02)

    async def answers(self, *pieces: bytes) -> list[tuple[int, dict[str, str], bytes]]:
        """Send pieces, one after another; what comes back for each request in them."""
        async with self.connected() as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.02)
            return [await _answer(reader) for _ in range(b"".join(pieces).count(b"HTTP/1.1\r\n"))]


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def request(body: bytes = b"{}", *, method: str = "POST", path: str = PATH, more: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def test_one_too_many_is_refused_and_its_connection_goes_on():
    desk = Desk()
    desk.admission.enter()

    async def ask() -> Any:
        refused = await desk.answers(request(more="X-Request-Id: mine\r\n"), request())
        desk.admission.leave()
        return refused, await desk.answers(request(), request())

    refused, accepted = asyncio.run(ask())

    assert [status for status, _, _ in refused] == [503, 503]
    _, headers, body = refused[0]
    assert headers["retry-after"] == "1"
    assert headers["x-request-id"] == "mine"
    assert headers["content-type"] == "application/json"
    assert "connection" not in headers
    assert json.loads(body) == {"detail": "too many requests at once; try again later"}
    assert desk.metrics.counts.refused == {"overload": 2}
    assert next((exchange.request_id, status) for exchange, status in desk.told) == ("mine", 503)
    assert [status for status, _, _ in accepted] == [200, 200]
    assert desk.calls == [(PATH, b"{}", True)] * 2
    assert desk.admission.under_way == 0


def test_who_wants_no_more_is_closed_behind_the_refusal():
    desk = Desk()
    desk.admission.enter()

    [(status, headers, _)] = asyncio.run(desk.answers(request(more="Connection: close\r\n")))

    assert (status, headers["connection"]) == (503, "close")


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([request(b"x" * 50)[:-10], request(b"x" * 50)[-10:]], id="the body comes later"),
        pytest.param([request(b"x" * 20_000)], id="the body is long"),
        pytest.param([request(path="/health")], id="another path"),
        pytest.param([request(method="PUT")], id="another method"),
        pytest.param([request(path=f"{PATH}?a=1")], id="a query"),
    ],
)
def test_what_is_not_its_own_goes_on_to_the_application(pieces: list[bytes]) -> None:
    desk = Desk()
    desk.admission.enter()

    found = asyncio.run(desk.answers(*pieces))

    assert [status for status, _, _ in found] == [200]
    assert [admitted for _, _, admitted in desk.calls] == [False]
    sent = b"".join(pieces)
    assert [body for _, body, _ in desk.calls] == [sent[sent.index(b"\r\n\r\n") + 4 :]]


def test_who_waits_to_be_told_to_go_on_is_told_by_the_application():
    desk = Desk()
    desk.admission.enter()

    async def ask() -> Any:
        sent = request(b"{}", more="Expect: 100-continue\r\n")
        async with desk.connected() as (reader, writer):
            writer.write(sent[:-2])
            first = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            writer.write(sent[-2:])
            status, _, _ = await _answer(reader)
        return first, status

    first, status = asyncio.run(ask())

    assert first.startswith(b"HTTP/1.1 100")
    assert status == 200


def test_a_request_behind_one_under_way_waits_for_its_turn():
    desk = Desk()

    found = asyncio.run(desk.answers(request(b"1") + request(b"2")))

    assert [status for status, _, _ in found] == [200, 200]
    assert desk.calls == [(PATH, b"1", True), (PATH, b"2", False)]
