"""A benchmark's comparison of results finds every row that is not as wanted."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.compare import difference, read

WANTED = pa.table(
    {
        "row_id": [0, 1, 2, 3],
        "key": ["a", "b", "a", "c"],
        "value": pa.array([1.5, None, float("nan"), -0.0], pa.float32()),
    }
)


def test_the_order_of_rows_does_not_matter() -> None:
    assert not difference(WANTED, WANTED.take([3, 1, 0, 2]))


def test_null_nan_and_the_two_zeros_are_four_values() -> None:
    for place, other in ((1, 0.0), (1, float("nan")), (2, None), (3, 0.0)):
        values = [*WANTED["value"].to_pylist()]
        values[place] = other
        found = WANTED.set_column(2, "value", pa.array(values, pa.float32()))
        unlike = difference(WANTED, found)
        assert (unlike.missing, unlike.extra, unlike.differing, unlike.first) == (0, 0, 1, place)


def test_a_row_that_is_lacking_is_told() -> None:
    unlike = difference(WANTED, WANTED.slice(1))
    assert (unlike.missing, unlike.extra, unlike.differing, unlike.first) == (1, 0, 0, 0)


def test_a_row_that_comes_twice_and_one_that_nobody_asked_for_are_too_many() -> None:
    stranger = pa.table({"row_id": [9], "key": ["z"], "value": pa.array([None], pa.float32())})
    unlike = difference(WANTED, pa.concat_tables([WANTED, WANTED.slice(2, 1), stranger]))
    assert (unlike.missing, unlike.extra, unlike.differing, unlike.first) == (0, 2, 0, 2)
    assert unlike.rows == 2


def test_instants_and_text_compare_by_content_not_by_how_a_writer_spells_their_type() -> None:
    micros = pa.array([5_000_000], pa.int64())
    mine = pa.table(
        {"row_id": [0], "at": micros.cast(pa.timestamp("us", tz="UTC")), "name": pa.array(["é"], pa.string())}
    )
    theirs = pa.table(
        {
            "row_id": [0],
            "at": pa.array([5_000], pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
            "name": pa.array(["é"], pa.large_string()),
        }
    )
    assert not difference(mine, theirs)


def test_a_result_may_be_a_file_or_a_folder_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    pq.write_table(WANTED, tmp_path / "one.parquet")
    pq.write_table(WANTED.slice(0, 2), folder / "a.parquet")
    pq.write_table(WANTED.slice(2), folder / "b.parquet")
    assert not difference(read(tmp_path / "one.parquet", WANTED.column_names), read(folder, WANTED.column_names))
