"""Which addresses have a node that answers."""

import asyncio
import time

from features.stores.wire.frames import OPTIONS
from features.stores.wire.opening import answering
from tests.unit.stores.wire.frame_server import FrameServer, running

SILENT = frozenset({OPTIONS})


async def find(*servers: FrameServer, timeout_seconds: float = 5.0) -> tuple[list[int], float]:
    """The numbers of those that answer, and the seconds until that was known."""
    async with running(*servers):
        addresses = [(server.address.host, server.address.port) for server in servers]
        begun = time.monotonic()
        found = await answering(addresses, None, timeout_seconds=timeout_seconds)
        taken = time.monotonic() - begun
    return [addresses.index(address) for address in found], taken


def test_all_that_answer_are_found_without_a_login():
    servers = [FrameServer(), FrameServer(), FrameServer()]

    found, _ = asyncio.run(find(*servers))

    assert found == [0, 1, 2]
    assert [server.asked for server in servers] == [[OPTIONS]] * 3


def test_one_that_hangs_is_left_out_after_a_moment():
    found, taken = asyncio.run(find(FrameServer(silent=SILENT), FrameServer()))

    assert found == [1]
    assert taken < 2


def test_where_all_hang_nothing_is_found_within_the_timeout():
    found, taken = asyncio.run(find(FrameServer(silent=SILENT), FrameServer(silent=SILENT), timeout_seconds=0.3))

    assert found == []
    assert 0.2 < taken < 2


def test_names_that_are_none_are_left_out():
    addresses = [("no..name", 9042), ("x" * 300, 9042), ("name.invalid", 9042)]

    assert asyncio.run(answering(addresses, None, timeout_seconds=5)) == []


def test_a_port_that_is_closed_and_one_that_speaks_otherwise_are_left_out():
    async def ask() -> list[tuple[str, int]]:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example.org ESMTP")
            writer.close()

        other = await asyncio.start_server(greet, "127.0.0.1", 0)
        closed = await asyncio.start_server(greet, "127.0.0.1", 0)
        addresses = [server.sockets[0].getsockname() for server in (other, closed)]
        closed.close()
        await closed.wait_closed()
        try:
            return await answering(addresses, None, timeout_seconds=2)
        finally:
            other.close()

    assert asyncio.run(ask()) == []
