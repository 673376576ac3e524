"""Real parts that tests share, each started when the first test asks for it: Spark, Cassandra."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling

from features.config import SparkSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.embedded.cassandra import CassandraNode
    from features.embedded.cassandra_cluster import CassandraCluster

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
# Coverage measures the processes that run tests, and would measure all that these start: a third of a second of each
# job, command and Spark worker, of which there are hundreds.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


class ByFile(LoadFileScheduling):
    """Side by side, tests of a file stay together, and those of three nodes: two clusters would not fit."""

    _OF_THREE_NODES = ("test_load_cluster.py", "test_reading_rows.py", "test_three_nodes.py")

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "three nodes" if file.endswith(self._OF_THREE_NODES) else file


# pytest-xdist's own way, marks of groups, has no effect with pytest 9.2.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """How the tests are shared out between processes."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """The session that jobs get, local."""
    from features.engine.session import open_session

    scratch = tmp_path_factory.mktemp("spark")
    conf = {"spark.local.dir": str(scratch), "spark.sql.warehouse.dir": str(scratch / "warehouse")}
    session = open_session(SparkSettings(master="local[2]", driver_memory="1500m", conf=conf), app="tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def cassandra_node(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[CassandraNode]":
    """A running Cassandra of its own, on a free port."""
    from features.embedded.cassandra import CassandraNode

    node = CassandraNode(state_dir=tmp_path_factory.mktemp("cassandra"), port=0, heap_mb=512)
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def cassandra_cluster(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[CassandraCluster]":
    """Three running Cassandra nodes on 127.0.0.1 to 127.0.0.3, on a free port. Who kills one restarts it."""
    from features.embedded.cassandra_cluster import CassandraCluster

    cluster = CassandraCluster(state_dir=tmp_path_factory.mktemp("cluster"), port=0, heap_mb=512)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def secured_node(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[CassandraNode]":
    """A running Cassandra of its own that demands passwords and TLS; `cassandra`, with that password, may do all."""
    from features.embedded.cassandra import CassandraNode
    from features.embedded.security import Security

    security = Security(passwords=True, tls=True)
    node = CassandraNode(state_dir=tmp_path_factory.mktemp("secured"), port=0, heap_mb=512, security=security)
    node.start()
    yield node
    node.stop()


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
