"""Promote, canary, rollback and drop by command, while server processes answer from a real Cassandra under load."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from features import DType, Feature
from features.config import OnlineSettings
from features.core.arms import picks_candidate
from features.core.discovery import Definitions
from features.core.rollout import ViewRollout
from features.embedded.ports import choose_free
from features.registry import Registry
from features.stores import cql
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_session import connect
from tests.builders import make_view

if TYPE_CHECKING:
    from features.embedded.cassandra import CassandraNode

pytestmark = pytest.mark.integration

KEYS = [f"customer {number}" for number in range(30)]
REQUEST = {"features": "last_payment", "entity_rows": [{"customer": key} for key in KEYS]}
# What a switch may take to be followed by every worker, on a machine that tests keep busy: seconds, not a restart.
FOLLOWED_SECONDS = 30
# A new connection for each request: either worker may get it.
ANEW = httpx.Limits(max_keepalive_connections=0)
FEATURES = [Feature("left", DType.INT64), Feature("right", DType.INT64)]


@dataclass(frozen=True)
class Site:
    """A registry with three loaded versions, whose every value is the version's number; and commands on it."""

    folder: Path
    settings: OnlineSettings
    registry: Registry

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`features` in a process of its own."""
        command = [str(Path(sys.executable).with_name("features")), *words, "--conf", "conf"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60)

    def expected(self) -> tuple[int, ...]:
        """The version that answers each key, by the registry."""
        now: ViewRollout = self.registry.rollout("last_payment")
        picks = picks_candidate(now, [(key,) for key in KEYS], [DType.STRING])
        return tuple(now.candidate if pick and now.candidate else now.live for pick in picks)


@pytest.fixture(scope="module")
def site(cassandra_node: "CassandraNode", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rollout")
    settings = OnlineSettings(port=cassandra_node.status().port, keyspace="rollout", consistency="LOCAL_ONE")
    (folder / "conf").mkdir()
    (folder / "conf" / "local.yaml").write_text("")
    online = f"online: {{port: {settings.port}, keyspace: rollout, consistency: LOCAL_ONE}}"
    (folder / "conf" / "base.yaml").write_text(f"{online}\nserving: {{access_log: 'off'}}\n")
    store = CassandraStore(settings)
    with Registry.open(f"sqlite:///{folder / '.state' / 'registry.db'}") as registry:
        for version in (1, 2, 3):
            view = make_view(features=FEATURES, delay=timedelta(hours=version))
            registry.apply(Definitions(views={view.name: view}, services={}))
            applied = registry.view(view.name)
            store.create(applied)
            session = connect(settings)
            insert = session.prepare(cql.insert(settings.keyspace, applied))
            for key in KEYS:
                session.execute(insert, (key, 0, 0, version, version, 1, 0))
            session.cluster.shutdown()
            registry.move_checkpoint(applied, target=store.target, position=1)
        yield Site(folder, settings, registry)
    store.close()


@pytest.fixture
def server(site: Site) -> Iterator[str]:
    """The URL of two workers; they end in order, which tells the registry what they read."""
    port = choose_free("127.0.0.1")
    command = [str(Path(sys.executable).with_name("features")), "serve", "--conf", "conf", "--port", str(port)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FEATURES_")}
    with (site.folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--workers", "2"], cwd=site.folder, stdout=log, stderr=log, env=environment
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process, site.folder / "server.log")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if httpx.get(f"{url}/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)


def ask(client: httpx.Client, url: str) -> tuple[int, ...]:
    """The version that answered each key; every row of one version."""
    answer = client.post(f"{url}/get-online-features", json=REQUEST, timeout=30)
    assert answer.status_code == 200, answer.text
    columns = answer.json()["columns"]
    assert columns["left"] == columns["right"], "one row of two versions"
    return tuple(columns["left"])


def test_switches_under_load_cause_no_error_and_no_mixed_answer(site: Site, server: str) -> None:
    states = {site.expected()}
    stop = threading.Event()

    def keep_asking() -> set[tuple[int, ...]]:
        seen = set()
        with httpx.Client() as client:
            while not stop.is_set():
                seen.add(ask(client, server))
        return seen

    def await_switch() -> None:
        wanted = site.expected()
        states.add(wanted)
        deadline = time.monotonic() + FOLLOWED_SECONDS
        in_a_row = 0
        with httpx.Client(limits=ANEW) as client:
            while in_a_row < 20:
                in_a_row = in_a_row + 1 if ask(client, server) == wanted else 0
                assert time.monotonic() < deadline, "a switch was not followed"

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(keep_asking) for _ in range(3)]
        try:
            for words in (
                ("promote", "last_payment@2", "--canary", "20%"),
                ("promote", "last_payment@2", "--canary", "60%"),
                ("promote", "last_payment@2"),
                ("promote", "last_payment@3", "--canary", "50%"),
                ("rollback", "last_payment"),
                ("promote", "last_payment@3"),
                ("rollback", "last_payment"),
            ):
                done = site.run(*words)
                assert done.returncode == 0, done.stderr
                await_switch()
        finally:
            stop.set()
        seen = set().union(*(answers.result() for answers in asking))

    assert site.registry.rollout("last_payment").live == 2
    assert len(states) == 6
    assert seen <= states
    assert len(seen) > 1


def test_a_table_is_dropped_once_nobody_reads_it_and_not_before(site: Site) -> None:
    """The server of the test before this one has ended, and told what it read."""
    read_lately = site.run("drop", "last_payment@3", "--yes")
    live = site.run("drop", "last_payment@2", "--unread-for", "0min", "--yes")
    dropped = site.run("drop", "last_payment@3", "--unread-for", "0min", "--yes")
    again = site.run("drop", "last_payment@3", "--unread-for", "0min", "--yes")

    assert (read_lately.returncode, "it was read by" in read_lately.stderr) == (1, True)
    assert (live.returncode, "it is live" in live.stderr) == (1, True)
    assert (dropped.returncode, dropped.stdout.endswith(": dropped\n")) == (0, True), dropped.stderr
    assert (again.returncode, "was not there" in again.stdout) == (0, True)
    assert tables(site) == {"last_payment__v1", "last_payment__v2"}
    refused = site.run("promote", "last_payment@3")
    assert (refused.returncode, "never loaded" in refused.stderr) == (1, True)


def tables(site: Site) -> set[str]:
    session = connect(site.settings)
    rows = session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'rollout'")
    found = {row[0] for row in rows}
    session.cluster.shutdown()
    return found
