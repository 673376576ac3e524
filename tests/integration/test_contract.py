"""The public contract on four rows worked out by hand, in memory and on a real Cassandra; and a view in two files.

A daily view with a delay of 30 minutes:
    key  event                       value   interval     created
    a    2024-01-01 10:00            1.0     Jan 1        2024-01-02 00:30
    b    2024-01-01 23:59:59.999999  5.0     Jan 1        2024-01-02 00:30
    a    2024-01-02 09:00            2.0     Jan 2        2024-01-03 00:30
    b    2024-01-03 00:00            7.0     Jan 3        2024-01-04 00:30   (midnight opens the new interval)
"""

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from features.errors import RefusedError
from features.store import FeatureStore
from tests.builders import UTC_MICROS, at, write_payments

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.integration]

CONF = Path(__file__).parents[2] / "conf"
ROWS = [
    ("a", "2024-01-01 10:00", 1.0),
    ("b", "2024-01-01 23:59:59.999999", 5.0),
    ("a", "2024-01-02 09:00", 2.0),
    ("b", "2024-01-03 00:00", 7.0),
]
SPINE = [  # key, time, as known then, by event time alone
    ("a", "2024-01-01 12:00", None, 1.0),
    ("a", "2024-01-02 00:29:59.999999", None, 1.0),
    ("a", "2024-01-02 00:30", 1.0, 1.0),
    ("a", "2024-01-02 10:00", 1.0, 2.0),
    ("a", "2024-01-03 00:30", 2.0, 2.0),
    ("b", "2024-01-03 12:00", 5.0, 7.0),
    ("b", "2024-01-04 00:30", 7.0, 7.0),
    ("c", "2024-01-04 00:30", None, None),
    ("a", "2024-01-04 00:30", 2.0, 2.0),
    ("a", "2024-01-04 00:30", 2.0, 2.0),
]
VIEW = """
    from datetime import timedelta
    from features import BatchSource, DType, Entity, Expect, Feature, FeatureService, FeatureView

    CUSTOMER = Entity(name="customer", join_keys={{"customer": DType.STRING}})
    PAYMENTS = BatchSource(name="payments", path={path!r}, format="parquet", timestamp_field="paid_at")

    def last_payment(payments):
        return payments.withColumnRenamed("paid_at", "event_timestamp")

    LAST = FeatureView(
        name="last_payment", entities=[CUSTOMER], sources=[PAYMENTS], transform=last_payment, lookback=None,
        schedule="@daily", delay=timedelta(minutes=30), description="the last payment", owner="t@example.com",
        features=[Feature("amount", DType.FLOAT64, expect=[Expect.between(0, 1000)])],
    )
    MODEL = FeatureService(name="model", features=["last_payment"])
"""


def at_times(*rows: tuple[Any, ...]) -> pa.Table:
    times = pa.array([at(row[1]) for row in rows], UTC_MICROS)
    return pa.table({"n": list(range(len(rows))), "customer": [row[0] for row in rows], "event_timestamp": times})


@pytest.fixture(params=["memory", "cassandra"])
def store(
    request: pytest.FixtureRequest, spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeatureStore]:
    """A store over a views package of the test's own."""
    package = f"contract_{request.param}_{abs(hash(tmp_path))}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(textwrap.dedent(VIEW.format(path=str(tmp_path / "payments"))))
    write_payments(tmp_path / "payments", ROWS)
    monkeypatch.syspath_prepend(str(tmp_path))
    overrides: dict[str, Any] = {
        "views": package,
        "warehouse": str(tmp_path / "warehouse"),
        "registry": f"sqlite:///{tmp_path / 'registry.db'}",
        "online.type": request.param,
    }
    if request.param == "cassandra":
        node = request.getfixturevalue("cassandra_node").status()
        overrides |= {"online.port": node.port, "online.keyspace": f"contract_{abs(hash(tmp_path))}"}
    with FeatureStore.from_conf(CONF, env="local", overrides=overrides) as made:
        yield made


