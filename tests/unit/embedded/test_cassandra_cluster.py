import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.config import OnlineSettings, Settings, TlsSettings
from features.embedded import cassandra_cluster, ports
from features.embedded.cassandra import CassandraNode
from features.embedded.cassandra_cluster import CassandraCluster, known_hosts
from features.embedded.node_files import NodeFiles, NodeRecord
from features.embedded.processes import birth_mark
from features.embedded.security import Security
from features.embedded.serving import embedded_cassandra, jmx_ports, stop_embedded
from features.errors import PlatformError, UsageError


def settings(**online: object) -> Settings:
    values: dict[str, object] = {"embedded": True, **online}
    return Settings(env="local", online=OnlineSettings(**values))


def write_layout(folder: Path, *hosts: str, port: int = 9042) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"hosts": hosts, "port": port, "storage_port": 7000}
    (folder / "cluster.json").write_text(json.dumps(content), encoding="utf-8")


def write_record(folder: Path, host: str, *, jmx_port: int, pid: int, port: int = 9042) -> NodeFiles:
    folder.mkdir(parents=True, exist_ok=True)
    record = NodeRecord(
        pid=pid, mark=birth_mark(pid) or "", host=host, port=port, storage_port=7000, jmx_port=jmx_port,
        started_at=time.time() - 1, log_from=0, archive="/nowhere.jsa", archive_part=None,
    )  # fmt: skip
    files = NodeFiles(folder=folder)
    files.write_record(record)
    return files


def running(*folders: Path) -> list[bool]:
    return [CassandraNode(state_dir=folder).status().running for folder in folders]


