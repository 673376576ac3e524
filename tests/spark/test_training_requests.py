"""What a training set is asked of: as of when, without a spine, on demand; and what it tells before it is computed."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from features.engine.progress import progress
from features.errors import IntervalError, NotFoundError, StorageError, TransformError, UsageError
from features.training.splits import KeyHashSplit
from tests.builders import at
from tests.training_desk import DAYS, PAYMENTS, Desk, by_label, open_desk, read, spine

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def built(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Built once, and only read."""
    yield from open_desk(tmp_path_factory.mktemp("read"))


@pytest.fixture
def desk(spark: "SparkSession", tmp_path: Path) -> Iterator[Desk]:
    """A test's own."""
    yield from open_desk(tmp_path, views=("last",))


def test_as_of_takes_a_moment_a_version_or_versions_by_view(built: Desk) -> None:
    then = {("a", 1): 1.0, ("a", 0): 1.0, ("zz", 1): None, ("b", None): None}
    first = min(built.store.registry.commits(built.store.registry.view("last")), key=lambda commit: commit.position)
    for as_of in (0, {"last": 0}, {"last@1": 0}, first.committed_at, first.committed_at.isoformat()):
        asked = built.ask("model", as_of=as_of)
        assert by_label(asked.to_arrow(), "amount") == then, as_of
    saved = built.ask("model", as_of={"last": 0}).save("earlier")
    assert (saved.content["as_of"], saved.content["views"][0]["position"]) == ({"last": 0}, 1)
    assert built.store.rebuild("earlier").content_hash == saved.content_hash
    both = built.ask(["last:amount", "recent:amount"], as_of={"last": 0}, full_feature_names=True).to_arrow()
    assert by_label(both, "last__amount") == then


