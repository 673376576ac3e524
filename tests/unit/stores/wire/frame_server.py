"""A server that speaks the frames of Cassandra's protocol over real sockets, and misbehaves as it is told."""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from features.stores.wire.frames import EXECUTE, HEADER, OPTIONS, PREPARE, READY, RESULT, STARTUP, SUPPORTED
from features.stores.wire.nodes import Address, Node
from features.stores.wire.opening import Access
from features.stores.wire.plane import Item, Outcome, ReadPlane

PREPARED = struct.pack(">iH", 4, 16) + b"0123456789abcdef" + bytes(16)
NO_ROWS = struct.pack(">iiii", 2, 0x0004, 0, 0)
WARNING, TRACING, CUSTOM_PAYLOAD, COMPRESSED = 0x08, 0x02, 0x04, 0x01
ITEM = Item("SELECT", struct.pack(">i", 1) + b"k", 1, b"k")


def error(code: int, message: str) -> bytes:
    return struct.pack(">iH", code, len(message)) + message.encode()


@dataclass
class FrameServer:
    """One node. silent: opcodes that it never answers; answer, extras: of EXECUTE; asked: opcodes in order."""

    silent: frozenset[int] = frozenset()
    answer: tuple[int, bytes] = (RESULT, NO_ROWS)
    extras: tuple[int, bytes] = (0, b"")
    delay_seconds: float = 0.0
    asked: list[int] = field(default_factory=list)
    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    address: Address = field(init=False)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        plain = {STARTUP: (READY, b""), OPTIONS: (SUPPORTED, b"\0\0"), PREPARE: (RESULT, PREPARED)}
        loop = asyncio.get_running_loop()
        try:
            while True:
                _, _, stream, opcode, length = HEADER.unpack(await reader.readexactly(HEADER.size))
                await reader.readexactly(length)
                self.asked.append(opcode)
                if opcode in self.silent:
                    continue
                kind, body = plain.get(opcode, self.answer)
                flags, before = self.extras if opcode == EXECUTE else (0, b"")
                frame = HEADER.pack(0x84, flags, stream, kind, len(before) + len(body)) + before + body
                loop.call_later(self.delay_seconds if opcode == EXECUTE else 0, writer.write, frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(*servers: FrameServer, connections: int = 1) -> AsyncIterator[list[Node]]:
    """The nodes of servers that listen, for a reader in this event loop."""
    listening = []
    nodes = []
    for server in servers:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        listening.append(listener)
        server.address = Address(*listener.sockets[0].getsockname())
        nodes.append(Node(server.address, Access(), connections=connections, timeout_seconds=5))
    try:
        yield nodes
    finally:
        for node in nodes:
            node.close()
        for listener in listening:
            listener.close()
        for server in servers:
            for writer in server.connections:
                writer.close()
        # Both sides of each connection end in the loop, before it does.
        await asyncio.sleep(0.05)


class InOrder:
    """A router to nodes that hold all keys, asked in this order."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes

    def nodes(self) -> Sequence[Node]:
        return self._nodes

    def replicas(self, routing_key: bytes) -> Sequence[Node]:
        return self._nodes


def plane(nodes: Sequence[Node], *, hedge_seconds: float | None = 0.05) -> ReadPlane:
    return ReadPlane(InOrder(nodes), consistency="LOCAL_ONE", hedge_seconds=hedge_seconds)


async def read(reads: ReadPlane, *, seconds: float = 5.0) -> Outcome:
    """The outcome of one read."""
    (outcome,) = await reads.fetch([ITEM], deadline=asyncio.get_running_loop().time() + seconds)
    return outcome
