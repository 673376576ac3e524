"""Clients that are closed while they read, and event loops that end: nobody waits for ever, and nothing is kept."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from features import DType
from features.config import OnlineSettings
from features.errors import OnlineStoreError
from features.stores.base import Read
from features.stores.cassandra_read import CassandraReader
from features.stores.cassandra_topology import DriverTopology
from features.stores.wire.frames import EXECUTE, STARTUP
from features.stores.wire.loop_thread import LoopStoppedError, LoopThread
from features.stores.wire.opening import ConnectError
from tests.applied_views import applied_view
from tests.unit.stores.wire.frame_server import FrameServer, running

VIEW = applied_view("closing", keys={"id": DType.INT64}, features={"a": DType.FLOAT64})
REQUESTS = [Read(view=VIEW, features=("a",), keys=((1,),))]


@pytest.fixture
def server() -> Iterator[FrameServer]:
    """Listens in an event loop of its own, since readers have theirs."""
    server = FrameServer()
    thread = LoopThread("server")
    ready, done = threading.Event(), asyncio.Event()

    async def listen() -> None:
        async with running(server):
            ready.set()
            await done.wait()

    with ThreadPoolExecutor(1) as pool:
        listening = pool.submit(thread.run, listen())
        assert ready.wait(5)
        yield server
        thread.loop.call_soon_threadsafe(done.set)
        listening.result()
    thread.stop()


@pytest.fixture
def reader(server: FrameServer) -> Iterator[CassandraReader]:
    reader = reader_of(server)
    yield reader
    reader.close()


def reader_of(server: FrameServer) -> CassandraReader:
    host = SimpleNamespace(
        endpoint=SimpleNamespace(address=server.address.host, port=server.address.port), datacenter="dc", is_up=True
    )
    session: Any = SimpleNamespace(
        cluster=SimpleNamespace(metadata=SimpleNamespace(all_hosts=lambda: [host], token_map=None))
    )
    return CassandraReader(OnlineSettings(), lambda: DriverTopology(session, keyspace="features", datacenter="dc"))


def await_asked(server: FrameServer, opcode: int) -> None:
    until = time.monotonic() + 5
    while opcode not in server.asked:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("opcode", [STARTUP, EXECUTE])
def test_a_client_that_is_closed_while_it_reads_says_so(server, reader, opcode):
    server.silent = frozenset({opcode})
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reader.read, REQUESTS, timeout_seconds=30)
        await_asked(server, opcode)
        reader.close()
        (answer,) = reading.result(timeout=5)

    assert isinstance(answer, OnlineStoreError)
    assert "the client was closed while it read" in str(answer)


@pytest.mark.parametrize("opcode", [STARTUP, EXECUTE])
def test_a_client_that_is_closed_while_an_event_loop_reads_says_so(server, reader, opcode):
    server.silent = frozenset({opcode})

    async def read() -> object:
        reading = asyncio.create_task(reader.read_async(REQUESTS, timeout_seconds=30))
        await asyncio.to_thread(await_asked, server, opcode)
        reader.close()
        (answer,) = await asyncio.wait_for(reading, 5)
        return answer

    answer = asyncio.run(read())
    assert isinstance(answer, OnlineStoreError)
    assert "the client was closed while it read" in str(answer)


def test_a_client_that_was_closed_opens_again_when_it_is_asked(reader):
    assert reader.read(REQUESTS, timeout_seconds=5) == [[None]]
    reader.close()
    assert reader.read(REQUESTS, timeout_seconds=5) == [[None]]


def test_an_event_loop_that_ended_is_not_kept(reader):
    async def read() -> "weakref.ref[asyncio.AbstractEventLoop]":
        assert await reader.read_async(REQUESTS, timeout_seconds=5) == [[None]]
        return weakref.ref(asyncio.get_running_loop())

    ended = [asyncio.run(read()) for _ in range(3)]
    gc.collect()

    assert [loop() for loop in ended] == [None] * 3


def test_a_node_that_was_closed_fails_those_who_wait_for_it_and_those_who_come_later():
    async def ask() -> None:
        async with running(FrameServer(silent=frozenset({STARTUP}))) as (node,):
            waiting = asyncio.create_task(node.connection())
            await asyncio.sleep(0.05)
            node.close()
            for asked in (waiting, node.connection()):
                with pytest.raises(ConnectError, match="the client was closed"):
                    await asked
            assert not node.may_answer

    asyncio.run(ask())


def test_a_loop_that_was_stopped_runs_nothing_more():
    thread = LoopThread("stopped")
    thread.stop()

    with pytest.raises(LoopStoppedError):
        thread.run(asyncio.sleep(0))
