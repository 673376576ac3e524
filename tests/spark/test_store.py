"""FeatureStore on a views package of a test's own: spines of every kind, training sets, backfill, versions."""

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from features.errors import NotFoundError, SpineError, StaleCodeError, StorageError, UsageError
from features.store import FeatureStore
from tests.builders import UTC_MICROS, at, write_payments

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAY1, DAY2, DAY3, DAY4 = (
    "2024-01-01T00:00+00:00",
    "2024-01-02T00:00+00:00",
    "2024-01-03T00:00+00:00",
    "2024-01-04T00:00+00:00",
)
PAYMENTS = [("a", "2024-01-01 10:00", 1.0), ("b", "2024-01-01 23:00", None), ("a", "2024-01-02 09:00", 2.0)]
CONF = Path(__file__).parents[2] / "conf"
DEFINITIONS = """
    from datetime import timedelta
    from features import BatchSource, DType, Entity, Feature, FeatureService, FeatureView
    CUSTOMER = Entity(name="customer", join_keys={{"customer": DType.STRING}})
    SOURCE = BatchSource(name="payments", path={path!r}, format="parquet", timestamp_field="paid_at",
        history=timedelta(days={history}))
    def passes_on(payments):
        return payments.withColumnRenamed("paid_at", "event_timestamp"){extra}
    LAST = FeatureView(name="last", entities=[CUSTOMER], sources=[SOURCE], transform=passes_on, lookback=None,
        schedule="@daily", features=[Feature("amount", DType.FLOAT64)], delay=timedelta(minutes=30),
        description="the last payment", owner="t")
    MODEL = FeatureService(name="model", features=["last"])
"""


class Opened:
    """A store, and the files that it stands on."""

    def __init__(self, folder: Path, package: str) -> None:
        self.payments = folder / "payments"
        self.module = folder / package / "__init__.py"
        self.module.parent.mkdir()
        write_payments(self.payments, PAYMENTS)
        self.define()
        self.store = FeatureStore.from_conf(CONF, env="local", overrides={
            "views": package, "warehouse": str(folder / "warehouse"), "registry": f"sqlite:///{folder / 'registry.db'}",
            "online.type": "memory",
        })  # fmt: skip

    def define(self, extra: str = "", history: int = 0) -> None:
        """Write the views package."""
        text = DEFINITIONS.format(path=str(self.payments), extra=extra, history=history)
        self.module.write_text(textwrap.dedent(text))

    def redefine(self, **changes: Any) -> None:
        """Change the views package, and forget what was imported: another process would find it so."""
        self.define(**changes)
        sys.modules.pop(self.store.settings.views)
        importlib.invalidate_caches()