@pytest.mark.parametrize(
    ("features", "as_of", "error", "message"),
    [
        (["last:amount", "recent:cents"], 0, UsageError, "reads 2; give a mapping, such as"),
        ("model", 7, UsageError, "the log of last@1 has versions 0 to 1, not 7"),
        ("model", -1, UsageError, "versions 0 to 1, not -1"),
        ("model", {"lasst": 0}, NotFoundError, "did you mean 'last'"),
        ("model", {"last": "0"}, UsageError, "Delta versions by view"),
        ("model", {"last": 0, "last@1": 1}, UsageError, "names one view twice, by 'last' and 'last@1'"),
        ("model", True, UsageError, "got bool"),
        ("model", "2024-01-01", UsageError, "no time zone"),
    ],
)
def test_a_wrong_as_of_is_told(built: Desk, features: Any, as_of: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        built.ask(features, as_of=as_of)


@pytest.mark.parametrize("features", [None, 5, b"last", {"last", "recent"}])
def test_features_that_are_no_name_and_no_list_are_told(built: Desk, features: Any) -> None:
    with pytest.raises(UsageError, match="features must be a service's name or a list of references"):
        built.ask(features)


@pytest.mark.parametrize("name", [None, 5, ""])
def test_what_names_no_training_set_is_told(built: Desk, name: Any) -> None:
    for verb in (built.store.rebuild, built.store.hold, built.store.release, built.store.training_set):
        with pytest.raises(UsageError, match=r"which training set|no training set"):
            verb(name)


def test_a_log_that_was_deleted_is_told_and_gives_no_nulls(desk: Desk) -> None:
    for file in desk.log().glob("*.parquet"):
        file.unlink()
    with pytest.raises(StorageError, match=r"the keys of last@1 at .* cannot be read"):
        desk.store.get_latest_features(features="model", at=DAYS[5])
    shutil.rmtree(desk.log())
    for as_of in (None, DAYS[5], 0):
        with pytest.raises(
            StorageError, match=r"the log of last@1 at .* ends at position 0, but the registry knows commits up to 2"
        ):
            desk.ask("model", as_of=as_of)


def test_on_demand_features_are_computed_in_the_tasks_and_rebuilt(built: Desk) -> None:
    prices = pa.array([4.0, 3.0, 5.0, 6.0])
    asked = built.ask(["compare:ratio", "doubled"], spine(price=prices))
    wanted = {("a", 1): 2.0, ("a", 0): 3.0, ("zz", 1): None, ("b", None): None}
    table = asked.to_arrow()
    assert table.column_names == ["customer", "event_timestamp", "label", "price", "ratio", "double"]
    assert by_label(table, "ratio") == wanted
    saved = asked.save("computed")
    assert by_label(read(saved), "ratio") == wanted
    assert [one["view"] for one in saved.content["on_demand"]] == ["compare@1", "doubled@1"]
    assert built.store.rebuild("computed").content_hash == saved.content_hash
    report = asked.leakage_report()
    assert (report.differing, report.missing) == ({"ratio": 1, "double": 1}, {"ratio": 2, "double": 2})


def test_the_latest_values_are_those_of_keys_that_a_reader_could_see(built: Desk) -> None:
    def found(at_text: str, **more: Any) -> dict[str, Any]:
        asked = built.store.get_latest_features(features=["last:amount"], at=at_text, **more)
        return {row["customer"]: row["amount"] for row in asked.to_spark().collect()}

    assert found("2024-01-02T00:29:59+00:00") == {}
    assert found("2024-01-02T00:30:00+00:00") == {"a": 1.0, "b": None}
    assert found("2024-01-02T12:00:00+00:00", known_at="event") == {"a": 2.0, "b": None}
    assert found("2024-06-01T00:00:00+00:00", as_of=0) == {"a": 1.0, "b": None}
    asked = built.store.get_latest_features(features=["last:amount", "recent:cents"], at=DAYS[5])
    frame = asked.to_pandas().set_index("customer")
    assert frame["event_timestamp"].unique().tolist() == [at("2024-01-06")]
    assert frame.loc["a", "amount"] == 2.0
    assert frame.loc["a", "cents"] is None  # past its lookback: the key is there, the value is not
    saved = asked.save("scoring")
    assert saved.rows == 2
    assert built.store.rebuild("scoring").content_hash == saved.content_hash


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["last:amount", "at_shop:amount"], "last@1 is keyed by customer, at_shop@1 by shop"),
        (["compare"], "on-demand features read price of a request"),
    ],
)
def test_latest_values_of_no_common_key_are_refused(built: Desk, features: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built.store.get_latest_features(features=features, full_feature_names=True, at=DAYS[5])


def test_latest_on_demand_values_read_the_keys_which_are_there_without_a_request(built: Desk) -> None:
    asked = built.store.get_latest_features(features=["named", "last:amount"], at=DAYS[5])
    found = {row["customer"]: (row["initial"], row["amount"]) for row in asked.to_arrow().to_pylist()}
    assert found == {"a": ("A", 2.0), "b": ("B", None)}
    saved = asked.save("named")
    assert built.store.rebuild("named").content_hash == saved.content_hash


def test_rows_of_a_range_are_those_that_count_for_a_reader(desk: Desk) -> None:
    desk.pay([("a", "2024-01-01 10:00", 7.0), *PAYMENTS[2:]])
    desk.store.build("last", DAYS[0], DAYS[1], now=at("2024-01-04"))  # a correction of a, a retraction of b

    def found(**more: Any) -> list[tuple[str, Any, str]]:
        rows = desk.store.get_feature_rows(
            features="last:amount", start=DAYS[0], end="2024-01-02T09:00:00.000001Z", **more
        )
        return sorted(
            (r["customer"], r["amount"], r["created_timestamp"].isoformat()) for r in rows.to_arrow().to_pylist()
        )

    corrected, first, second = "2024-01-04T00:30:00+00:00", "2024-01-02T00:30:00+00:00", "2024-01-03T00:30:00+00:00"
    assert found() == [("a", 2.0, second), ("a", 7.0, corrected)]
    assert found(at=DAYS[2]) == [("a", 1.0, first), ("b", None, first)]
    assert found(at=DAYS[2], known_at="event") == [("a", 2.0, second), ("a", 7.0, corrected)]
    assert found(as_of=0) == [("a", 1.0, first), ("b", None, first)]
    rows = desk.store.get_feature_rows(features=["last:cents"], start=DAYS[0], end=DAYS[2])
    assert rows.to_pandas().columns.tolist() == ["customer", "event_timestamp", "created_timestamp", "cents"]
    assert "2024-01-01T00:00:00+00:00 <= event_timestamp" in rows.explain()
    assert rows.estimate().views[0].files >= 2
    saved = rows.save("history", splits=KeyHashSplit(shares={"train": 0.5, "test": 0.5}))
    desk.pay([("a", "2024-01-01 10:00", 9.0)])
    desk.store.build("last", DAYS[0], DAYS[2], now=at("2024-01-05"))
    assert desk.store.rebuild("history").content_hash == saved.content_hash


def test_rows_of_no_range_or_of_several_views_are_refused(built: Desk) -> None:
    with pytest.raises(IntervalError, match="must lie before"):
        built.store.get_feature_rows(features="last", start=DAYS[1], end=DAYS[1])
    with pytest.raises(UsageError, match="one feature view"):
        built.store.get_feature_rows(features=["last:amount", "recent:cents"], start=DAYS[0], end=DAYS[1])
    with pytest.raises(UsageError, match="one feature view"):
        built.store.get_feature_rows(features="doubled", start=DAYS[0], end=DAYS[1])


def test_the_leakage_report_tells_why_values_are_missing(built: Desk) -> None:
    report = built.ask(["last:amount", "recent:cents"]).leakage_report()
    amount, cents = report.features["amount"], report.features["cents"]
    # The second payment of a is known a day late; b's payment has no amount; nobody knows zz.
    assert (amount.differing, amount.not_found, amount.past_lookback, amount.null) == (1, 1, 0, 1)
    assert (cents.not_found, cents.past_lookback) == (1, 3)
    assert "amount: 1 (25.0%)" in str(report)


def test_an_estimate_counts_files_bytes_and_partitions_before_anything_is_read(built: Desk) -> None:
    asked = built.ask(
        ["last:amount", "at_shop:amount"], spine(shop=pa.array([7] * 4, pa.int32())), full_feature_names=True
    )
    estimate = asked.estimate()
    assert estimate.spine_rows == 4
    assert [(view.view, view.files) for view in estimate.views] == [("last@1", 2), ("at_shop@1", 2)]
    assert all(view.bytes > 0 and view.partitions > 0 for view in estimate.views)


def test_progress_counts_the_tasks_of_its_own_jobs(spark: "SparkSession", caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "features.engine.progress"), progress(spark, "counting", every_seconds=0.05):
        rows = spark.sparkContext.parallelize(range(4), 4).map(lambda n: __import__("time").sleep(0.2) or n).count()
    assert rows == 4
    told = [record for record in caplog.records if record.getMessage() == "counting"]
    assert told
    assert all(0 <= record.tasks_done <= record.tasks == 4 for record in told)  # type: ignore[attr-defined]


@pytest.mark.parametrize("group", [None, "of the caller"])
def test_progress_leaves_the_group_of_jobs_that_it_found(spark: "SparkSession", group: str | None) -> None:
    context = spark.sparkContext
    context.setLocalProperty("spark.jobGroup.id", group)  # type: ignore[arg-type]  # None: as if never set
    try:
        with progress(spark, "counting"):
            assert context.getLocalProperty("spark.jobGroup.id") not in (None, group)
        assert context.getLocalProperty("spark.jobGroup.id") == group
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]


def test_an_error_in_a_task_is_raised_as_what_it_is(built: Desk) -> None:
    with pytest.raises((UsageError, TransformError), match="price"):
        built.ask(["compare"], spine(price=pa.array(["1", "2", "3", "4"]))).to_arrow()
