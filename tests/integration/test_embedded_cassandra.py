"""One real node, started on a free port: it keeps what it acknowledged, whatever happens to its process."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from features.embedded.cassandra import CassandraNode, Status
from features.embedded.processes import pids_with_open
from features.errors import PlatformError

pytestmark = pytest.mark.integration


@contextmanager
def session(status: Status) -> Iterator[Any]:
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import DCAwareRoundRobinPolicy

    profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy(local_dc="datacenter1"))
    cluster = Cluster(
        [status.host], port=status.port, execution_profiles={EXEC_PROFILE_DEFAULT: profile}, protocol_version=5
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraNode]:
    """A running node with a table `kept.rows`."""
    node = CassandraNode(state_dir=tmp_path_factory.mktemp("node"), port=0)
    try:
        with session(node.start()) as cql:
            cql.execute("CREATE KEYSPACE kept WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
            cql.execute("CREATE TABLE kept.rows (key int PRIMARY KEY, value text, embedding vector<float, 3>)")
        yield node
    finally:
        node.stop()


def write(status: Status, keys: range, value: str) -> None:
    with session(status) as cql:
        statement = cql.prepare("INSERT INTO kept.rows (key, value) VALUES (?, ?)")
        for key in keys:
            cql.execute(statement, (key, value))


def values(status: Status, keys: range) -> list[str | None]:
    with session(status) as cql:
        statement = cql.prepare("SELECT value FROM kept.rows WHERE key = ?")
        return [row.value if (row := cql.execute(statement, (key,)).one()) else None for key in keys]


def test_data_and_port_survive_stop_and_start(node: CassandraNode) -> None:
    before = node.start()
    write(before, range(3), "stopped")
    stopped = node.stop()
    assert (stopped.running, stopped.pid, stopped.port) == (False, None, before.port)
    after = node.start()
    assert (after.running, after.port) == (True, before.port)
    assert after.pid != before.pid
    assert values(after, range(3)) == ["stopped"] * 3


def test_every_acknowledged_write_survives_kill_minus_9(node: CassandraNode) -> None:
    before = node.start()
    assert before.pid is not None
    keys = range(100, 300)
    with session(before) as cql:
        statement = cql.prepare("INSERT INTO kept.rows (key, value) VALUES (?, 'killed')")
        for key in keys:
            cql.execute(statement, (key,))
        os.kill(before.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while node.status().running:
        assert time.monotonic() < deadline
    assert values(node.start(), keys) == ["killed"] * len(keys)


def test_starting_twice_finds_the_same_process(node: CassandraNode) -> None:
    first = node.start()
    said: list[str] = []
    second = node.start(said.append)
    assert second.pid == first.pid
    assert "already runs" in said[-1]
    assert second.uptime_seconds is not None


def test_another_node_refuses_a_port_in_use_and_says_by_whom(node: CassandraNode, tmp_path: Path) -> None:
    running = node.start()
    with pytest.raises(PlatformError, match=rf"port {running.port} on 127\.0\.0\.1 is in use") as raised:
        CassandraNode(state_dir=tmp_path, port=running.port).start()
    if sys.platform == "linux":
        assert f"pid {running.pid}" in str(raised.value)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_node_listens_on_loopback_only(node: CassandraNode) -> None:
    pid = node.start().pid
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and pid in pids_with_open({f"socket:[{fields[9]}]"}):
                listening.append(fields[1].rpartition(":")[0])
    # CQL, the port between nodes, JMX. In 0100007F, the bytes of 127.0.0.1 stand in reverse.
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert len(listening) >= 3
    assert set(listening) <= loopback


def test_a_time_to_live_may_end_after_2038(node: CassandraNode) -> None:
    twenty_years = 630_720_000
    with session(node.start()) as cql:
        cql.execute(f"INSERT INTO kept.rows (key, value) VALUES (900, 'x') USING TTL {twenty_years}")
        [left] = cql.execute("SELECT ttl(value) FROM kept.rows WHERE key = 900").one()
    assert left > twenty_years - 60


def test_a_start_that_cassandra_gives_up_says_why_and_the_next_one_works(tmp_path: Path) -> None:
    broken = CassandraNode(state_dir=tmp_path, port=0, options={"no_such_setting": 1})
    with pytest.raises(PlatformError, match="no_such_setting"):
        broken.start()
    assert not broken.status().running


def test_reset_stops_the_node_and_deletes_its_data(node: CassandraNode) -> None:
    before = node.start()
    assert not node.reset().running
    assert not (node.state_dir / "storage").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((before.host, before.port), timeout=2)
