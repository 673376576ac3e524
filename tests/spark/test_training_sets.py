"""Training sets as objects: saved, split and rebuilt, whatever happens to their logs; held, listed, refused."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from features.engine.as_of import plan_join
from features.engine.as_of.requests import AsOf
from features.errors import NotFoundError, StorageError, UsageError
from features.store import FeatureStore
from features.training.content_hash import table_hash
from features.training.splits import KeyHashSplit
from tests.builders import at
from tests.training_desk import DAYS, SPLIT, Desk, by_label, open_desk, read, spine

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.training.manifest import Manifest

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def built(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Built once, and only read."""
    yield from open_desk(tmp_path_factory.mktemp("read"))


@pytest.fixture
def desk(spark: "SparkSession", tmp_path: Path) -> Iterator[Desk]:
    """A test's own."""
    yield from open_desk(tmp_path, views=("last",))


def test_a_manifest_says_all_that_the_set_is_made_of(desk: Desk) -> None:
    saved = desk.ask("model").save("payments")
    content = saved.content
    assert (saved.reference, saved.rows, saved.held, content["service"]) == ("payments@1", 4, True, "model@1")
    assert content["references"] == ["last@1:amount"]
    (view,) = content["views"]
    assert (view["view"], view["position"], view["delta_version"]) == ("last@1", 2, 1)
    assert content["spine_columns"] == ["customer", "event_timestamp", "label"]
    assert content["schema"][-1] == ["amount", "float64"]
    assert content["statistics"]["amount"] == {"nulls": 2, "nans": 0, "min": 1.0, "max": 2.0, "mean": 1.5}
    assert content["statistics"]["label"]["nulls"] == 1
    assert {"python", "pyspark", "pyarrow", "numpy"} <= set(content["versions"])
    assert content["code"]["package"] == desk.store.settings.views
    assert sum(file["rows"] for file in content["files"]) == sum(f["rows"] for f in content["spine_files"]) == 4
    table = read(saved)
    assert table_hash(table) == saved.content_hash
    assert by_label(table, "amount") == {("a", 1): 2.0, ("a", 0): 1.0, ("zz", 1): None, ("b", None): None}
    assert pq.read_table(saved.spine_path).sort_by("customer").equals(spine().sort_by("customer"))
    json.dumps(dict(content), allow_nan=False)


def test_a_set_rebuilds_after_corrections_compaction_and_vacuum(desk: Desk) -> None:
    saved = desk.ask(["last"]).save("kept")
    values = by_label(read(saved), "amount")
    desk.pay([("a", "2024-01-01 10:00", 70.0), ("b", "2024-01-01 23:00", 8.0), ("zz", "2024-01-02 01:00", 9.0)])
    desk.store.build("last", DAYS[0], DAYS[1], now=at("2023-12-01"))  # corrections
    desk.store.build("last", DAYS[1], DAYS[2], now=at("2023-12-01"))  # a retraction, and a row of another key
    desk.store.build("last", DAYS[2], DAYS[3])
    table = DeltaTable(desk.log())
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    rebuilt = desk.store.rebuild("kept")
    assert rebuilt.content_hash == saved.content_hash
    assert by_label(rebuilt.to_arrow(), "amount") == values
    assert by_label(desk.ask(["last"]).to_arrow(), "amount") != values
    again = rebuilt.save("kept")
    assert (again.number, again.content_hash) == (2, saved.content_hash)


@pytest.mark.parametrize("format", ["parquet", "delta"])
def test_parts_are_folders_that_every_reader_takes_for_a_column(built: Desk, format: str) -> None:
    saved = built.ask(["last:amount"]).save(f"split_{format}", format=format, splits=SPLIT)
    assert dict(saved.parts) == {"train": 1, "test": 2}
    frame = built.store.spark.read.format(format).load(saved.path)
    found = {(row["customer"], row["label"]): row["split"] for row in frame.collect()}
    assert found == {("a", 0): "train", ("b", None): None, ("a", 1): "test", ("zz", 1): "test"}
    (train,) = saved.files("train")
    assert pq.ParquetFile(train).read()["amount"].to_pylist() == [1.0]
    assert table_hash(read(saved).drop_columns("split")) == saved.content_hash
    assert saved.content["splits"]["gap_microseconds"] == 86_400_000_000
    if format == "delta":
        assert DeltaTable(saved.path).to_pyarrow_table().num_rows == 4


