"""What is known of a log's files before they are opened."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import ColumnProperties, WriterProperties, write_deltalake

from features.stores.log_files import list_files


def test_a_file_without_statistics_has_no_bounds_and_may_hold_anything(tmp_path: Path) -> None:
    table = str(tmp_path / "log")
    write_deltalake(table, pa.table({"key": [1, 2]}))
    untold = WriterProperties(default_column_properties=ColumnProperties(statistics_enabled="NONE"))
    write_deltalake(table, pa.table({"key": [7, 9]}), mode="append", writer_properties=untold)

    files = list_files(table, ["key"]).files

    assert sorted(file.bounds.get("key", ()) for file in files) == [(), (1, 2)]
    assert sorted(file.may_hold("key", low=8) for file in files) == [False, True]


def test_tasks_that_work_elsewhere_find_the_files_of_a_relative_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_deltalake("log", pa.table({"key": ["a"]}))
    (file,) = list_files("log", ["key"]).files
    assert Path(file.path).is_absolute()
    assert pq.read_table(file.path)["key"].to_pylist() == ["a"]
