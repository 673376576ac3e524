"""What many reads of one node share: connections, statements, failures."""

import asyncio

import pytest

from features.stores.wire import nodes as nodes_module
from features.stores.wire.frames import PREPARE
from features.stores.wire.nodes import Node
from features.stores.wire.opening import Access, ConnectError
from tests.unit.stores.wire.frame_server import NO_ROWS, FrameServer, plane, read, running


def test_reads_that_come_together_connect_and_prepare_once():
    async def ask() -> None:
        server = FrameServer()
        async with running(server) as nodes:
            reads = plane(nodes)
            assert await asyncio.gather(*(read(reads) for _ in range(20))) == [NO_ROWS] * 20
        assert len(server.connections) == 1
        assert server.asked.count(PREPARE) == 1

    asyncio.run(ask())


def test_a_read_that_gives_up_takes_no_connection_from_another():
    async def ask() -> None:
        server = FrameServer(delay_seconds=0.2)
        async with running(server) as nodes:
            reads = plane(nodes)
            hasty = asyncio.create_task(read(reads))
            patient = asyncio.create_task(read(reads))
            await asyncio.sleep(0)
            hasty.cancel()
            assert await patient == NO_ROWS
            assert hasty.cancelled()

    asyncio.run(ask())


def test_statements_beyond_a_bound_are_forgotten_and_prepared_again(monkeypatch):
    monkeypatch.setattr(nodes_module, "_MAX_STATEMENTS", 2)

    async def ask() -> None:
        server = FrameServer()
        async with running(server) as (node,):
            connection = await node.connection()
            for statement in ("a", "b", "c", "b", "c"):
                await node.statement_id(connection, statement)
        assert server.asked.count(PREPARE) == 4

    asyncio.run(ask())


def test_each_read_of_a_node_that_failed_a_moment_ago_gets_an_error_of_its_own():
    async def ask() -> list[ConnectError]:
        server = FrameServer()
        async with running(server):
            pass
        node = Node(server.address, Access(), connections=1, timeout_seconds=5)
        errors = []
        for _ in range(3):
            with pytest.raises(ConnectError) as failed:
                await node.connection()
            errors.append(failed.value)
        return errors

    errors = asyncio.run(ask())
    assert len({id(error) for error in errors}) == 3
    assert len({str(error) for error in errors}) == 1