def test_a_key_split_names_its_keys_in_the_manifest(built: Desk) -> None:
    split = KeyHashSplit(shares={"train": 0.5, "test": 0.5}, salt="s")
    odd = spine(**{"odd name.x": pa.array([1, 2, 3, 4])})
    saved = built.ask(["last:amount"], odd).save("by_key", splits=split)
    assert read(saved).column_names == [*odd.column_names, "amount", "split"]
    with pytest.raises(UsageError, match=r"cannot have a column named 'odd name.x'"):
        built.ask(["last:amount"], odd).save("by_key", format="delta")
    assert saved.content["splits"]["keys"] == ["customer"]
    parts = read(saved).group_by(["customer", "split"]).aggregate([]).to_pylist()
    assert len(parts) == 3


def test_the_engines_batches_and_partitions_do_not_change_the_hash(built: Desk) -> None:
    asked = built.ask(["last", "recent:amount"], full_feature_names=True)
    wanted = table_hash(asked.to_spark().toArrow())
    frame = built.store.spark.createDataFrame(spine()).repartition(3)
    assert table_hash(built.ask(["last", "recent:amount"], frame, full_feature_names=True).to_arrow()) == wanted
    own = asked.to_spark().select(*spine().column_names)
    by_spark = plan_join(asked.spine, [AsOf(pin=pin) for pin in asked.pins], frame=own, engine="spark").to_frame()
    assert table_hash(by_spark.toArrow()) == wanted


def test_an_empty_spine_makes_a_set_that_can_be_read_and_rebuilt(built: Desk) -> None:
    saved = built.ask(["last"], spine().slice(0, 0)).save("none", format="delta", splits=SPLIT)
    assert (saved.rows, dict(saved.parts)) == (0, {"train": 0, "test": 0})
    assert built.store.spark.read.format("delta").load(saved.path).columns[:4] == [*spine().column_names, "amount"]
    assert built.store.rebuild("none").content_hash == saved.content_hash


def test_a_view_without_data_and_keys_that_nobody_has_are_saved_as_nulls(desk: Desk) -> None:
    saved = desk.ask(["recent:amount"]).save("early")
    assert read(saved)["amount"].null_count == 4
    desk.store.build("recent", DAYS[0], DAYS[1])
    assert desk.store.rebuild(saved).content_hash == saved.content_hash
    nobody = spine().set_column(0, "customer", pa.array(["x", "y", None, "z"]))
    assert read(desk.ask(["last:amount"], nobody).save("nobody"))["amount"].null_count == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "No Name"}, "lower case"),
        ({"name": "x", "format": "csv"}, "format must be one of parquet, delta"),
        ({"name": "x", "splits": KeyHashSplit(shares={"train": 1}, keys=("user",))}, "no column 'user'"),
    ],
)
def test_a_wrong_save_is_told_and_writes_nothing(built: Desk, given: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built.ask("model").save(**given)
    assert not (built.folder / "warehouse" / "training_sets" / "x").exists()


def test_a_save_that_fails_leaves_no_files_and_no_manifest(built: Desk) -> None:
    asked = built.ask(["compare"], spine(price=pa.array([1.0, 2.0, 3.0, 4.0])))
    broken = spine(price=pa.array([1.0, 2.0, 3.0, 4.0])).append_column("bad", pa.array([1] * 4, pa.duration("us")))
    with pytest.raises(UsageError, match=r"column 'bad'"):
        built.ask(["compare"], broken).save("fails")
    folder = built.folder / "warehouse" / "training_sets" / "stuck"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way")
    with pytest.raises(StorageError, match=r"writing the set to .*stuck"):
        asked.save("stuck")
    with pytest.raises(NotFoundError):
        built.store.training_set("stuck")
    folder.unlink()
    assert asked.save("stuck").number == 1


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda desk, saved: desk.log().rename(desk.log().with_name("gone")),
            "needs the log of last@1 up to position 2",
        ),
        (lambda desk, saved: spoil(desk.log().glob("*.parquet")), r"last@1 at .* cannot be read"),
        (lambda desk, saved: spoil(Path(saved.spine_path).glob("*.parquet")), r"spine"),
        (lambda desk, saved: remove(Path(saved.spine_path).glob("*.parquet")), r"its spine at .* cannot be read"),
        (lambda desk, saved: another_spine(saved), r"its spine at .* is not what was saved"),
        (lambda desk, saved: another_log(desk), r"content hash \w+ instead of \w+ \(to tell by statistics, in amount"),
    ],
)
def test_what_cannot_be_rebuilt_is_an_error_and_never_other_data(desk: Desk, harm: Any, message: str) -> None:
    saved = desk.ask(["last"]).save("harmed")
    harm(desk, saved)
    with pytest.raises(StorageError, match=message):
        desk.store.rebuild("harmed")