@pytest.fixture
def opened(spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Opened(tmp_path, f"views_{abs(hash(tmp_path))}")
    made.store.apply()
    yield made
    made.store.close()


def spine(**columns: Any) -> pa.Table:
    """Two rows of customer a and one of an unknown customer, out of order."""
    times = pa.array([at("2024-01-04"), at("2024-01-02 12:00"), at("2024-01-04")], UTC_MICROS)
    return pa.table({"customer": ["a", "a", "zz"], "event_timestamp": times, "label": [1, 0, 1], **columns})


def test_a_pandas_spine_keeps_its_order_index_and_dtypes(opened: Opened) -> None:
    opened.store.build("last", DAY1, DAY3)
    frame = spine().to_pandas().set_index(pd.Index([30, 10, 20], name="mine"))
    frame["kind"] = pd.Categorical(["x", "y", "x"])
    found = opened.store.get_historical_features(entity_df=frame, features="model").to_pandas()
    pd.testing.assert_frame_equal(found[list(frame.columns)], frame)
    assert found["amount"].dtype == pd.Float64Dtype()
    assert found["amount"].tolist() == [2.0, 1.0, pd.NA]


def test_a_spine_may_carry_what_neither_arrow_nor_spark_takes(opened: Opened) -> None:
    opened.store.build("last", DAY1, DAY3)
    frame = spine().to_pandas().assign(mine=[object(), {1: "x"}, 2j])
    found = opened.store.get_historical_features(entity_df=frame, features="model").to_pandas()
    assert found["mine"].tolist() == frame["mine"].tolist()
    with pytest.raises(SpineError, match=r"mine.*to_pandas\(\) leaves such columns alone"):
        opened.store.get_historical_features(entity_df=frame, features="model").to_arrow()
    batch = spine().to_batches()[0]
    answer = opened.store.get_historical_features(entity_df=batch, features="model").to_arrow()
    assert answer["amount"].to_pylist() == [2.0, 1.0, None]


def test_spark_and_path_spines_keep_their_columns_and_rows(opened: Opened, tmp_path: Path) -> None:
    opened.store.build("last", DAY1, DAY3)
    pq.write_table(spine(), tmp_path / "spine.parquet")
    frame = opened.store.spark.read.parquet(str(tmp_path / "spine.parquet"))
    for given in (frame, str(tmp_path / "spine.parquet")):
        found = opened.store.get_historical_features(entity_df=given, features=["last:amount"]).to_spark()
        assert found.columns == ["customer", "event_timestamp", "label", "amount"]
        assert sorted((r["label"], r["amount"]) for r in found.collect() if r["customer"] == "a") == [
            (0, 1.0),
            (1, 2.0),
        ]


def test_nanoseconds_of_the_hour_that_a_clock_shows_twice_are_instants(opened: Opened) -> None:
    opened.store.build("last", DAY1, DAY3)
    twice = pd.to_datetime(["2024-11-03 05:30", "2024-11-03 06:30", "2024-01-02 12:00"], utc=True)
    times = twice.as_unit("ns").tz_convert("America/New_York")
    frame = pd.DataFrame({"customer": ["a"] * 3, "event_timestamp": times, "seen_at": times})
    found = opened.store.get_historical_features(entity_df=frame, features="model")
    assert found.to_pandas()["amount"].tolist() == [2.0, 2.0, 1.0]
    assert sorted(row["seen_at"].timestamp() for row in found.to_spark().collect()) == sorted(
        moment.timestamp() for moment in twice
    )


def test_a_delta_spine_named_by_uri_has_the_rows_of_its_last_version(opened: Opened, tmp_path: Path) -> None:
    opened.store.build("last", DAY1, DAY3)
    write_deltalake(str(tmp_path / "spine"), spine())
    DeltaTable(str(tmp_path / "spine")).delete("label = 0")
    for path in (str(tmp_path / "spine"), f"file://{tmp_path / 'spine'}"):
        found = opened.store.get_historical_features(entity_df=path, features="model").to_arrow()
        assert found["label"].to_pylist() == [1, 1]


def test_an_empty_spine_gives_an_empty_set_with_all_columns(opened: Opened) -> None:
    opened.store.build("last", DAY1, DAY3)
    untyped = pd.DataFrame({"customer": [], "event_timestamp": pd.to_datetime([], utc=True)})
    for empty in (spine().slice(0, 0), spine().to_pandas().iloc[:0], untyped):
        found = opened.store.get_historical_features(entity_df=empty, features="model").to_arrow()
        assert (found.num_rows, found.column_names[-1]) == (0, "amount")


def test_a_view_without_data_gives_nulls(opened: Opened) -> None:
    found = opened.store.get_historical_features(entity_df=spine(), features="model").to_arrow()
    assert found["amount"].to_pylist() == [None, None, None]


def with_times(times: Any) -> Any:
    """A change of the spine's times."""
    return lambda table: table.set_column(1, "event_timestamp", times)


def partly_naive(table: pa.Table) -> pd.DataFrame:
    """The spine in pandas, one of its times without a zone."""
    frame = table.to_pandas()
    times = [moment.to_pydatetime() for moment in frame["event_timestamp"]]
    frame["event_timestamp"] = pd.Series([times[0].replace(tzinfo=None), *times[1:]], dtype=object)
    return frame


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda t: t.drop(["customer"]), r"no column 'customer'.*needs the join keys customer"),
        (lambda t: t.drop(["event_timestamp"]), r"no column 'event_timestamp'"),
        (with_times(pa.array([at("2024-01-04").replace(tzinfo=None)] * 3)), r"'event_timestamp' is naive"),
        (with_times(pa.array([None] * 3, UTC_MICROS)), r"event_timestamp is null"),
        (with_times(pa.array(["2024", "x", "y"])), r"event_timestamp is string"),
        (
            lambda t: t.set_column(0, "customer", pa.array([1, 2, 3])),
            r"'customer' is bigint, but the views have string",
        ),
        (lambda t: t.set_column(0, "customer", pa.array([1, 2, 3], pa.uint32())), r"a type that Spark has not.*uint32"),
        (lambda t: t.append_column("amount", pa.array([1, 2, 3])), r"holds a column 'amount'"),
        (lambda t: t.append_column("label", pa.array([1, 2, 3])), r"two columns named 'label'"),
        (lambda t: t.append_column("Label", pa.array([1, 2, 3])), r"'Label' and 'label', which are one to Spark"),
        (
            lambda t: t.append_column("AMOUNT", pa.array([1, 2, 3])),
            r"holds a column 'AMOUNT', one to Spark with the feature",
        ),
        (lambda t: t.append_column("a`b", pa.array([1, 2, 3])), r"'a`b' holds a backtick"),
        (with_times(pa.array([1 << 60] * 3, pa.timestamp("s", tz="UTC"))), r"a time beyond all calendars"),
        (partly_naive, r"1 rows whose event_timestamp is naive"),
        (lambda t: t.to_pandas().assign(label=partly_naive(t)["event_timestamp"]), r"1 rows whose label is naive"),
        (lambda t: pd.concat([t.to_pandas(), t.to_pandas()[["label"]]], axis=1), r"two columns named 'label'; rename"),
        (lambda t: t.to_pandas().assign(customer=["\ud800", "a", "b"]), r"'customer': .*surrogates"),
        (lambda t: t.to_pandas().assign(customer=[1j, 2j, 3j]), r"'customer': "),
        (lambda t: t.to_pylist(), r"must be a Spark, pandas or Arrow frame or a path, got list"),
        (lambda t: "nowhere.parquet", r"nothing at '.*nowhere.parquet'"),
    ],
)
def test_a_wrong_spine_is_told(opened: Opened, changed: Any, message: str) -> None:
    with pytest.raises(SpineError, match=message):
        opened.store.get_historical_features(entity_df=changed(spine()), features="model").to_arrow()


