"""A newcomer's feature view: two files, a definition and its test. All else follows, through to an online read."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.orchestration.plan import view_dags
from features.store import FeatureStore
from tests.builders import write_payments

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.embedded.cassandra import CassandraNode

pytestmark = [pytest.mark.spark, pytest.mark.integration]

ROOT = Path(__file__).parents[2]
SHARED = """
    from features import BatchSource, DType, Entity
    CUSTOMER = Entity(name="customer", join_keys={{"customer": DType.STRING}})
    PAYMENTS = BatchSource(name="payments", path={path!r}, format="parquet", timestamp_field="paid_at")
"""
VIEW = '''
    """What a customer paid last, in cents."""

    from datetime import timedelta

    from features import DType, Feature, FeatureView
    from features.functions import DataFrame, F
    from shop_views.shared import CUSTOMER, PAYMENTS

    def spend(payments: DataFrame) -> DataFrame:
        """Each payment in cents, as it was made."""
        cents = (F.col("amount") * 100).cast("bigint")
        return payments.select("customer", F.col("paid_at").alias("event_timestamp"), cents.alias("cents"))

    SPEND = FeatureView(
        name="spend", entities=[CUSTOMER], sources=[PAYMENTS], transform=spend,
        features=[Feature("cents", DType.INT64)],
        lookback=None, schedule="@daily", delay=timedelta(minutes=30), description="what was paid last", owner="me",
    )
'''
TEST = """
    def test_cents():
        from pyspark.sql import SparkSession
        from shop_views.spend import spend
        spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
        payments = spark.createDataFrame([("a", 1.25)], "customer string, amount double")
        payments = payments.selectExpr("*", "now() paid_at")
        assert [row["cents"] for row in spend(payments).collect()] == [125]
"""


def test_a_new_view_takes_two_files_and_nothing_else(
    spark: "SparkSession", cassandra_node: "CassandraNode", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A team's project as it was before: a package of views with an entity and a source.
    package = tmp_path / "shop_views"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shared.py").write_text(textwrap.dedent(SHARED.format(path=str(tmp_path / "payments"))))
    write_payments(tmp_path / "payments", [("a", "2024-01-01 10:00", 1.25), ("b", "2024-01-01 11:00", 2.0)])
    monkeypatch.syspath_prepend(str(tmp_path))

    # The newcomer's two files.
    (package / "spend.py").write_text(textwrap.dedent(VIEW))
    (tmp_path / "test_spend.py").write_text(textwrap.dedent(TEST))

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_spend.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path), "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    overrides = {
        "views": "shop_views",
        "warehouse": str(tmp_path / "warehouse"),
        "registry": f"sqlite:///{tmp_path / 'registry.db'}",
        "online.port": cassandra_node.status().port,
        "online.keyspace": "two_files",
    }
    with FeatureStore.from_conf(ROOT / "conf", env="local", overrides=overrides) as store:
        assert "spend" in str(store.apply())
        (dag,) = view_dags(store.registry.views(), store.settings)
        assert (dag.dag_id, dag.cron) == ("spend", "0 0 * * *")
        result = store.materialize("spend", "2024-01-01T00:00Z", "2024-01-02T00:00Z")
        assert (result.build.rows, result.load.rows) == (2, 2)
        answer = store.get_online_features(features=["spend"], entity_rows=[{"customer": "a"}, {"customer": "b"}])
        assert answer.to_dict() == {"customer": ["a", "b"], "cents": [125, 200]}