def spoil(files: Iterator[Path]) -> None:
    for file in files:
        data = file.read_bytes()
        file.write_bytes(b"PAR1" + bytes(len(data) - 8) + b"PAR1")


def lose(desk: Desk) -> None:
    desk.log().rename(desk.log().with_name("gone"))


def remove(files: Iterator[Path]) -> None:
    for file in files:
        file.unlink()


def another_spine(saved: "Manifest") -> None:
    for file in saved.content["spine_files"]:
        path = Path(saved.spine_path, file["path"])
        table = pq.read_table(path)
        pq.write_table(table.set_column(2, "label", pa.array([9] * table.num_rows, pa.int64())), path)


def another_log(desk: Desk) -> None:
    """As many commits in the same place, of other values."""
    desk.log().rename(desk.log().with_name("gone"))
    desk.pay([("a", "2024-01-01 10:00", 7.0), ("a", "2024-01-02 09:00", 8.0)])
    # A registry of its own: the one that knows the log builds nothing upon another.
    other = desk.store.settings.model_copy(update={"registry": f"sqlite:///{desk.folder / 'other.db'}"})
    with FeatureStore(other) as store:
        store.apply()
        store.build("last", DAYS[0], DAYS[1], now=at("2024-01-02"))
        store.build("last", DAYS[1], DAYS[2], now=at("2024-01-03"))


def test_a_set_of_a_definition_that_is_gone_cannot_be_rebuilt(desk: Desk) -> None:
    from sqlalchemy import delete, update

    from features.registry.schema import definition_versions, manifests

    saved = desk.ask(["last:amount"]).save("defined")
    with desk.store.registry._database.write() as connection:
        connection.execute(update(manifests).values(content={**saved.content, "version": 1}))
    with pytest.raises(StorageError, match="saved by another release"):
        desk.store.rebuild("defined")
    (view,) = saved.content["views"]
    redefined = {**saved.content, "views": [{**view, "definition_hash": "0" * 64}]}
    with desk.store.registry._database.write() as connection:
        connection.execute(update(manifests).values(content=redefined))
    with pytest.raises(StorageError, match=r"another last@1 than the registry has"):
        desk.store.rebuild("defined")
    with desk.store.registry._database.write() as connection:
        connection.execute(update(manifests).values(content=dict(saved.content)))
        connection.execute(delete(definition_versions).where(definition_versions.c.name == "last"))
    with pytest.raises(StorageError, match=r"cannot be rebuilt: .*last"):
        desk.store.rebuild("defined")


def test_sets_are_listed_held_and_released(built: Desk) -> None:
    saved = built.ask("model").save("watched", hold=False)
    built.store.hold("watched@1")
    assert built.store.training_set("watched").held
    built.store.release("watched")
    assert [(m.reference, m.held) for m in built.store.training_sets() if m.name == "watched"] == [("watched@1", False)]
    assert built.store.training_set("watched").content_hash == saved.content_hash
    with pytest.raises(NotFoundError, match="did you mean 'watched'"):
        built.store.training_set("wached")
