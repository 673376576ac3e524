"""A materialization killed at every boundary and run again leaves what one leaves that was not disturbed."""

import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from features.errors import OnlineStoreError
from features.store import FeatureStore
from features.stores.base import Read, rows_of
from features.stores.delta import FeatureLog
from features.stores.quarantine import Quarantine
from tests.builders import at, write_payments
from tests.killed_runs import Victims

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.embedded.cassandra import CassandraNode

# Some twenty runs, each killed, repeated and compared.
pytestmark = [pytest.mark.spark, pytest.mark.integration, pytest.mark.timeout(1200)]

MOMENT = at("2024-01-01")
KEYS = ("a", "b", "c", "d", "e", "f")
_CONF = """
views: killed_views
warehouse: {folder}/warehouse
registry: sqlite:///{folder}/registry.db
online: {{port: {port}, keyspace: {keyspace}, consistency: LOCAL_ONE}}
"""
_VIEWS = """
from datetime import timedelta
from features import BatchSource, DType, Entity, Expect, Feature, FeatureView

def passes_on(payments):
    return payments.withColumnRenamed("paid_at", "event_timestamp")

VIEW = FeatureView(
    name="last_payment", entities=[Entity(name="customer", join_keys={{"customer": DType.STRING}})],
    sources=[BatchSource(name="payments", path={source!r}, format="parquet", timestamp_field="paid_at",
                         history=timedelta(days=1))],
    features=[Feature("amount", DType.FLOAT64, expect=[Expect.between(0, 1000, severity="quarantine"),
                                                       Expect.between(0, 5, severity="warn")])],
    transform=passes_on, lookback=None, schedule="@daily", delay=timedelta(minutes=30),
    owner="team@example.com", description="the last payment")
"""
DAY_1 = {"view": "last_payment", "start": "2024-01-01T00:00:00Z", "end": "2024-01-02T00:00:00Z"}
DAY_2 = {"view": "last_payment", "start": "2024-01-02T00:00:00Z", "end": "2024-01-03T00:00:00Z", "reprocess": 1}
BEFORE = [("a", "2024-01-01 10:00", 1.0), ("b", "2024-01-01 11:00", 2.0), ("c", "2024-01-01 12:00", 5000.0),
          ("d", "2024-01-01 13:00", 4.0)]  # fmt: skip
# Of the first day one row is corrected, one withheld no longer, one gone; of the second one is withheld.
AFTER = [("a", "2024-01-01 10:00", 1.5), ("b", "2024-01-01 11:00", 2.0), ("c", "2024-01-01 12:00", 3.0),
         ("b", "2024-01-02 09:00", 7.0), ("e", "2024-01-02 10:00", 9.0), ("f", "2024-01-02 11:00", 9999.0)]  # fmt: skip


@dataclass(frozen=True)
class Site:
    """A registry and a warehouse in a folder of their own, and a keyspace of their own."""

    folder: Path
    spark: "SparkSession"

    def open(self) -> FeatureStore:
        """The store, over the test's Spark."""
        return FeatureStore.from_conf(self.folder / "conf", env="local")

    def state(self) -> dict[str, Any]:
        """All that a run leaves behind: the log, what is withheld, the ledger, and what is online."""
        with self.open() as store:
            view = store.registry.view("last_payment")
            log = FeatureLog(self.spark, str(self.folder / "warehouse"), view)
            snapshot = log.snapshot()
            quarantine = Quarantine(self.spark, str(self.folder / "warehouse"), view)
            withheld = self.spark.read.format("delta").load(quarantine.path).drop("_run_id")
            entries = store.registry.ledger(view)
            return {
                "log": [] if snapshot is None else _rows(log.read(snapshot)),
                "withheld": _rows(withheld),
                "ledger": [replace(entry, run_id="", updated_at=MOMENT) for entry in entries],
                "commits": [(c.position, c.delta_version) for c in store.registry.commits(view)],
                "checkpoint": store.registry.checkpoint(view, target=store.online.target),
                "online": self.online(),
            }

    def online(self) -> list[Any]:
        """What readers find, by key."""
        with self.open() as store:
            view = store.registry.view("last_payment")
            asked = Read(view=view, features=("amount",), keys=tuple((key,) for key in KEYS))
            return rows_of(*store.online.read([asked], timeout_seconds=30))