def test_the_contract_holds(store: FeatureStore, tmp_path: Path) -> None:
    assert not store.plan().is_empty
    store.apply()
    assert store.plan().is_empty
    days = [f"2024-01-0{day}T00:00+00:00" for day in range(1, 6)]
    assert [store.build("last_payment", *days[n : n + 2]).rows for n in range(3)] == [2, 1, 1]
    for known_at, column in (("created", 2), ("event", 3)):
        found = store.get_historical_features(
            entity_df=at_times(*SPINE), features="model", known_at=known_at
        ).to_arrow()
        assert found["n"].to_pylist() == list(range(len(SPINE)))
        assert found["amount"].to_pylist() == [row[column] for row in SPINE]
    assert store.load("last_payment").rows == 2
    asked = [{"customer": "a"}, {"customer": "b"}, {"customer": "c"}]
    answer = store.get_online_features(features="model", entity_rows=asked)
    assert answer.to_dict() == {"customer": ["a", "b", "c"], "amount": [2.0, 7.0, None]}
    assert answer.statuses == {"amount": ["PRESENT", "PRESENT", "NOT_FOUND"]}
    later = asyncio.run(store.get_online_features_async(features="model", entity_rows=asked))
    assert later.to_dict() == answer.to_dict()

    write_payments(tmp_path / "payments", [ROWS[0], ROWS[1], ("a", "2024-01-02 09:00", 20.0)])
    now = at("2024-02-01")
    assert store.build("last_payment", days[1], days[2], now=now).corrections == 1
    assert store.build("last_payment", days[2], days[3], now=now).retractions == 1
    found = store.get_historical_features(entity_df=at_times(*SPINE), features="model").to_arrow()
    assert found["amount"].to_pylist() == [row[2] for row in SPINE]
    after = at_times(("a", "2024-02-01 00:30"), ("b", "2024-02-01 00:30"))
    found = store.get_historical_features(entity_df=after, features="model").to_arrow()
    assert found["amount"].to_pylist() == [20.0, 5.0]
    store.load("last_payment")
    answer = store.get_online_features(features="model", entity_rows=asked)
    assert answer.to_dict()["amount"] == [20.0, 5.0, None]

    write_payments(tmp_path / "payments", [*ROWS, ("a", "2024-01-04 10:00", 5000.0)])
    with pytest.raises(RefusedError, match=r"last_payment(.|\n)*amount(.|\n)*1 of 1 rows"):
        store.materialize("last_payment", days[3], days[4])
    assert store.get_online_features(features="model", entity_rows=asked).to_dict()["amount"] == [20.0, 5.0, None]


def test_online_equals_the_as_of_value_past_the_last_created_time(store: FeatureStore) -> None:
    store.apply()
    store.materialize("last_payment", "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00")
    keys = ["a", "b", "c"]
    end = "2024-01-04 00:30"
    offline = store.get_historical_features(entity_df=at_times(*((k, end) for k in keys)), features="model").to_arrow()
    rows = [{"customer": key} for key in keys]
    online = store.get_online_features(features="model", entity_rows=rows, now=at(end))
    assert online.to_dict()["amount"] == offline["amount"].to_pylist()


def test_serving_imports_neither_spark_nor_airflow_nor_the_views(store: FeatureStore) -> None:
    store.apply()
    online = store.settings.online
    overrides = {
        "registry": store.settings.registry,
        "views": "nowhere",
        "online.type": online.type,
        "online.port": online.port,
        "online.keyspace": online.keyspace,
    }
    code = f"""
        import sys
        from features.store import FeatureStore
        opened = FeatureStore.from_conf({str(CONF)!r}, env="local", overrides={overrides!r})
        opened.online.create(opened.registry.view("last_payment"))
        print(opened.get_online_features(features="model", entity_rows=[{{"customer": "a"}}]).statuses)
        vendors = ("pyspark", "airflow", "great_expectations", "pandas", "pyarrow", "nowhere")
        print([name for name in vendors if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["{'amount': ['NOT_FOUND']}", "[]"], done.stderr
