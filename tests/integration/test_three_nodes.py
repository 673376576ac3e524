"""Three real nodes, three replicas, LOCAL_QUORUM: one dies by SIGKILL while rows are written and read."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from features import DType
from features.config import OnlineSettings
from features.embedded.cassandra import Status
from features.embedded.cassandra_cluster import CassandraCluster
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_schema import ensure_keyspace
from tests.applied_views import applied_view
from tests.online_settings import session_of, settings_of

if TYPE_CHECKING:
    from cassandra.cluster import Session

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(cassandra_cluster: CassandraCluster) -> Iterator[OnlineSettings]:
    """A keyspace of three replicas with the table `rows`; all nodes run again afterwards."""
    cassandra_cluster.start()
    settings = settings_of(*cassandra_cluster.status(), keyspace=f"ring_{uuid4().hex[:8]}", timeout_seconds=30.0)
    with session_of(settings) as session:
        ensure_keyspace(session, settings)
        session.execute(f"CREATE TABLE {settings.keyspace}.rows (key int PRIMARY KEY, value int)")
    yield settings
    cassandra_cluster.start()


def statuses(cluster: CassandraCluster) -> list[Status]:
    return [status for status in cluster.status() if status.running]


def write(session: "Session", keyspace: str, keys: range) -> None:
    statement = session.prepare(f"INSERT INTO {keyspace}.rows (key, value) VALUES (?, ?)")
    statement.is_idempotent = True
    for key in keys:
        session.execute(statement, (key, key))


def read(session: "Session", keyspace: str, keys: range) -> list[int | None]:
    statement = session.prepare(f"SELECT value FROM {keyspace}.rows WHERE key = ?")
    statement.is_idempotent = True
    return [row[0] if (row := session.execute(statement, (key,)).one()) else None for key in keys]


def test_nodes_share_a_port_and_have_tokens_and_jmx_ports_of_their_own(
    cassandra_cluster: CassandraCluster, settings: OnlineSettings
) -> None:
    nodes = cassandra_cluster.status()

    assert [node.host for node in nodes] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert len({node.port for node in nodes}) == 1
    assert len({node.jmx_port for node in nodes}) == 3
    with session_of(settings) as session:
        metadata = session.cluster.metadata
        assert [host.is_up for host in metadata.all_hosts()] == [True] * 3
        owners = Counter(host.address for host in metadata.token_map.token_to_host_owner.values())
    assert owners == dict.fromkeys(settings.hosts, 4)


def test_writes_and_reads_go_on_while_a_node_is_killed_and_all_replicas_answer_once_it_is_back(
    cassandra_cluster: CassandraCluster, settings: OnlineSettings
) -> None:
    keys = range(600)
    begun = threading.Event()

    def load() -> None:
        with session_of(settings) as session:
            write(session, settings.keyspace, keys[:100])
            begun.set()
            write(session, settings.keyspace, keys[100:])

    def serve() -> list[list[int | None]]:
        begun.wait()
        with session_of(settings) as session:
            return [read(session, settings.keyspace, keys[:100]) for _ in range(10)]

    with ThreadPoolExecutor(2) as pool:
        loading, serving = pool.submit(load), pool.submit(serve)
        assert begun.wait(60)
        assert not cassandra_cluster.kill(2).running
        loading.result()
        assert serving.result() == [list(keys[:100])] * 10

    with session_of(settings) as session:
        assert read(session, settings.keyspace, keys) == list(keys)
    assert cassandra_cluster.restart(2).running
    with session_of(settings.model_copy(update={"consistency": "ALL"})) as session:
        assert read(session, settings.keyspace, keys) == list(keys)


def test_a_table_is_made_although_a_node_learns_of_it_behind_the_timeout(
    cassandra_cluster: CassandraCluster, settings: OnlineSettings
) -> None:
    view = applied_view("late", features={"amount": DType.FLOAT64})
    with closing(CassandraStore(settings.model_copy(update={"timeout_seconds": 2.0}))) as store:
        assert not store.exists(view)
        pid = cassandra_cluster.status()[1].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(5, os.kill, [pid, signal.SIGCONT])
        timer.start()
        try:
            assert store.create(view)
        finally:
            timer.join()
            cassandra_cluster.await_ready()
        assert store.exists(view)


def test_a_seed_that_died_does_not_keep_the_others_from_starting(
    cassandra_cluster: CassandraCluster, settings: OnlineSettings
) -> None:
    cassandra_cluster.kill(0)
    cassandra_cluster.restart(1)

    with session_of(settings_of(*statuses(cassandra_cluster), replication=3, consistency="LOCAL_QUORUM")) as session:
        write(session, settings.keyspace, range(10))
        assert read(session, settings.keyspace, range(10)) == list(range(10))


def test_a_cluster_that_was_stopped_starts_with_its_data(
    cassandra_cluster: CassandraCluster, settings: OnlineSettings
) -> None:
    with session_of(settings) as session:
        write(session, settings.keyspace, range(10))

    assert [node.running for node in cassandra_cluster.stop()] == [False] * 3
    started = cassandra_cluster.start()

    assert [node.port for node in started] == [settings.port] * 3
    with session_of(settings) as session:
        assert read(session, settings.keyspace, range(10)) == list(range(10))