def test_wrong_references_and_choices_are_told(opened: Opened) -> None:
    for features in ("modle", ["lst"], ["last:amout"], ["last@9:amount"], []):
        with pytest.raises(UsageError):
            opened.store.get_historical_features(entity_df=spine(), features=features)
    with pytest.raises(UsageError, match="known_at"):
        opened.store.get_historical_features(entity_df=spine(), features="model", known_at="now")
    with pytest.raises(NotFoundError, match="did you mean 'last'"):
        opened.store.build("lasst", DAY1, DAY2)


def test_code_that_was_not_applied_is_not_run(opened: Opened) -> None:
    opened.redefine(extra=".where('amount > 0')")
    with pytest.raises(StaleCodeError, match=r"the code of 'last' .* is not that of last@1 .*features apply"):
        opened.store.build("last", DAY1, DAY2)


def test_as_of_reads_the_store_as_it_was_committed(opened: Opened) -> None:
    opened.store.build("last", DAY1, DAY2)
    first = opened.store.registry.commits(opened.store.registry.view("last"))[-1].committed_at
    opened.store.build("last", DAY2, DAY3)
    then = opened.store.get_historical_features(entity_df=spine(), features="model", as_of=first).to_arrow()
    now = opened.store.get_historical_features(entity_df=spine(), features="model").to_arrow()
    assert (then["amount"].to_pylist(), now["amount"].to_pylist()) == ([1.0, 1.0, None], [2.0, 1.0, None])