class Sites:
    """Sites over one source, in one Cassandra."""

    def __init__(self, folder: Path, spark: "SparkSession", port: int) -> None:
        self.folder, self.spark, self._port = folder, spark, port
        # The node is one for all tests, and their keyspaces stay in it.
        self._keyspace = f"killed_{uuid4().hex[:8]}"
        self._made: list[Site] = []
        (folder / "killed_views.py").write_text(_VIEWS.format(source=str(folder / "source")))
        write_payments(folder / "source", BEFORE)

    def make(self, *, like: Site | None = None) -> Site:
        """A new one: with the view applied, or as another is, online too."""
        number = len(self._made)
        site = Site(self.folder / f"site_{number}", self.spark)
        self._made.append(site)
        if like is not None:
            shutil.copytree(like.folder, site.folder)
        (site.folder / "conf").mkdir(parents=True, exist_ok=True)
        (site.folder / "conf" / "local.yaml").write_text("")
        conf = _CONF.format(folder=site.folder, port=self._port, keyspace=f"{self._keyspace}_{number}")
        (site.folder / "conf" / "base.yaml").write_text(conf)
        with site.open() as store:
            store.apply()
            if like is not None:
                store.load("last_payment")
        return site


@pytest.fixture
def sites(
    spark: "SparkSession", cassandra_node: "CassandraNode", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sites]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Sites(tmp_path, spark, cassandra_node.status().port)
    sys.modules.pop("killed_views", None)


@pytest.fixture
def victims(sites: Sites) -> Iterator[Victims]:
    made = Victims(sites.spark, sites.folder)
    yield made
    made.close()


def test_a_run_killed_at_any_boundary_and_run_again_leaves_what_an_undisturbed_one_leaves(
    sites: Sites, victims: Victims
) -> None:
    seed = sites.make()
    materialize(seed, DAY_1)
    write_payments(sites.folder / "source", AFTER)

    undisturbed = sites.make(like=seed)
    before = undisturbed.online()
    code, boundaries = victims.materialize(0, undisturbed.folder, DAY_2)
    assert code == 0
    wanted = undisturbed.state()
    assert len(wanted["log"]) == 8
    assert [entry.status for entry in wanted["ledger"]] == ["built", "built"]

    for number, boundary in enumerate(boundaries, start=1):
        site = sites.make(like=seed)
        assert victims.materialize(number, site.folder, DAY_2) == (-signal.SIGKILL, []), boundary
        # What readers find in between is a whole state, of before or of after.
        assert site.online() in (before, wanted["online"]), boundary
        materialize(site, DAY_2)
        assert site.state() == wanted, boundary


def test_a_load_without_cassandra_fails_and_the_next_one_brings_all_online(
    sites: Sites, cassandra_node: "CassandraNode"
) -> None:
    seed = sites.make()
    materialize(seed, DAY_1)
    write_payments(sites.folder / "source", AFTER)
    site, undisturbed = sites.make(like=seed), sites.make(like=seed)
    materialize(undisturbed, DAY_2)

    cassandra_node.stop()
    try:
        with pytest.raises(OnlineStoreError, match=r"127\.0\.0\.1"):
            materialize(site, DAY_2)
    finally:
        cassandra_node.start()
    with site.open() as store:
        assert store.registry.checkpoint(store.registry.view("last_payment"), target=store.online.target) == 1
    materialize(site, DAY_2)

    assert site.state() == undisturbed.state()


def materialize(site: Site, asked: dict[str, Any]) -> None:
    with site.open() as store:
        store.materialize(**asked)


def _rows(frame: Any) -> list[str]:
    return sorted(map(repr, frame.toArrow().to_pylist()))
