"""Loads as processes over a real Cassandra: killed at several points and run again, and two of them at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from features import FeatureView
from features.config import OnlineSettings
from features.stores.base import Read, rows_of
from features.stores.cassandra import CassandraStore
from features.stores.opening import online_target
from tests.builders import Workshop, make_view, payments_source, write_payments

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.embedded.cassandra import CassandraNode

pytestmark = [pytest.mark.spark, pytest.mark.integration]

KEYS = 30_000
KEYSPACE = "loaders"
# From the moment at which a load begins to write.
KILLED_AFTER_SECONDS = (0.2, 1.2)
_CONF = """
registry: {registry}
warehouse: {warehouse}
online: {{port: {port}, keyspace: {keyspace}, consistency: LOCAL_ONE, load: {{jmx_port: {jmx_port}}}}}
spark: {{master: "local[2]", driver_memory: 1g}}
"""


@dataclass(frozen=True)
class Site:
    """A log of two commits, and commands that load it. first, second: what keys have after each."""

    folder: Path
    workshop: Workshop
    settings: OnlineSettings
    view: FeatureView
    first: Mapping[str, float]
    second: Mapping[str, float]

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """`features load` in a process group of its own."""
        command = [str(Path(sys.executable).with_name("features")), "load", self.view.name, "--conf", "conf", *words]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FEATURES_")}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def stored(self) -> dict[str, float]:
        """What is online of all keys that there are."""
        store, applied = CassandraStore(self.settings), self.workshop.registry.view(self.view.name)
        found = {}
        for start in range(0, KEYS, 500):
            keys = tuple((f"k{number}",) for number in range(start, start + 500))
            rows = rows_of(*store.read([Read(view=applied, features=("amount",), keys=keys)], timeout_seconds=30))
            found |= {key: row.values[0] for (key,), row in zip(keys, rows, strict=True) if row is not None}
        store.close()
        return found

    def checkpoint(self) -> int:
        """Up to where the registry holds the table for loaded."""
        applied = self.workshop.registry.view(self.view.name)
        return self.workshop.registry.checkpoint(applied, target=online_target(self.settings))


@pytest.fixture
def site(spark: "SparkSession", tmp_path: Path, cassandra_node: "CassandraNode") -> Iterator[Site]:
    status = cassandra_node.status()
    view = make_view(sources=[payments_source(tmp_path / "source")])
    first = {f"k{number}": float(number) for number in range(KEYS)}
    second = first | {f"k{number}": -float(number) for number in range(1, KEYS, 2)}
    workshop = Workshop(spark, tmp_path)
    workshop.apply(view)
    rows = [(key, "2024-01-01 10:00", value) for key, value in first.items()]
    changes = [(key, "2024-01-02 10:00", value) for key, value in second.items() if value < 0]
    write_payments(tmp_path / "source", [*rows, *changes])
    workshop.build(view, "2024-01-01", "2024-01-02")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "local.yaml").write_text("")
    (tmp_path / "conf" / "base.yaml").write_text(
        _CONF.format(
            registry=workshop.registry_url, warehouse=workshop.warehouse, port=status.port, keyspace=KEYSPACE,
            jmx_port=status.jmx_port,
        )
    )  # fmt: skip
    settings = OnlineSettings(port=status.port, keyspace=KEYSPACE, consistency="LOCAL_ONE")
    yield Site(tmp_path, workshop, settings, view, first, second)
    store = CassandraStore(settings)
    store.drop(workshop.registry.view(view.name))
    store.close()


@pytest.mark.parametrize("path", ["sstable", "cql"])
def test_a_load_killed_at_any_point_is_run_again_and_loses_nothing(site: Site, path: str) -> None:
    assert run(site.start("--path", path)) == 0
    assert site.stored() == site.first
    loaded = site.checkpoint()
    site.workshop.build(site.view, "2024-01-02", "2024-01-03")

    killed = 0
    for seconds in KILLED_AFTER_SECONDS:
        process = site.start("--path", path, "--full")
        await_writing(process)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        killed += end(process) == -signal.SIGKILL
        found = site.stored()
        # Every key has a whole row of one of the two positions, and the checkpoint claims none that is not there.
        assert all(found[key] in (site.first[key], site.second[key]) for key in site.first)
        assert site.checkpoint() == loaded or found == site.second
    assert killed

    assert run(site.start("--path", path)) == 0
    assert site.stored() == site.second
    assert site.checkpoint() > loaded


def test_two_loads_at_once_by_different_paths_end_as_one_does(site: Site) -> None:
    site.workshop.build(site.view, "2024-01-02", "2024-01-03")

    loads = [site.start("--path", path) for path in ("sstable", "cql")]

    assert [run(process) for process in loads] == [0, 0]
    assert site.stored() == site.second


def await_writing(process: "subprocess.Popen[str]") -> None:
    """Until the load tells that it writes."""
    told = []
    for line in log_of(process):
        told.append(line)
        if " loading " in line:
            return
    pytest.fail("".join(told))


def run(process: "subprocess.Popen[str]") -> int:
    """The exit code; what it told is shown where that is not 0."""
    told = log_of(process).read()
    code = end(process)
    if code:
        sys.stderr.write(told)
    return code


def end(process: "subprocess.Popen[str]") -> int:
    log_of(process).close()
    return process.wait(timeout=120)


def log_of(process: "subprocess.Popen[str]") -> "IO[str]":
    assert process.stderr is not None
    return process.stderr