def test_backfill_builds_what_is_missing_or_stale_and_nothing_else(opened: Opened) -> None:
    opened.redefine(history=1)
    opened.store.apply()
    opened.store.build("last", DAY2, DAY3)
    results = opened.store.backfill("last", DAY1, DAY4)
    assert [r.status for r in results] == ["built", "empty"]
    assert opened.store.backfill("last", DAY1, DAY4) == ()
    write_payments(opened.payments, [("a", "2024-01-01 10:00", 7.0), *PAYMENTS[1:]])
    opened.store.build("last", DAY1, DAY2)  # makes the next day stale
    assert [r.status for r in opened.store.backfill("last", DAY1, DAY4)] == ["unchanged"]


def test_reprocess_takes_late_changes_in_as_known_from_this_run_on(opened: Opened) -> None:
    opened.store.build("last", DAY1, DAY2)
    write_payments(opened.payments, [("a", "2024-01-01 10:00", 7.0), *PAYMENTS[1:]])
    result = opened.store.materialize("last", DAY2, DAY3, reprocess=5)
    assert [(r.corrections, r.rows) for r in result.reprocessed] == [(1, 1)]
    assert (result.build.rows, result.load.rows) == (1, 2)
    times = pa.array([at("2024-01-03 00:29:59"), at("2024-01-03 00:30")], UTC_MICROS)
    asked = pa.table({"customer": ["a", "a"], "event_timestamp": times})
    found = opened.store.get_historical_features(entity_df=asked, features="model").to_arrow()
    assert found["amount"].to_pylist() == [1.0, 2.0]


def test_a_run_that_is_cleared_and_run_again_learns_of_changes_when_it_runs(opened: Opened) -> None:
    opened.store.materialize("last", DAY1, DAY2)
    opened.store.materialize("last", DAY2, DAY3)
    write_payments(opened.payments, [("a", "2024-01-01 10:00", 7.0), *PAYMENTS[1:]])
    assert opened.store.materialize("last", DAY2, DAY3, reprocess=1).reprocessed[0].corrections == 1
    long_after = pa.table({"customer": ["a"], "event_timestamp": pa.array([at("2024-01-02 06:00")], UTC_MICROS)})
    found = opened.store.get_historical_features(entity_df=long_after, features="model").to_arrow()
    assert found["amount"].to_pylist() == [1.0]
    view = opened.store.registry.view("last")
    rows = [r for r in opened.store.registry.runs(view) if r.kind == "build"]
    assert rows[0].now.year > 2024


def test_a_saved_set_rebuilds_after_a_correction_and_says_when_it_cannot(opened: Opened) -> None:
    opened.store.build("last", DAY1, DAY3)
    saved = opened.store.get_historical_features(entity_df=spine(), features="model").save("set")
    write_payments(opened.payments, [("a", "2024-01-01 10:00", 7.0), *PAYMENTS[1:]])
    opened.store.build("last", DAY1, DAY2, now=at("2024-01-01"))
    rebuilt = opened.store.rebuild("set")
    assert rebuilt.content_hash == saved.content_hash
    assert sorted(rebuilt.to_arrow()["amount"].to_pylist(), key=str) == [1.0, 2.0, None]
    again = opened.store.get_historical_features(entity_df=spine(), features="model").save("set", hold=False)
    assert (saved.number, again.number, again.held) == (1, 2, False)
    log = Path(opened.store.settings.warehouse) / "last" / "v1"
    log.rename(log.with_name("gone"))
    with pytest.raises(StorageError, match=r"set@2 needs the log of last@1 up to position 2"):
        opened.store.rebuild("set")


def test_the_leakage_report_counts_values_that_were_not_known_yet(opened: Opened) -> None:
    opened.store.build("last", DAY1, DAY3)
    report = opened.store.get_historical_features(entity_df=spine(), features="model").leakage_report()
    # At noon on the second day the payment of 09:00 has happened, and is known on the third.
    assert (report.rows, report.differing, report.missing) == (3, {"amount": 1}, {"amount": 1})


def test_explain_says_what_is_read_and_how(opened: Opened) -> None:
    opened.store.build("last", DAY1, DAY3)
    text = opened.store.get_historical_features(entity_df=spine(), features="model").explain()
    assert "last@1: amount" in text
    assert "Delta version 0, log position 1" in text
