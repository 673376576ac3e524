"""A store of a test's own with payments of three customers, and what tests of training sets ask of it."""

import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds

from features.store import FeatureStore
from features.training.splits import TimeSplit
from tests.builders import UTC_MICROS, at, write_payments

if TYPE_CHECKING:
    from features.training.manifest import Manifest
    from features.training.training_set import TrainingSet

CONF = Path(__file__).parents[1] / "conf"
DAYS = [f"2024-01-0{day}T00:00+00:00" for day in range(1, 8)]
DEFINITIONS = """
    from datetime import timedelta
    import pyarrow as pa
    import pyarrow.compute as pc
    from features import BatchSource, DType, Entity, Feature, FeatureService, FeatureView, RequestSource, on_demand
    from features.functions import F
    CUSTOMER = Entity(name="customer", join_keys={{"customer": DType.STRING}})
    SHOP = Entity(name="shop", join_keys={{"shop": DType.INT32}})
    SOURCE = BatchSource(name="payments", path={path!r}, format="parquet", timestamp_field="paid_at")
    def last(payments):
        return payments.withColumnRenamed("paid_at", "event_timestamp").withColumn(
            "cents", F.when(F.col("amount").isNotNull(), F.array(F.round("amount"))))
    def every_shop(payments):
        return payments.select(F.lit(7).alias("shop"), F.col("paid_at").alias("event_timestamp"), "amount")
    def view(name, entity, transform, features, **more):
        return FeatureView(name=name, entities=[entity], sources=[SOURCE], transform=transform, features=features,
            schedule="@daily", delay=timedelta(minutes=30), description="payments", owner="t", **more)
    AMOUNT = Feature("amount", DType.FLOAT64)
    LAST = view("last", CUSTOMER, last, [AMOUNT, Feature("cents", DType.ARRAY(DType.FLOAT64))], lookback=None)
    RECENT = view("recent", CUSTOMER, last, [Feature("cents", DType.ARRAY(DType.FLOAT64)), AMOUNT],
        lookback=timedelta(hours=24))
    AT_SHOP = view("at_shop", SHOP, every_shop, [AMOUNT], lookback=None)
    MODEL = FeatureService(name="model", features=["last:amount"])
    ASKED = RequestSource(name="asked", schema={{"price": DType.FLOAT64}})
    @on_demand(inputs=["last:amount", ASKED], returns=[Feature("ratio", DType.FLOAT64)], mode="arrow")
    def compare(batch):
        ratio = pc.divide(batch["price"], batch["amount"])
        return pa.table({{"ratio": ratio}})
    @on_demand(inputs=["last:amount"], returns=[Feature("double", DType.FLOAT64)], mode="arrow")
    def doubled(batch):
        return pa.table({{"double": pc.multiply(batch["amount"], 2.0)}})
    NAMED = RequestSource(name="named", schema={{"customer": DType.STRING}})
    @on_demand(inputs=["last:amount", NAMED], returns=[Feature("initial", DType.STRING)], mode="arrow")
    def named(batch):
        return pa.table({{"initial": pc.utf8_upper(batch["customer"])}})
"""
PAYMENTS = [
    ("a", "2024-01-01 10:00", 1.0),
    ("b", "2024-01-01 23:00", None),
    ("a", "2024-01-02 09:00", 2.0),
    ("c", "2024-01-03 09:00", float("nan")),
]
SPLIT = TimeSplit(ends={"train": DAYS[2], "test": None}, gap=timedelta(days=1))


class Desk:
    """A store with two days built, and the files that it stands on."""

    def __init__(self, folder: Path, package: str, more: str = "") -> None:
        self.folder, self.payments = folder, folder / "payments"
        module = folder / package / "__init__.py"
        module.parent.mkdir()
        module.write_text(textwrap.dedent(DEFINITIONS + more).format(path=str(self.payments)))
        self.pay(PAYMENTS)
        self.store = FeatureStore.from_conf(CONF, env="local", overrides={
            "views": package, "warehouse": str(folder / "warehouse"), "registry": f"sqlite:///{folder / 'registry.db'}",
            "online.type": "memory",
        })  # fmt: skip
        self.store.apply()

    def pay(self, rows: list[tuple[str, str, float | None]]) -> None:
        write_payments(self.payments, rows)

    def ask(self, features: Any = ("last",), entity_df: Any = None, **more: Any) -> "TrainingSet":
        given = spine() if entity_df is None else entity_df
        return self.store.get_historical_features(entity_df=given, features=features, **more)

    def log(self, view: str = "last") -> Path:
        return self.folder / "warehouse" / view / "v1"


def open_desk(folder: Path, views: tuple[str, ...] = ("last", "recent", "at_shop"), more: str = "") -> Iterator[Desk]:
    """A desk with these views built; `more` goes behind its definitions, as a format string of its own."""
    package = f"views_{abs(hash(folder))}"
    sys.path.insert(0, str(folder))
    made = Desk(folder, package, more)
    for view in views:
        made.store.build(view, DAYS[0], DAYS[1])
        made.store.build(view, DAYS[1], DAYS[2])
    yield made
    made.store.close()
    sys.path.remove(str(folder))
    sys.modules.pop(package, None)


def spine(**columns: Any) -> pa.Table:
    times = pa.array([at("2024-01-06"), at("2024-01-02 12:00"), at("2024-01-06"), at("2024-01-03 06:00")], UTC_MICROS)
    return pa.table({"customer": ["a", "a", "zz", "b"], "event_timestamp": times, "label": [1, 0, 1, None], **columns})


def read(manifest: "Manifest") -> pa.Table:
    return ds.dataset(manifest.path, format="parquet", partitioning="hive").to_table()


def by_label(table: pa.Table, column: str) -> dict[tuple[str, int | None], Any]:
    return {(row["customer"], row["label"]): row[column] for row in table.to_pylist()}
