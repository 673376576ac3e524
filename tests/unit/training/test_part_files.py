"""What a task writes of its rows, and what it answers: without Spark, since it is handed batches."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from features.errors import StorageError
from features.stores.delta_files import DataFile, create_table
from features.training.content_hash import content_hash, table_hash
from features.training.part_files import RowSink, read_summary
from features.training.splits import KeyHashSplit, TimeSplit
from tests.builders import UTC_MICROS, at

TABLE = pa.table(
    {
        "customer": ["a", "b", None, "a"],
        "event_timestamp": pa.array([at(f"2024-01-0{day}") for day in (1, 2, 3, 4)], UTC_MICROS),
        "amount": pa.array([1.0, None, 3.0, 4.0], pa.float64()),
    }
)
SPLIT = TimeSplit(ends={"train": at("2024-01-02"), "test": at("2024-01-04")})


def answers(sink: RowSink, batches: Iterator[pa.RecordBatch]) -> list[dict[str, object]]:
    return [row for answer in sink(batches) for row in answer.to_pylist()]


def batches(table: pa.Table, size: int = 3) -> Iterator[pa.RecordBatch]:
    return iter(table.to_batches(max_chunksize=size))


def read(folder: Path) -> pa.Table:
    return ds.dataset(folder, format="parquet", partitioning="hive").to_table()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_rows_and_spine_are_written_and_summed_up(tmp_path: Path, scheme: str) -> None:
    sink = RowSink(schema=TABLE.schema, spine_width=2, folder=f"{scheme}{tmp_path}")
    (answer,) = answers(sink, batches(TABLE))
    summary = read_summary(answer["summary"])  # type: ignore[arg-type]
    spine, whole = summary.sums
    assert (answer["rows"], answer["spine_rows"], answer["part"]) == (4, 4, -1)
    assert content_hash(TABLE.schema, whole) == table_hash(TABLE) == table_hash(read(tmp_path / "data"))
    assert (
        content_hash(sink.spine_schema, spine)
        == table_hash(TABLE.select([0, 1]))
        == table_hash(read(tmp_path / "spine"))
    )
    assert summary.statistics[2].to_json() == {"nulls": 1, "nans": 0, "min": 1.0, "max": 4.0, "mean": 8 / 3}
    assert answer["bytes"] == (tmp_path / "data" / str(answer["file"])).stat().st_size


def test_parts_are_folders_and_rows_of_none_have_one_of_their_own(tmp_path: Path) -> None:
    found = answers(RowSink(schema=TABLE.schema, spine_width=2, folder=str(tmp_path), splits=SPLIT), batches(TABLE, 1))
    rows = {str(answer["file"]).partition("/")[0]: answer["rows"] for answer in found}
    assert rows == {"split=train": 1, "split=test": 2, "split=__HIVE_DEFAULT_PARTITION__": 1}
    by_part = read(tmp_path / "data").group_by("split").aggregate([("amount", "sum")]).to_pylist()
    assert {row["split"]: row["amount_sum"] for row in by_part} == {"train": 1.0, "test": 3.0, None: 4.0}
    assert [answer["spine_rows"] for answer in found if answer["spine_file"]] == [4]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (answer,) = answers(RowSink(schema=TABLE.schema, spine_width=2), batches(TABLE))
    assert (answer["rows"], answer["file"], answer["spine_file"]) == (4, None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_task_without_rows_writes_nothing_and_a_set_without_rows_can_be_read(tmp_path: Path) -> None:
    sink = RowSink(schema=TABLE.schema, spine_width=2, folder=str(tmp_path))
    assert answers(sink, batches(TABLE.slice(0, 0))) == []
    assert list(tmp_path.iterdir()) == []
    data, spine = sink.write_empty()
    assert (data.rows, spine.rows) == (0, 0)
    assert pq.read_schema(tmp_path / "data" / data.path).names == TABLE.column_names
    assert pq.read_schema(tmp_path / "spine" / spine.path).names == ["customer", "event_timestamp"]


def test_batches_are_brought_to_the_types_and_order_of_the_set(tmp_path: Path) -> None:
    held = TABLE.set_column(0, "customer", TABLE["customer"].cast(pa.large_string())).select([2, 0, 1])
    sink = RowSink(schema=TABLE.schema, spine_width=2, folder=str(tmp_path))
    (answer,) = answers(sink, batches(held))
    assert pq.read_table(tmp_path / "data" / str(answer["file"])).schema.equals(TABLE.schema)


def test_a_second_attempt_writes_beside_the_first(tmp_path: Path) -> None:
    sink = RowSink(schema=TABLE.schema, spine_width=2, folder=str(tmp_path))
    (first,), (second,) = (answers(sink, batches(TABLE)) for _ in range(2))
    assert first["file"] != second["file"]
    assert pq.read_table(tmp_path / "data" / str(first["file"])).equals(TABLE)


def test_row_groups_are_of_a_size_that_readers_can_take(tmp_path: Path) -> None:
    rows = 300_000
    table = pa.table({"k": pa.array(range(rows)), "x": pa.array([0.5] * rows)})
    (answer,) = answers(RowSink(schema=table.schema, spine_width=1, folder=str(tmp_path)), batches(table, 10_000))
    told = pq.read_metadata(tmp_path / "data" / str(answer["file"]))
    assert told.num_rows == rows
    assert [told.row_group(n).num_rows for n in range(told.num_row_groups)] == [131_072, 131_072, 37_856]


def test_a_delta_table_holds_the_files_it_is_made_of_and_no_other(tmp_path: Path) -> None:
    sink = RowSink(schema=TABLE.schema, spine_width=2, folder=str(tmp_path), splits=SPLIT)
    found, _stray = answers(sink, batches(TABLE)), answers(sink, batches(TABLE))
    names = {0: "train", 1: "test", -1: None}
    files = [
        DataFile(path=str(a["file"]), rows=int(str(a["rows"])), bytes=int(str(a["bytes"])),
                 partition={"split": names[int(str(a["part"]))]})
        for a in found
    ]  # fmt: skip
    create_table(str(tmp_path / "data"), TABLE.schema, files, partition_by=("split",))
    table = DeltaTable(tmp_path / "data").to_pyarrow_table()
    assert sorted((r["split"] or "", r["amount"] or 0.0) for r in table.to_pylist()) == [
        ("", 4.0), ("test", 0.0), ("test", 3.0), ("train", 1.0),
    ]  # fmt: skip
    with pytest.raises(StorageError, match="cannot make a Delta table"):
        create_table(str(tmp_path / "data"), TABLE.schema, files, partition_by=("split",))


def test_a_folder_that_cannot_be_written_is_told_by_the_system(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(OSError, match="data"):
        answers(RowSink(schema=TABLE.schema, spine_width=2, folder=str(tmp_path)), batches(TABLE))


def test_a_key_split_sends_all_rows_of_a_key_to_one_part() -> None:
    split = KeyHashSplit(shares={"train": 0.5, "test": 0.5}, keys=("customer",))
    found = answers(RowSink(schema=TABLE.schema, spine_width=2, splits=split), batches(TABLE, 1))
    assert sum(int(str(answer["rows"])) for answer in found) == 4
    assert len(found) <= 2