@pytest.mark.parametrize("hosts", [(), ("127.0.0.1",), ("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "10.0.0.1")])
def test_a_cluster_that_makes_no_sense_is_refused_at_birth(tmp_path: Path, hosts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        CassandraCluster(state_dir=tmp_path, hosts=hosts)


def test_each_node_has_a_folder_and_an_address_and_all_share_ports_and_certificates(tmp_path: Path) -> None:
    write_layout(tmp_path, "127.0.0.1", "127.0.0.2", port=5555)

    nodes = CassandraCluster(state_dir=tmp_path, hosts=("127.0.0.1", "127.0.0.2"), port=0).nodes

    assert [(node.host, node.port, node.state_dir.name) for node in nodes] == [
        ("127.0.0.1", 5555, "node1"),
        ("127.0.0.2", 5555, "node2"),
    ]
    assert {node.tls_dir for node in nodes} == {tmp_path / "tls"}
    assert [node.ring.storage_port for node in nodes if node.ring] == [7000, 7000]


def test_a_folder_keeps_its_nodes_until_a_reset(tmp_path: Path) -> None:
    write_layout(tmp_path, "127.0.0.1", "127.0.0.2")
    with pytest.raises(PlatformError, match=r"a cluster of 127\.0\.0\.1, 127\.0\.0\.2, not of .*; reset it first"):
        CassandraCluster(state_dir=tmp_path).start()

    CassandraCluster(state_dir=tmp_path, hosts=("127.0.0.1", "127.0.0.2")).reset()

    assert known_hosts(tmp_path) is None


def test_status_and_stop_of_a_cluster_that_never_started_make_no_folder(tmp_path: Path) -> None:
    cluster = CassandraCluster(state_dir=tmp_path / "cluster")

    assert [status.running for status in (*cluster.status(), *cluster.stop(), *cluster.reset())] == [False] * 9
    assert not (tmp_path / "cluster").exists()


def test_nodes_wait_until_they_last_spoke_of_each_other_as_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sleeping: int
) -> None:
    monkeypatch.setattr("features.embedded.cassandra_cluster.READY_SECONDS", 0.3)
    cluster = CassandraCluster(state_dir=tmp_path, hosts=("127.0.0.1", "127.0.0.2"))
    first, second = (
        write_record(tmp_path / f"node{number}", f"127.0.0.{number}", jmx_port=1, pid=sleeping) for number in (1, 2)
    )
    first.log.write_text("INFO InetAddress /127.0.0.2:7000 is now UP\n")
    second.log.write_text("INFO InetAddress /127.0.0.1:7000 is now UP\nINFO InetAddress /127.0.0.1:7000 is now DOWN\n")

    with pytest.raises(PlatformError, match=r"the node on 127\.0\.0\.2 does not find the one on 127\.0\.0\.1"):
        cluster.await_ready()
    with second.log.open("a") as log:
        log.write("INFO InetAddress /127.0.0.1:7000 is now UP\n")

    cluster.await_ready()


def test_a_node_whose_log_rolled_since_its_start_spoke_of_its_peers_long_ago(tmp_path: Path, sleeping: int) -> None:
    cluster = CassandraCluster(state_dir=tmp_path, hosts=("127.0.0.1", "127.0.0.2"))
    for number in (1, 2):
        files = write_record(tmp_path / f"node{number}", f"127.0.0.{number}", jmx_port=1, pid=sleeping)
        files.log.with_name("cassandra.log.1").write_text("")

    cluster.await_ready()


def test_conf_with_several_hosts_means_a_cluster_of_them(in_tmp: Path) -> None:
    found = embedded_cassandra(settings(hosts=("127.0.0.1", "127.0.0.2"), port=9999))

    assert isinstance(found, CassandraCluster)
    assert (found.hosts, found.port, found.state_dir) == (
        ("127.0.0.1", "127.0.0.2"),
        9999,
        in_tmp / ".state/cassandra-cluster",
    )


def test_a_cluster_that_was_started_is_meant_until_it_is_reset(in_tmp: Path) -> None:
    assert isinstance(embedded_cassandra(settings()), CassandraNode)
    write_layout(in_tmp / ".state/cassandra-cluster", "127.0.0.1", "127.0.0.2", "127.0.0.3")

    assert isinstance(embedded_cassandra(settings()), CassandraCluster)
    assert isinstance(embedded_cassandra(settings(), nodes=1), CassandraNode)


@pytest.mark.parametrize(("hosts", "nodes"), [(("127.0.0.4",), 3), (("127.0.0.1",), 0), (("127.0.0.1",), 10)])
def test_conf_must_name_hosts_among_the_nodes(in_tmp: Path, hosts: tuple[str, ...], nodes: int) -> None:
    with pytest.raises(UsageError, match="1 to 9 nodes"):
        embedded_cassandra(settings(hosts=hosts), nodes=nodes)


def test_what_settings_bring_is_what_the_node_demands(in_tmp: Path) -> None:
    plain = embedded_cassandra(settings())
    secured = embedded_cassandra(settings(username="features_writer", tls=TlsSettings()))

    assert plain.security == Security()
    assert secured.security == Security(passwords=True, tls=True)


def test_jmx_ports_are_those_of_running_nodes_that_serve_the_settings(tmp_path: Path, sleeping: int) -> None:
    conf = settings(hosts=("127.0.0.1",), port=9042)
    write_record(tmp_path, "127.0.0.1", jmx_port=7199, pid=sleeping)

    assert jmx_ports(conf, tmp_path) == {"127.0.0.1": 7199}
    assert jmx_ports(settings(port=9043), tmp_path) == {}
    assert jmx_ports(settings(hosts=("127.0.0.1", "10.0.0.7")), tmp_path) == {}


def test_jmx_ports_of_a_cluster_leave_out_the_node_that_is_down(tmp_path: Path, sleeping: int) -> None:
    write_layout(tmp_path, "127.0.0.1", "127.0.0.2")
    write_record(tmp_path / "node1", "127.0.0.1", jmx_port=7199, pid=sleeping)
    write_record(tmp_path / "node2", "127.0.0.2", jmx_port=7200, pid=2**22 - 1)

    assert jmx_ports(settings(), tmp_path) == {"127.0.0.1": 7199}


def test_a_port_taken_on_one_address_is_not_chosen_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        taken = server.getsockname()[1]
        free = ports.choose_free("127.0.0.1", avoid=(taken,))
        offered = iter([taken, free])
        monkeypatch.setattr(ports, "choose_free", lambda *_, **__: next(offered))

        assert cassandra_cluster._free_on_all(("127.0.0.1", "127.0.0.2")) == free


def test_stopping_what_is_embedded_stops_the_node_and_the_cluster(in_tmp: Path) -> None:
    cluster, node = in_tmp / ".state/cassandra-cluster", in_tmp / ".state/cassandra"
    write_layout(cluster, "127.0.0.1", "127.0.0.2")
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command) as first, subprocess.Popen(command) as second:
        write_record(node, "127.0.0.1", jmx_port=1, pid=first.pid)
        write_record(cluster / "node2", "127.0.0.2", jmx_port=2, pid=second.pid)

        assert running(node, cluster / "node2") == [True, True]

        stop_embedded()

    assert running(node, cluster / "node2") == [False, False]
