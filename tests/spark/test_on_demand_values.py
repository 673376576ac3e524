"""One function, online and in training: the same values, to the bit, for one row and for a batch in Spark."""

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.core.applied import AppliedView
from features.core.arrow_types import arrow_type, to_arrow, to_python
from features.core.discovery import Definitions, discover
from features.core.request import CompiledRequest, compile_request
from features.errors import SpineError, StaleCodeError
from features.serving.client import OnlineClient
from features.store import FeatureStore
from features.stores.memory import MemoryRow, MemoryStore
from features.training.on_demand import Derivation, check_request_columns
from tests.builders import apply_view, at, write_payments
from tests.on_demand_values import every_row, same
from tests.on_demand_views import EVERY_DTYPE, Known, apply_on_demand, derived

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

CONF = Path(__file__).parents[2] / "conf"
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
# Only `features` is asked of workers' paths: the package lies in a folder that pytest alone knows of.
EVERY = """
from datetime import timedelta
from features import *
from features.functions import pa, pc
from tests.on_demand_views import EVERY_DTYPE, EVERY_SOURCE
ROW = Entity(name="row", join_keys={"n": DType.INT64})
FILES = BatchSource(name="files", path="files", format="parquet", timestamp_field="at")
STORED = FeatureView(name="stored", entities=[ROW], sources=[FILES], transform=lambda files: files, lookback=None,
    features=[Feature(f"{name}_held", dtype) for name, dtype in EVERY_DTYPE.items()], schedule="@daily",
    delay=timedelta(0), description="d", owner="o")
HELD = [f"stored:{name}_held" for name in EVERY_DTYPE]
@on_demand(inputs=[*HELD, EVERY_SOURCE], mode="arrow", returns=[
    *(Feature(f"{name}_a", dtype) for name, dtype in EVERY_DTYPE.items()),
    *(Feature(f"{name}_b", dtype) for name, dtype in EVERY_DTYPE.items())])
def both(batch):
    return batch.rename_columns([n.replace("_held", "_a").replace("_in", "_b") for n in batch.schema.names])
@on_demand(inputs=[*HELD, EVERY_SOURCE], returns=[
    Feature("ratio", DType.FLOAT64), Feature("root", DType.FLOAT64), Feature("power", DType.FLOAT32),
    Feature("share", DType.FLOAT64), Feature("hour", DType.INT64), Feature("is_night", DType.BOOL),
    Feature("text", DType.STRING), Feature("length", DType.INT32)])
def worked(batch):
    hour = batch["timestamp_held"].dt.hour
    return batch.assign(
        ratio=batch["float64_held"] / batch["float64_in"],
        root=(batch["float64_in"] ** 2 + 1.0) ** 0.5,
        power=batch["float32_held"] * batch["float32_in"],
        share=batch["int32_in"].astype("double[pyarrow]") / batch["int32_held"].astype("double[pyarrow]"),
        hour=hour, is_night=(hour >= 22) | (hour < 6),
        text=batch["string_held"].str.upper() + "|" + batch["string_in"],
        length=batch["bytes_in"].map(len, na_action="ignore").astype("int32[pyarrow]"))
"""
# More than some twenty rows are more than Hypothesis draws at once: it would give up, and try nothing but nulls.
spark_settings = settings(
    max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a views package with a name of its own, which it returns."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def to(text: str) -> str:
        names.append(f"views_{abs(hash(tmp_path))}_{len(names)}")
        (tmp_path / names[-1]).mkdir()
        (tmp_path / names[-1] / "__init__.py").write_text(textwrap.dedent(text))
        return names[-1]

    yield to
    for name in names:
        sys.modules.pop(name, None)


def ask_all(definitions: Definitions) -> tuple[AppliedView, Known, CompiledRequest]:
    """All on-demand features of a package, as a registry would resolve them."""
    (view,) = (apply_view(view) for view in definitions.views.values())
    views = [apply_on_demand(code, view) for code in definitions.on_demand.values()]
    known = Known({"all": [item for applied in views for item in derived(applied)]})
    return view, known, compile_request(known.resolve("all"))


def online(view: AppliedView, known: Known, definitions: Definitions, rows: list[Any]) -> Callable[..., list[Any]]:
    """What an online client answers for rows by their numbers."""
    store = MemoryStore()
    store.create(view)
    held = [
        MemoryRow(key=(n,), event_micros=0, created_micros=0, values={f"{k}_held": v for k, v in row.items()})
        for n, (row, _) in enumerate(rows)
    ]
    store.apply_rows(view.online_table, held, position=1)
    client = OnlineClient(known, store, definitions=lambda: definitions)

    def answer(*numbers: int) -> list[Mapping[str, Any]]:
        asked = [{"n": n, **{f"{k}_in": v for k, v in rows[n][1].items()}} for n in numbers]
        found = client.get(features="all", entity_rows=asked).features
        return [{name: values[place] for name, values in found.items()} for place in range(len(numbers))]

    return answer


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@spark_settings
@given(rows=st.lists(st.tuples(every_row(), every_row()), min_size=20, max_size=20))
def test_a_value_is_the_same_alone_online_and_in_a_batch_in_spark(
    spark: "SparkSession", write: Callable[[str], str], zone: str, rows: list[Any]
) -> None:
    package = write(EVERY)
    definitions = discover(package)
    view, known, compiled = ask_all(definitions)
    columns = {"n": pa.array(range(len(rows)), pa.int64()), "kept": pa.array(["x"] * len(rows))}
    (selection,) = compiled.selections
    for (name, dtype), hidden in zip(EVERY_DTYPE.items(), selection.columns, strict=True):
        columns[hidden] = to_arrow([held[name] for held, _ in rows], dtype)
        columns[f"{name}_in"] = to_arrow([given[name] for _, given in rows], dtype)
    spark.conf.set("spark.sql.session.timeZone", zone)
    try:
        frame = spark.createDataFrame(pa.table(columns)).repartition(3)
        check_request_columns(dict(frame.dtypes), compiled)
        derivation = Derivation.of(compiled, definitions, package=package)
        found = frame.mapInArrow(derivation.batches, derivation.schema(frame.schema)).toArrow().sort_by("n")
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")

    assert found.column_names == ["n", "kept", *(f"{name}_in" for name in EVERY_DTYPE), *compiled.columns]
    lists = {
        name: to_python(found[name].cast(arrow_type(dtype)).combine_chunks(), dtype)
        for name, dtype in compiled.types.items()
    }
    trained = [{name: values[n] for name, values in lists.items()} for n in range(len(rows))]
    answer = online(view, known, definitions, rows)
    assert all(same(answer(n)[0], trained[n]) for n in range(len(rows)))
    assert all(map(same, answer(*range(len(rows))), trained))


FRAUD = """
from datetime import timedelta
from features import *
CUSTOMER = Entity(name="customer", join_keys={{"customer": DType.STRING}})
PAYMENTS = BatchSource(name="payments", path={path!r}, format="parquet", timestamp_field="paid_at")
LAST = FeatureView(name="last", entities=[CUSTOMER], sources=[PAYMENTS], lookback=None, schedule="@daily",
    transform=lambda payments: payments.withColumnRenamed("paid_at", "event_timestamp"),
    features=[Feature("amount", DType.FLOAT64)], delay=timedelta(minutes=30), description="the last payment", owner="t")
PAYMENT = RequestSource(name="payment", schema={{"price": DType.FLOAT64, "attempt": DType.INT64}})
@on_demand(inputs=["last:amount", PAYMENT], returns=[Feature("ratio", DType.FLOAT64), Feature("is_retry", DType.BOOL)],
           golden=[GoldenRow({{"amount": 2.0, "price": 3.0, "attempt": 1}}, {{"ratio": 1.5, "is_retry": False}})])
def checks(batch):
    if (batch["price"] < 0).any():
        raise ValueError("negative price")
    return batch.assign(ratio=batch["price"] / batch["amount"], is_retry=batch["attempt"] > 1)
FRAUD = FeatureService(name="fraud", features=["checks:is_retry", "last:amount", "checks:ratio"])
"""
DAY = ("2024-01-01T00:00+00:00", "2024-01-02T00:00+00:00")


@pytest.fixture
def store(spark: "SparkSession", write: Callable[[str], str], tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with one built view, and the service `fraud`."""
    write_payments(tmp_path / "payments", [("a", "2024-01-01 10:00", 2.0), ("b", "2024-01-01 11:00", None)])
    package = write(FRAUD.format(path=str(tmp_path / "payments")))
    overrides = {
        "views": package, "warehouse": str(tmp_path / "warehouse"), "registry": f"sqlite:///{tmp_path / 'registry.db'}",
        "online.type": "memory",
    }  # fmt: skip
    with FeatureStore.from_conf(CONF, env="local", overrides=overrides) as opened:
        opened.apply()
        opened.materialize("last", *DAY)
        yield opened


def spine(*rows: tuple[Any, ...], attempt: str = "int64") -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["customer", "event_timestamp", "price", "attempt"])
    frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], utc=True)
    return frame.astype({"attempt": attempt})


def test_a_training_set_holds_what_serving_answers(spark: "SparkSession", store: FeatureStore) -> None:
    rows = spine(("a", at("2024-01-03"), 3.0, 1), ("nobody", at("2024-01-03"), 3.0, 2), ("a", at("2023-01-01"), 1.0, 3))
    rows.index = [7, 5, 6]

    found = store.get_historical_features(entity_df=rows, features="fraud").to_pandas()

    assert list(found.columns) == [*rows.columns, "is_retry", "amount", "ratio"]
    assert list(found.index) == [7, 5, 6]
    pd.testing.assert_frame_equal(found[list(rows.columns)], rows)
    answers = found[["is_retry", "amount", "ratio"]].astype(object).where(lambda frame: frame.notna(), None)
    assert answers.to_numpy().tolist() == [[False, 2.0, 1.5], [True, None, None], [True, None, None]]
    served = store.get_online_features(
        features="fraud",
        entity_rows=[
            {"customer": "a", "price": 3.0, "attempt": 1},
            {"customer": "nobody", "price": 3.0, "attempt": 2},
        ],
    )
    assert [served.features["ratio"], served.features["is_retry"]] == [[1.5, None], [False, True]]
    # Columns that no function reads do not travel, whatever they hold.
    beside = store.get_historical_features(entity_df=rows.assign(mine=[object()] * 3), features="fraud").to_pandas()
    assert beside["ratio"].tolist() == found["ratio"].tolist()
    of_spark = store.get_historical_features(
        entity_df=spark.createDataFrame(rows), features=["checks:ratio"]
    ).to_spark()
    assert of_spark.columns == [*rows.columns, "ratio"]
    assert sorted(row["ratio"] for row in of_spark.collect() if row["ratio"] is not None) == [1.5]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.drop(columns="price"), "no column 'price'.*checks reads it of the request, as float64"),
        (lambda rows: rows.astype({"attempt": "float64"}), "request column 'attempt' is double, but must be bigint"),
        (lambda rows: rows.assign(ratio=1.0), "holds a column 'ratio'"),
    ],
)
def test_a_spine_without_what_functions_read_is_told(store: FeatureStore, change: Any, told: str) -> None:
    with pytest.raises(SpineError, match=told):
        store.get_historical_features(entity_df=change(spine(("a", at("2024-01-03"), 3.0, 1))), features="fraud")


def test_code_that_was_not_applied_extracts_nothing(store: FeatureStore) -> None:
    compiled = compile_request(store.registry.resolve("fraud"))
    package = store.settings.views
    module = Path(sys.modules[package].__file__ or "")
    module.write_text(module.read_text().replace("> 1)", "> 2)"))
    sys.modules.pop(package)

    with pytest.raises(StaleCodeError, match=r"the code of 'checks' here .* is not that of checks@1"):
        Derivation.of(compiled, store.definitions, package=package)
