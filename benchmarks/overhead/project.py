"""The project of a team with one small view: conf, definitions, a few rows a day, and a Cassandra."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = "daily_total"
_ROWS = 5
_VIEWS = '''"""Totals of payments."""

from datetime import timedelta

from features import BatchSource, DType, Entity, Expect, Feature, FeatureView
from features.functions import DataFrame, F

CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING})
PAYMENTS = BatchSource(
    name="payments", path="payments", format="parquet", timestamp_field="paid_at", partition_field="day"
)


def daily_total(payments: DataFrame) -> DataFrame:
    """One row per customer and day, at the last payment."""
    groups = payments.groupBy("customer", F.to_date("paid_at"))
    return groups.agg(F.max("paid_at").alias("event_timestamp"), F.sum("amount").alias("total"))


DAILY_TOTAL = FeatureView(
    name="daily_total",
    entities=[CUSTOMER],
    sources=[PAYMENTS],
    transform=daily_total,
    features=[Feature("total", DType.FLOAT64, expect=[Expect.not_null(), Expect.between(0, 1e6)])],
    lookback=timedelta(days=2),
    schedule="@daily",
    delay=timedelta(minutes=30),
    owner="team@example.com",
    description="what a customer paid in a day",
)
'''
_BASE = """\
views: overhead_views
warehouse: warehouse
registry: sqlite:///registry.db
online:
  hosts: [127.0.0.1]
  port: {port}
  keyspace: overhead
  consistency: LOCAL_ONE
"""


def make_project(folder: Path, *, days: int, port: int) -> None:
    """Write it: `days` days of payments, and conf for a Cassandra on that port."""
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "base.yaml").write_text(_BASE.format(port=port), encoding="utf-8")
    (folder / "conf" / "local.yaml").write_text("{}\n", encoding="utf-8")
    package = folder / "overhead_views"
    package.mkdir()
    (package / "__init__.py").write_text(_VIEWS, encoding="utf-8")
    for day in range(days):
        begins = FIRST_DAY + timedelta(days=day)
        paid_at = [begins + timedelta(hours=hour) for hour in range(_ROWS)]
        table = pa.table(
            {
                "customer": [f"c{row}" for row in range(_ROWS)],
                "paid_at": pa.array(paid_at, pa.timestamp("us", tz="UTC")),
                "amount": [float(row + day) for row in range(_ROWS)],
            }
        )
        part = folder / "payments" / f"day={begins.date()}"
        part.mkdir(parents=True)
        pq.write_table(table, part / "part.parquet")


def interval(day: int) -> tuple[str, str]:
    """Start and end of a day's interval."""
    begins = FIRST_DAY + timedelta(days=day)
    return begins.isoformat(), (begins + timedelta(days=1)).isoformat()
