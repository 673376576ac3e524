import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.config import OnlineSettings, Settings
from features.embedded import node_launch
from features.embedded.cassandra import CassandraNode
from features.embedded.locking import try_lock
from features.embedded.node_files import NodeFiles, NodeRecord
from features.embedded.processes import birth_mark
from features.embedded.serving import embedded_node
from features.errors import PlatformError, UsageError

Usage = namedtuple("Usage", "total used free")


def record(pid: int, mark: str, port: int = 9042) -> NodeRecord:
    return NodeRecord(
        pid=pid, mark=mark, host="127.0.0.1", port=port, storage_port=1, jmx_port=2, started_at=time.time(), log_from=0,
        archive="/nowhere.jsa", archive_part=None,
    )  # fmt: skip


def settings(**online: object) -> Settings:
    values: dict[str, object] = {"embedded": True, **online}
    return Settings(env="local", online=OnlineSettings(**values))


@pytest.fixture
def stubborn() -> Iterator["subprocess.Popen[str]"]:
    """A process that ignores SIGTERM."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_port_in_use_is_named_with_the_process_that_has_it(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(PlatformError, match=rf"port {port} on 127\.0\.0\.1 is in use") as raised:
            CassandraNode(state_dir=tmp_path, port=port).start()
    if sys.platform == "linux":
        assert "by pid " in str(raised.value)


def test_a_nearly_full_disk_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 100 * 2**20))
    with pytest.raises(PlatformError, match="100 MiB free, and Cassandra needs 512"):
        CassandraNode(state_dir=tmp_path, port=0).start()
    assert not (tmp_path / "node.json").exists()


def test_a_missing_jdk_is_a_clear_error(tmp_path: Path, bin_folder: Path) -> None:
    with pytest.raises(PlatformError, match="no Java"):
        CassandraNode(state_dir=tmp_path / "node", port=0).start()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match="name another folder"):
        CassandraNode(state_dir=tmp_path / "file" / "node").start()


def test_a_recycled_pid_is_neither_reported_nor_stopped(tmp_path: Path, stubborn: "subprocess.Popen[str]") -> None:
    NodeFiles(folder=tmp_path).write_record(record(stubborn.pid, "of an earlier boot"))
    node = CassandraNode(state_dir=tmp_path)
    assert not node.status().running
    node.stop()
    node.reset()
    assert stubborn.poll() is None


def test_what_ignores_a_polite_stop_is_killed(
    tmp_path: Path, stubborn: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_launch, "TERMINATE_SECONDS", 0.3)
    NodeFiles(folder=tmp_path).write_record(record(stubborn.pid, birth_mark(stubborn.pid) or ""))
    node = CassandraNode(state_dir=tmp_path)
    assert node.status().pid == stubborn.pid
    assert not node.stop().running


def test_a_running_node_is_not_silently_taken_for_one_on_another_port(
    tmp_path: Path, stubborn: "subprocess.Popen[str]"
) -> None:
    NodeFiles(folder=tmp_path).write_record(record(stubborn.pid, birth_mark(stubborn.pid) or "", port=9042))
    with pytest.raises(PlatformError, match=r"already runs on 127\.0\.0\.1:9042"):
        CassandraNode(state_dir=tmp_path, port=9043).start()


def test_data_that_an_unknown_process_uses_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_launch, "_RELEASE_SECONDS", 0.1)
    (tmp_path / "storage").mkdir()
    lock = try_lock(tmp_path / "running.lock")
    assert lock is not None
    with os.fdopen(lock, "r+"), pytest.raises(PlatformError, match="another Cassandra uses"):
        CassandraNode(state_dir=tmp_path).reset()
    assert (tmp_path / "storage").exists()


def test_reset_deletes_what_a_node_made_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "storage" / "data").mkdir(parents=True)
    (tmp_path / "cassandra.log.1").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    NodeFiles(folder=tmp_path).write_record(record(1, "of an earlier boot", port=5555))
    node = CassandraNode(state_dir=tmp_path, port=0)
    assert node.status().port == 5555
    assert node.reset().port == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["control.lock", "notes.txt"]


def test_status_and_stop_of_a_node_that_never_started_make_no_folder(tmp_path: Path) -> None:
    node = CassandraNode(state_dir=tmp_path / "node")
    assert (node.status().running, node.stop().running, node.reset().running) == (False, False, False)
    assert not (tmp_path / "node").exists()


def test_a_damaged_record_is_no_running_node(tmp_path: Path) -> None:
    (tmp_path / "node.json").write_text(json.dumps({"pid": 1})[:-3])
    assert not CassandraNode(state_dir=tmp_path).status().running


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"host": "0.0.0.0"}, "127.0.0.0/8"),
        ({"host": "db.example"}, "db.example"),
        ({"port": 70000}, "70000"),
        ({"heap_mb": 64}, "256 MiB"),
    ],
)
def test_a_node_that_makes_no_sense_is_refused_at_birth(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        CassandraNode(state_dir=tmp_path, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("online", "message"),
    [
        ({"hosts": ("10.0.0.7", "127.0.0.1")}, r"real cluster \(10\.0\.0\.7\)"),
        ({"hosts": ("db.example",)}, "real cluster"),
        ({"embedded": False}, "online.embedded is false"),
        ({"type": "memory"}, "'memory'"),
        ({"hosts": ("127.0.0.1", "127.0.0.2")}, "one node"),
    ],
)
def test_where_conf_names_something_else_nothing_embedded_starts(online: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"nothing embedded starts.*{message}"):
        embedded_node(settings(**online))


def test_one_project_finds_one_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node = embedded_node(settings(hosts=("localhost",), port=9999))
    assert (node.host, node.port, node.state_dir) == ("127.0.0.1", 9999, tmp_path / ".state" / "cassandra")
