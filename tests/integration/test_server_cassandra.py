"""`features serve` over a real Cassandra: values of every type, and a Cassandra that is stopped and goes on."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from features.config import load_settings
from features.core.times import to_micros
from features.embedded.ports import choose_free
from features.registry import Registry
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_session import connect
from tests.served import A_KEY, EVERY_FEATURE, EVERY_KEY, NOON, Server, started

if TYPE_CHECKING:
    from features.embedded.cassandra import CassandraNode

pytestmark = pytest.mark.integration

_VIEWS = "from tests.served import DEFINITIONS as D\nglobals().update({**D.views, **D.services})\n"
_CONF = """
views: served_views
registry: sqlite:///registry.db
online: {{type: cassandra, hosts: [{host}], port: {port}, keyspace: served, consistency: LOCAL_ONE}}
serving: {{workers: 2, queue_target_ms: 1000, timeout_ms: 1500}}
"""
KEY = {"at": "2024-01-01T00:00:00.000001+00:00", "day": "2024-01-01", "price": "1.50", "blob": "AP8=", "big": 2**63 - 1,
       "flag": True}  # fmt: skip
ASKED = {"features": "every", "entity_rows": [KEY, {**KEY, "flag": False}]}
VALUES = {
    "a_bool": "true", "an_int32": "-2147483648", "an_int64": "-9223372036854775808", "a_float32": "-Infinity",
    "a_float64": "NaN", "a_decimal": "1.5000", "a_string": "'é \"quoted\"'", "some_bytes": "0x00ff",
    "a_date": "'1969-12-31'", "a_timestamp": "-1", "instants": "[0]", "words": "['', 'é']", "a_vector": "[1, NaN, 0]",
}  # fmt: skip
IN_JSON = {
    "a_bool": True, "an_int32": -(2**31), "an_int64": -(2**63), "a_float32": "-Infinity", "a_float64": "NaN",
    "a_decimal": "1.5000", "a_string": 'é "quoted"', "some_bytes": "AP8=", "a_date": "1969-12-31",
    "a_timestamp": "1969-12-31T23:59:59.999999+00:00", "instants": ["1970-01-01T00:00:00+00:00"], "words": ["", "é"],
    "a_vector": [1.0, "NaN", 0.0],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(cassandra_node: "CassandraNode", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    status = cassandra_node.status()
    (folder / "conf").mkdir()
    (folder / "conf" / "base.yaml").write_text(_CONF.format(host=status.host, port=status.port))
    (folder / "conf" / "local.yaml").write_text("")
    (folder / "served_views.py").write_text(_VIEWS)
    _fill(folder)
    port = choose_free("127.0.0.1")
    command = [str(Path(sys.executable).with_name("features")), "serve", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{Path.cwd()}"}
    with started(command, folder=folder, port=port, environment=environment) as server:
        server.wait_for("/ready")
        yield server


def _fill(folder: Path) -> None:
    """One row, written as any driver would, and told to be loaded."""
    from tests.served import DEFINITIONS

    settings = load_settings(folder / "conf", env="local")
    with Registry.open(f"sqlite:///{folder / 'registry.db'}") as registry:
        registry.apply(DEFINITIONS)
        store = CassandraStore(settings.online)
        for view in registry.views():
            store.create(view)
            registry.move_checkpoint(view, target=store.target, position=1)
        key = (str(to_micros(A_KEY[0])), "'2024-01-01'", "1.50", "0x00ff", str(2**63 - 1), "true")
        names = ", ".join([*EVERY_KEY, *EVERY_FEATURE, "event_timestamp", "created_timestamp"])
        micros = str(to_micros(NOON))
        session = connect(settings.online)
        session.execute(
            f"INSERT INTO served.every__v1 ({names}) VALUES ({', '.join([*key, *VALUES.values(), micros, micros])})"
        )
        session.cluster.shutdown()
        store.close()


def test_every_dtype_is_answered_over_http(server: Server) -> None:
    answer = server.ask(**ASKED, event_timestamps=True)

    found = answer.json()
    assert {name: values[0] for name, values in found["columns"].items()} == {**KEY, **IN_JSON}
    assert {statuses[0] for statuses in found["statuses"].values()} == {"PRESENT"}
    assert {statuses[1] for statuses in found["statuses"].values()} == {"NOT_FOUND"}
    assert found["event_timestamps"]["a_bool"] == ["2024-01-01T12:00:00+00:00", None]


def test_a_stopped_cassandra_blocks_no_health_and_no_deadline(server: Server, cassandra_node: "CassandraNode") -> None:
    pid = cassandra_node.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        late = httpx.post(f"{server.url}/get-online-features", json=ASKED, timeout=30)
        assert late.status_code in (503, 504)
        # It would be blocked for ever; the deadline is 1.5 s, and machines that test are slow at times.
        assert time.monotonic() - begun < 20
        assert "127.0.0.1" not in late.text
        begun = time.monotonic()
        assert server.get("/health").status_code == 200
        assert time.monotonic() - begun < 10
        until = time.monotonic() + 40
        while (ready := server.get("/ready")).status_code == 200:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert ready.json() == {"ready": False, "registry": True, "online_store": False}
    finally:
        os.kill(pid, signal.SIGCONT)

    server.wait_for("/ready", seconds=60)
    until = time.monotonic() + 60
    while server.ask(**ASKED).status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert server.ask(**ASKED).json()["columns"]["a_decimal"] == ["1.5000", None]
