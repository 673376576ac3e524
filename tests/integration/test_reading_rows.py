"""Reads over the native protocol, from real nodes: what is there, what fails, and what goes on when a node does not."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from features import DType
from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.errors import NotLoadedError, OnlineStoreError
from features.stores import cql
from features.stores.base import OnlineRow, Read, ReadAnswer, rows_of
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_session import connect
from tests.applied_views import applied_view

if TYPE_CHECKING:
    from features.embedded.cassandra import CassandraNode
    from features.embedded.cassandra_cluster import CassandraCluster

pytestmark = pytest.mark.integration

KEYS = 200
# Far below the 10 s that reads of three nodes are given, and above what a busy machine makes of the hedge of 50 ms.
PROMPT_SECONDS = 5
# Until then a node waits half of its read timeout of 5 s before it asks a second replica about a table that is new.
LEARNING_SECONDS = 6
VIEWS = [
    applied_view(f"read_{number}", keys={"id": DType.INT64}, features={"a": DType.FLOAT64, "b": DType.STRING})
    for number in range(3)
]


def put_rows(settings: OnlineSettings, view: AppliedView) -> None:
    """Rows of an earlier load, by the statement that loads use."""
    session = connect(settings)
    insert = session.prepare(cql.insert(settings.keyspace, view))
    for key in range(KEYS):
        session.execute(insert, (key, key, 7, key / 2, f"{view.name} {key}", 1, 0))
    session.cluster.shutdown()


def expected(view: AppliedView, key: int) -> OnlineRow | None:
    return OnlineRow(key, 7, (key / 2, f"{view.name} {key}")) if 0 <= key < KEYS else None


def ask(view: AppliedView, keys: range) -> Read:
    return Read(view=view, features=("a", "b"), keys=tuple((key,) for key in keys))


def check(answers: list[ReadAnswer], keys: range) -> None:
    for view, answer in zip(VIEWS, answers, strict=True):
        assert rows_of(answer) == [expected(view, key) for key in keys]


@pytest.fixture(scope="module")
def settings(cassandra_node: "CassandraNode") -> OnlineSettings:
    return OnlineSettings(port=cassandra_node.status().port, keyspace="reading", consistency="LOCAL_ONE")


@pytest.fixture(scope="module")
def store(settings: OnlineSettings) -> Iterator[CassandraStore]:
    store = CassandraStore(settings)
    for view in VIEWS:
        store.create(view)
        put_rows(settings, view)
    yield store
    store.close()


def test_more_requests_than_a_connection_has_streams_are_all_answered(store):
    keys = range(-1, 2000)

    check(store.read([ask(view, keys) for view in VIEWS]), keys)


def test_many_threads_and_an_event_loop_read_at_once(store):
    keys = range(0, KEYS, 7)

    def read_often() -> None:
        for _ in range(30):
            check(store.read([ask(view, keys) for view in VIEWS]), keys)

    async def read_together() -> None:
        requests = [ask(view, keys) for view in VIEWS]
        for answers in await asyncio.gather(*(store.read_async(requests) for _ in range(50))):
            check(answers, keys)

    with ThreadPoolExecutor() as pool:
        often = [pool.submit(read_often) for _ in range(4)]
        asyncio.run(read_together())
        for future in often:
            future.result()


def test_a_table_that_was_dropped_and_made_again_is_read_again(settings, store):
    view = applied_view("again", keys={"id": DType.INT64}, features={"a": DType.FLOAT64, "b": DType.STRING})
    for _ in range(2):
        assert store.create(view)
        put_rows(settings, view)
        assert rows_of(*store.read([ask(view, range(3))])) == [expected(view, key) for key in range(3)]
        store.drop(view)
        (gone,) = store.read([ask(view, range(3))])
        assert isinstance(gone, OnlineStoreError)


def test_one_read_that_fails_leaves_the_others_alone(store):
    missing = applied_view("never_created", keys={"id": DType.INT64}, features={"a": DType.FLOAT64})

    good, bad = store.read([ask(VIEWS[0], range(2)), Read(view=missing, features=("a",), keys=((1,),))])

    assert rows_of(good) == [expected(VIEWS[0], 0), expected(VIEWS[0], 1)]
    with pytest.raises(NotLoadedError, match=r"never_created__v1.* run `features load never_created@1`"):
        rows_of(bad)


def test_a_restarted_node_is_read_again_without_a_new_client(tmp_path):
    from features.embedded.cassandra import CassandraNode

    node = CassandraNode(state_dir=tmp_path, port=0, heap_mb=512)
    node.start()
    try:
        settings = OnlineSettings(port=node.status().port, keyspace="restarts", consistency="LOCAL_ONE")
        store = CassandraStore(settings)
        for view in VIEWS:
            store.create(view)
            put_rows(settings, view)
        check(store.read([ask(view, range(5)) for view in VIEWS]), range(5))
        os.kill(node.status().pid or 0, signal.SIGKILL)
        begun = time.monotonic()
        (down,) = store.read([ask(VIEWS[0], range(5))], timeout_seconds=1)
        assert isinstance(down, OnlineStoreError)
        assert time.monotonic() - begun < PROMPT_SECONDS
        node.start()
        deadline = time.monotonic() + 30
        while isinstance(store.read([ask(VIEWS[0], range(5))])[0], OnlineStoreError):
            assert time.monotonic() < deadline
        check(store.read([ask(view, range(5)) for view in VIEWS]), range(5))
        store.close()
    finally:
        node.stop()


@pytest.fixture(scope="module")
def three_nodes(cassandra_cluster: "CassandraCluster") -> OnlineSettings:
    return OnlineSettings(
        hosts=cassandra_cluster.hosts,
        port=cassandra_cluster.status()[0].port,
        keyspace="replicated",
        replication=3,
        consistency="LOCAL_QUORUM",
    )


@pytest.fixture(scope="module")
def replicated(three_nodes: OnlineSettings) -> Iterator[CassandraStore]:
    """A store of three replicas, its rows on all of them."""
    store = CassandraStore(three_nodes)
    for view in VIEWS:
        store.create(view)
        put_rows(three_nodes, view)
    yield store
    store.close()


def read_for(store: CassandraStore, seconds: float) -> list[float]:
    """Seconds of each of many reads, one after another; each is compared with what was written."""
    taken = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        check(store.read([ask(view, range(20)) for view in VIEWS], timeout_seconds=10), range(20))
        taken.append(time.monotonic() - begun)
    return taken


def test_a_node_that_is_killed_costs_no_answer(cassandra_cluster, replicated):
    read_for(replicated, 1)
    timer = threading.Timer(1, cassandra_cluster.kill, [2])
    timer.start()
    try:
        taken = read_for(replicated, 6)
    finally:
        timer.join()
        cassandra_cluster.restart(2)
        cassandra_cluster.await_ready()

    assert max(taken) < PROMPT_SECONDS


def test_a_node_that_hangs_is_gone_around(cassandra_cluster, three_nodes, replicated):
    """A stopped process keeps its connections, accepts new ones, and answers nothing: only asking elsewhere helps."""
    read_for(replicated, LEARNING_SECONDS)
    pid = cassandra_cluster.status()[1].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        taken = read_for(replicated, 6)
        # The driver asks hosts in an order that it draws: one opened store is often lucky.
        for _ in range(4):
            with closing(CassandraStore(three_nodes)) as opened:
                taken += read_for(opened, 0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
        cassandra_cluster.await_ready()

    assert max(taken) < PROMPT_SECONDS
