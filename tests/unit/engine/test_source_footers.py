"""Which files of a Parquet source an interval's columns are taken from; without Spark, as long as types are plain."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.engine.sources.footers import read_columns
from tests.builders import UTC_MICROS, at, payments_source

KNOWN = {"customer": "string", "paid_at": "timestamp", "amount": "double", "seen": "timestamp_ntz", "day": "date"}
PLAIN = {"customer": "string", "paid_at": "timestamp"}


def land(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    times = pa.array([at("2024-01-01")], UTC_MICROS)
    pq.write_table(pa.table({"customer": ["a"], "paid_at": times, **columns}), path)


def found(path: Path | str, start: str, end: str, **changes: Any) -> list[dict[str, str]]:
    # No Spark: a type that has to be asked for would be an error.
    return read_columns(None, payments_source(path, **changes), at(start), at(end), KNOWN)  # type: ignore[arg-type]


def test_only_the_days_of_an_interval_are_looked_into(tmp_path: Path) -> None:
    land(tmp_path / "day=2024-01-01" / "a.parquet")
    land(tmp_path / "day=2024-01-02" / "a.parquet", amount=[1.0])
    land(tmp_path / "day=2024-01-02" / "_passing.parquet", customers=[1])
    land(tmp_path / "day=2024-01-02" / "b.parquet", seen=pa.array([0], pa.timestamp("us")))
    day = {"partition_field": "day"}

    assert found(tmp_path, "2024-01-01", "2024-01-02", **day) == [{**PLAIN, "day": "date"}]
    columns = found(tmp_path, "2024-01-02", "2024-01-03", **day)
    assert sorted(columns, key=str) == [
        {**PLAIN, "amount": "double", "day": "date"},
        {**PLAIN, "seen": "timestamp_ntz", "day": "date"},
    ]
    assert len(found(tmp_path, "2024-01-01", "2024-01-03", **day)) == 3
    assert found(tmp_path, "2024-01-05", "2024-01-06", **day) == []


def test_without_days_the_file_that_was_written_last_counts(tmp_path: Path) -> None:
    land(tmp_path / "old.parquet", amount=[1.0])
    land(tmp_path / "new.parquet")
    os.utime(tmp_path / "old.parquet", (1, 1))

    assert found(tmp_path, "2024-01-01", "2024-01-02") == [PLAIN]
    assert found(tmp_path / "old.parquet", "2024-01-01", "2024-01-02") == [{**PLAIN, "amount": "double"}]
    # A field that is a column, not a folder.
    assert found(tmp_path, "2024-01-01", "2024-01-02", partition_field="day") == [PLAIN]


def test_what_cannot_be_opened_is_left_to_spark(tmp_path: Path) -> None:
    land(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text("no parquet")
    os.utime(tmp_path / "a.parquet", (1, 1))

    assert found(tmp_path, "2024-01-01", "2024-01-02") == []
    assert found(tmp_path / "nowhere", "2024-01-01", "2024-01-02") == []
    assert found("hdfs://cluster/payments", "2024-01-01", "2024-01-02") == []
