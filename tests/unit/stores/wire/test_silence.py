"""Nodes that say nothing: gone around at once, given up after a while, and asked again once they are back."""

import asyncio
import time

import pytest

from features.stores.wire.connection import Lost
from features.stores.wire.frames import EXECUTE, OPTIONS, PREPARE, STARTUP
from features.stores.wire.nodes import Node
from features.stores.wire.opening import Access
from tests.unit.stores.wire.frame_server import NO_ROWS, FrameServer, plane, read, running

HEDGE_SECONDS = 0.05
# Far above the hedge, for a busy machine; far below all that a read would wait for otherwise.
SOON_SECONDS = 0.7


@pytest.mark.parametrize("opcode", [STARTUP, PREPARE, EXECUTE])
def test_a_silent_node_is_gone_around(opcode):
    async def ask() -> float:
        async with running(FrameServer(silent=frozenset({opcode})), FrameServer()) as nodes:
            begun = time.monotonic()
            assert await read(plane(nodes, hedge_seconds=HEDGE_SECONDS)) == NO_ROWS
            return time.monotonic() - begun

    assert HEDGE_SECONDS <= asyncio.run(ask()) < SOON_SECONDS


def test_a_connection_that_breaks_after_the_hedge_does_not_ask_the_other_node_twice():
    async def ask() -> None:
        breaking, slow = FrameServer(silent=frozenset({EXECUTE})), FrameServer()
        async with running(breaking, slow) as nodes:
            reads = plane(nodes, hedge_seconds=HEDGE_SECONDS)
            assert await read(reads) == NO_ROWS
            slow.delay_seconds = 0.4
            reading = asyncio.create_task(read(reads))
            await asyncio.sleep(0.2)
            breaking.connections[0].close()
            assert await reading == NO_ROWS
            assert slow.asked.count(EXECUTE) == 2

    asyncio.run(ask())


def test_a_node_that_hangs_while_connecting_is_asked_by_one_read_only():
    async def ask() -> list[bool]:
        hanging = FrameServer(silent=frozenset({STARTUP}))
        async with running(hanging, FrameServer()) as nodes:
            reads = plane(nodes, hedge_seconds=HEDGE_SECONDS)
            assert await read(reads) == NO_ROWS
            begun = time.monotonic()
            for _ in range(20):
                assert await read(reads) == NO_ROWS
            assert time.monotonic() - begun < 20 * HEDGE_SECONDS
            assert len(hanging.connections) == 1
            return [node.may_answer for node in nodes]

    assert asyncio.run(ask()) == [False, True]


def test_nodes_that_all_connect_slowly_are_waited_for():
    """The hedge is shorter than any of them takes, and one never comes about."""

    async def ask() -> None:
        servers = [FrameServer() for _ in range(3)]
        async with running(FrameServer(silent=frozenset({STARTUP})), *servers) as nodes:
            assert await read(plane(nodes, hedge_seconds=0.0001)) == NO_ROWS

    asyncio.run(ask())


def test_another_connection_is_used_while_one_opens():
    async def ask() -> float:
        server = FrameServer()
        async with running(server, connections=2) as nodes:
            reads = plane(nodes)
            await read(reads)
            server.silent = frozenset({STARTUP})
            begun = time.monotonic()
            for _ in range(4):
                assert await read(reads) == NO_ROWS
            return time.monotonic() - begun

    assert asyncio.run(ask()) < SOON_SECONDS


def test_a_silent_connection_is_given_up_though_no_read_waits_for_long():
    async def ask() -> None:
        server = FrameServer()
        async with running(server) as nodes:
            reads = plane(nodes)
            await read(reads)
            server.silent = frozenset({EXECUTE, OPTIONS})
            assert await read(reads, seconds=0.1) is None
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await read(reads)
            await asyncio.sleep(1.5)
            assert not nodes[0].load
            server.silent = frozenset()
            assert await read(reads) == NO_ROWS
            assert len(server.connections) == 2

    asyncio.run(ask())


def test_a_slow_read_is_no_silence():
    async def ask() -> None:
        server = FrameServer(delay_seconds=1.6)
        async with running(server) as nodes:
            assert await read(plane(nodes)) == NO_ROWS
            assert len(server.connections) == 1

    asyncio.run(ask())


def test_an_event_loop_that_is_held_up_gives_nothing_up():
    async def ask() -> None:
        server = FrameServer(delay_seconds=0.1)
        async with running(server) as nodes:
            reads = plane(nodes)
            waiting = asyncio.create_task(read(reads))
            await asyncio.sleep(0.05)
            time.sleep(1.5)
            assert await waiting == NO_ROWS
            assert len(server.connections) == 1

    asyncio.run(ask())


def test_requests_that_nobody_waits_for_are_never_sent():
    async def ask() -> tuple[int, int]:
        server = FrameServer(delay_seconds=0.2)
        async with running(server) as nodes:
            connection = await nodes[0].connection()
            first = connection.send(EXECUTE, [b""] * 1024)
            abandoned = connection.send(EXECUTE, [b""] * 500)
            wanted = connection.send(EXECUTE, [b""])
            abandoned.abandoned = True
            await first.wait()
            await wanted.wait()
            return server.asked.count(EXECUTE), connection.load

    assert asyncio.run(ask()) == (1025, 0)


def test_a_node_that_refuses_connections_fails_a_read_soon():
    async def ask() -> object:
        server = FrameServer()
        async with running(server):
            pass
        return await read(plane([Node(server.address, Access(), connections=2, timeout_seconds=5)]))

    begun = time.monotonic()
    assert isinstance(asyncio.run(ask()), Lost)
    assert time.monotonic() - begun < SOON_SECONDS
