"""Reads of many rows at once: each goes to a replica, comes back undecoded, and is asked elsewhere if it must be."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from features.stores.wire import frames
from features.stores.wire.connection import Connection, Exchange, Lost, Reply
from features.stores.wire.frames import UNPREPARED, ServerError
from features.stores.wire.nodes import Node, StatementError
from features.stores.wire.opening import ConnectError, RefusedCredentialsError

# Tries of one read that failed, on as many nodes as there are; the deadline ends them sooner.
_MAX_TRIES = 4
_PAUSE_SECONDS = 0.02
# How long a node may take until it can be asked while there are others, where no hedge says so.
_PATIENCE_SECONDS = 0.25
# Nothing is asked with less time left: timers may fire that much too soon.
_LEAST_SECONDS = 0.002
# Of statements, each with a number of values.
_MAX_HEADS = 4096


@dataclass(frozen=True, slots=True)
class Item:
    """One row to read: the statement, its values as they are bound, and the key by which replicas are found."""

    statement: str
    values: bytes
    count: int
    routing_key: bytes


class Router(Protocol):
    """Knows which nodes hold a key."""

    def nodes(self) -> Sequence[Node]:
        """All nodes that may coordinate, live ones first."""

    def replicas(self, routing_key: bytes) -> Sequence[Node]:
        """Those that hold the key, the one to ask first; all nodes where that is not known."""


@dataclass(frozen=True, slots=True)
class Refused:
    """In place of an answer: the cluster does not let this client in."""

    message: str


Outcome = bytes | ServerError | Lost | Refused | None


class ReadPlane:
    """Sends reads and gathers their answers. Belongs to one event loop.

    hedge_seconds: after so long, what is not answered is asked of another replica too; None: never. A node that is not
    connected by then is left to connect, and another one asked.
    """

    def __init__(self, router: Router, *, consistency: str, hedge_seconds: float | None) -> None:
        self._router = router
        self._consistency = consistency
        self._hedge_seconds = hedge_seconds
        self._patience_seconds = _PATIENCE_SECONDS if hedge_seconds is None else hedge_seconds
        self._heads: dict[tuple[bytes, int], bytes] = {}

    async def fetch(self, items: Sequence[Item], *, deadline: float) -> list[Outcome]:
        """Beside each item the body of its answer, or what came instead; None: nothing until the deadline.

        deadline: in the event loop's time.
        """
        outcomes: list[Outcome] = [None] * len(items)
        if items:
            await self._fetch(items, range(len(items)), outcomes, frozenset(), deadline)
        return outcomes

    async def _fetch(
        self,
        items: Sequence[Item],
        places: Iterable[int],
        outcomes: list[Outcome],
        tried: frozenset[Node],
        deadline: float,
    ) -> None:
        """Fill in the outcomes at some places, avoiding nodes that failed while there are others."""
        loop = asyncio.get_running_loop()
        left = list(places)
        tries = 0
        while True:
            groups = self._route(items, left, tried)
            if len(groups) == 1:
                ((node, group),) = groups.items()
                await self._ask(node, items, group, outcomes, tried, deadline)
            else:
                await asyncio.gather(
                    *(self._ask(node, items, group, outcomes, tried, deadline) for node, group in groups.items())
                )
            left = [at for at in left if _is_passing(outcomes[at])]
            # Nodes that are not connected yet have not failed: who waits for one of them goes on until the deadline.
            tries += any(outcomes[at] is not None for at in left)
            if not left or tries == _MAX_TRIES or loop.time() >= deadline - _LEAST_SECONDS:
                return
            tried |= {node for node, group in groups.items() if any(_is_passing(outcomes[at]) for at in group)}
            if len(tried) >= len(self._router.nodes()):
                # All have failed once: none is left out any more, after a moment.
                tried = frozenset()
                await asyncio.sleep(min(_PAUSE_SECONDS * 2**tries, max(0.0, deadline - loop.time())))

    def _route(self, items: Sequence[Item], places: Sequence[int], tried: frozenset[Node]) -> Mapping[Node, list[int]]:
        nodes = self._router.nodes()
        if len(nodes) == 1:
            return {nodes[0]: list(places)}
        groups: dict[Node, list[int]] = {}
        chosen: dict[bytes, Node] = {}
        for at in places:
            key = items[at].routing_key
            node = chosen.get(key)
            if node is None:
                node = chosen[key] = self._choose(key, nodes, tried)
            groups.setdefault(node, []).append(at)
        return groups

    def _choose(self, key: bytes, nodes: Sequence[Node], tried: frozenset[Node]) -> Node:
        replicas = self._router.replicas(key)
        for candidates in (replicas, nodes):
            for node in candidates:
                if node.may_answer and node not in tried:
                    return node
        return next((node for node in replicas if node not in tried), replicas[0] if replicas else nodes[0])

    async def _ask(
        self,
        node: Node,
        items: Sequence[Item],
        places: Sequence[int],
        outcomes: list[Outcome],
        tried: frozenset[Node],
        deadline: float,
    ) -> None:
        """Ask one node; fill in what came. Reads that its statements are unknown to are prepared and asked again."""
        loop = asyncio.get_running_loop()
        nodes = len(self._router.nodes())
        ready_by = min(deadline, loop.time() + self._patience_seconds) if nodes > 1 else deadline
        try:
            async with asyncio.timeout_at(ready_by):
                connection = await node.connection()
                places, bodies = await self._bodies(node, connection, items, places, outcomes)
        except TimeoutError:
            _fill(outcomes, places, None)
            return
        except RefusedCredentialsError as exc:
            _fill(outcomes, places, Refused(str(exc)))
            return
        except ConnectError as exc:
            _fill(outcomes, places, Lost(str(exc)))
            return
        if not places:
            return
        hedge_at = deadline
        if self._hedge_seconds is not None and nodes > len(tried) + 1:
            hedge_at = min(deadline, loop.time() + self._hedge_seconds)
        exchange = connection.send(frames.EXECUTE, bodies)
        try:
            await exchange.wait(until=hedge_at)
            if exchange.left and hedge_at < deadline:
                await self._hedge(exchange, node, items, places, outcomes, tried, deadline)
            else:
                _take(exchange, places, outcomes)
        finally:
            exchange.abandoned = True
        unknown = [at for at in places if isinstance(out := outcomes[at], ServerError) and out.code == UNPREPARED]
        for at in unknown:
            node.forget(items[at].statement)

    async def _bodies(
        self,
        node: Node,
        connection: Connection,
        items: Sequence[Item],
        places: Sequence[int],
        outcomes: list[Outcome],
    ) -> tuple[list[int], list[bytes]]:
        """The places that can be asked, and what to send for each; a statement that is refused fails its own alone."""
        heads: dict[str, bytes | None] = {}
        able, bodies = [], []
        for at in places:
            item = items[at]
            if item.statement not in heads:
                try:
                    statement_id = await node.statement_id(connection, item.statement)
                    heads[item.statement] = self._head(statement_id, item.count)
                except StatementError as exc:
                    heads[item.statement] = None
                    _fill(outcomes, [at for at in places if items[at].statement == item.statement], exc.error)
            head = heads[item.statement]
            if head is not None:
                able.append(at)
                bodies.append(head + item.values)
        return able, bodies

    def _head(self, statement_id: bytes, count: int) -> bytes:
        key = (statement_id, count)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            head = self._heads[key] = frames.execute_head(statement_id, self._consistency, count)
        return head

    async def _hedge(
        self,
        exchange: Exchange,
        node: Node,
        items: Sequence[Item],
        places: Sequence[int],
        outcomes: list[Outcome],
        tried: frozenset[Node],
        deadline: float,
    ) -> None:
        """Ask other replicas for what has not come, and take whichever answers first."""
        late = [at for at, answer in zip(places, exchange.answers, strict=True) if answer is None]
        spare: list[Outcome] = [None] * len(items)
        other = asyncio.create_task(self._fetch(items, late, spare, tried | {node}, deadline))
        try:
            first = asyncio.create_task(exchange.wait(until=deadline))
            await asyncio.wait((first, other), return_when=asyncio.FIRST_COMPLETED)
            _take(exchange, places, outcomes)
            if not other.done() and any(_is_passing(outcomes[at]) for at in late):
                await other
            elif not first.done() and any(_is_passing(spare[at]) for at in late):
                await first
        finally:
            first.cancel()
            other.cancel()
        _take(exchange, places, outcomes)
        for at in late:
            if not isinstance(outcomes[at], bytes) and spare[at] is not None:
                outcomes[at] = spare[at]


def _take(exchange: Exchange, places: Sequence[int], outcomes: list[Outcome]) -> None:
    for at, answer in zip(places, exchange.answers, strict=True):
        outcomes[at] = answer if not isinstance(answer, Reply) else Lost(f"a read was answered by {answer!r}")


def _fill(outcomes: list[Outcome], places: Iterable[int], outcome: Outcome) -> None:
    for at in places:
        outcomes[at] = outcome


def _is_passing(outcome: Outcome) -> bool:
    """Whether another try may end better."""
    if isinstance(outcome, ServerError):
        return outcome.code in frames.PASSING or outcome.code == UNPREPARED
    return outcome is None or isinstance(outcome, Lost)
