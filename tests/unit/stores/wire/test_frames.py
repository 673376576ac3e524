"""Frames whose headers say that something stands before the message: warnings, a tracing id, a custom payload."""

import asyncio
import struct

import pytest

from features.stores.wire.connection import Lost
from features.stores.wire.frames import ERROR, INVALID, RESULT, FrameError, ServerError, strip_extras
from tests.unit.stores.wire.frame_server import (
    COMPRESSED,
    CUSTOM_PAYLOAD,
    NO_ROWS,
    TRACING,
    WARNING,
    FrameServer,
    error,
    plane,
    read,
    running,
)

WARNINGS = struct.pack(">HH", 2, 5) + b"slow!" + struct.pack(">H", 3) + b"big"
PAYLOAD = struct.pack(">HH", 2, 1) + b"a" + struct.pack(">i", 3) + b"xyz" + struct.pack(">H", 1) + b"b" + b"\xff" * 4


def answered(server: FrameServer) -> object:
    async def ask() -> object:
        async with running(server) as nodes:
            return await read(plane(nodes))

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("flags", "extras"),
    [
        (WARNING, WARNINGS),
        (TRACING, bytes(16)),
        (CUSTOM_PAYLOAD, PAYLOAD),
        (WARNING | TRACING | CUSTOM_PAYLOAD, bytes(16) + WARNINGS + PAYLOAD),
    ],
)
def test_what_stands_before_a_message_is_left_out(flags, extras):
    assert strip_extras(flags, extras + b"message") == b"message"


@pytest.mark.parametrize("flags", [WARNING, TRACING, CUSTOM_PAYLOAD])
@pytest.mark.parametrize("body", [b"", b"\0", b"\0\1\0\x09short"])
def test_a_frame_that_ends_before_its_message_is_an_error(flags, body):
    with pytest.raises(FrameError, match="frame of"):
        strip_extras(flags, body)


def test_rows_with_warnings_are_rows():
    assert answered(FrameServer(answer=(RESULT, NO_ROWS), extras=(WARNING, WARNINGS))) == NO_ROWS


def test_an_error_with_warnings_is_that_error():
    server = FrameServer(answer=(ERROR, error(INVALID, "no such table")), extras=(WARNING, WARNINGS))

    assert answered(server) == ServerError(INVALID, "no such table")


@pytest.mark.parametrize("server", [FrameServer(extras=(COMPRESSED, b"")), FrameServer(answer=(ERROR, b"\0"))])
def test_a_frame_that_cannot_be_read_ends_its_connection(server):
    assert isinstance(answered(server), Lost)
    assert len(server.connections) == 4
