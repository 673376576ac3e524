"""Where a request's head ends is found in what the network hands over at once, however it is cut."""

import asyncio
import socket
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from features.serving.http.protocol import BoundedProtocol


async def _length_of_body(scope: Any, receive: Any, send: Any) -> None:
    length = 0
    while True:
        message = await receive()
        length += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


async def _answers(pieces: list[bytes], many: int) -> bytes:
    ours, theirs = socket.socketpair()
    config = Config(_length_of_body, lifespan="off", ws="none", log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: BoundedProtocol(config, ServerState(), {}), sock=ours)
    for piece in pieces:
        protocol.data_received(piece)
    answer = b""
    theirs.setblocking(False)
    try:
        async with asyncio.timeout(20):
            while answer.count(b"HTTP/1.1 ") < many or not answer.rstrip(b"\r\n")[-1:].isalnum():
                received = await loop.sock_recv(theirs, 65536)
                if not received:
                    break
                answer += received
    finally:
        theirs.close()
        protocol.transport.abort()
    return answer


def _request(head: int, body: int) -> bytes:
    start = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\nX-Long: " % body
    return start + b"x" * (head - len(start) - 4) + b"\r\n\r\n" + b"b" * body


@pytest.mark.parametrize("body", [0, 10, 70_000, 300_000])
@pytest.mark.parametrize("head", [100, 10_000, 50_000])
def test_a_body_that_comes_with_its_head_is_not_counted_as_head(head: int, body: int) -> None:
    answer = asyncio.run(_answers([_request(head, body)], 1))

    assert answer.startswith(b"HTTP/1.1 200")
    assert str(body).encode() in answer


@pytest.mark.parametrize("cut", [1, 99, 100, 8192, 70_100])
def test_requests_that_follow_each_other_are_read_wherever_they_are_cut(cut: int) -> None:
    sent = _request(100, 70_000) + _request(30_000, 5)

    answer = asyncio.run(_answers([sent[:cut], sent[cut:]], 2))

    assert answer.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("step", [1000, 70_000, 1_000_000])
def test_a_head_that_is_too_long_is_refused(step: int) -> None:
    sent = _request(80_000, 0)

    answer = asyncio.run(_answers([sent[start : start + step] for start in range(0, len(sent), step)], 1))

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"the request's headers are too long" in answer
