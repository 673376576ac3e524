"""The race of layouts compares what each gave, not only how much."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from benchmarks.layout.checking import check_alike, read_result
from benchmarks.layout.shape import DAY, day_start, working_copy
from benchmarks.racing import ContenderFailedError

INSTANT = pa.timestamp("us", tz="UTC")
NAN = float("nan")


def rows(*found: tuple[int, int, float | None]) -> pa.Table:
    """Customer, second of the event, value."""
    return pa.table(
        {
            "customer": pa.array([row[0] for row in found], pa.int64()),
            "event_timestamp": pa.array([datetime(2024, 1, 1, 0, 0, row[1], tzinfo=UTC) for row in found], INSTANT),
            "f000": pa.array([row[2] for row in found], pa.float32()),
        }
    )


FIRST = rows((1, 0, 0.5), (1, 1, None), (2, 0, NAN), (2, 0, NAN))


def test_the_same_rows_in_another_order_and_another_order_of_columns_are_alike() -> None:
    shuffled = FIRST.take([2, 1, 3, 0]).select(["f000", "event_timestamp", "customer"])
    check_alike([("whole", FIRST), ("4096", shuffled), ("8_files", pa.concat_tables([FIRST[2:], FIRST[:2]]))])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (rows((1, 0, 0.5), (1, 1, 0.0), (2, 0, NAN), (2, 0, NAN)), "0 too many, 1 with other values; see row_id 1"),
        (rows((1, 0, 0.5), (1, 2, None), (2, 0, NAN), (2, 0, NAN)), "1 with other values"),
        (FIRST[:3], "1 rows missing"),
        (pa.concat_tables([FIRST, FIRST[:1]]), "1 too many"),
        (FIRST.drop_columns(["f000"]), "4 rows of customer, event_timestamp"),
        (FIRST[:0], "0 rows of"),
    ],
)
def test_other_rows_end_the_race_though_they_are_as_many(other: pa.Table, message: str) -> None:
    with pytest.raises(ContenderFailedError, match=rf"^4096 gave .*{message}"):
        check_alike([("whole", FIRST), ("4096", other)])


def test_layouts_that_all_give_nothing_end_the_race() -> None:
    with pytest.raises(ContenderFailedError, match="gave 0 rows"):
        check_alike([("whole", FIRST[:0]), ("4096", FIRST[:0])])


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A history, and a copy of it that a day was built upon and corrected; the day before it is there too."""
    log = working_copy(tmp_path / "history-whole", "rerun") / "warehouse" / "measured" / "v1"
    for seq, day, written in ((1, 0, FIRST), (2, 1, FIRST[:3]), (3, 1, FIRST[:1])):
        columns: dict[str, Any] = {
            "_seq": pa.array([seq] * len(written), pa.int64()),
            "_interval": pa.array([day_start(day) + DAY] * len(written), INSTANT),
            "created_timestamp": pa.array([datetime.now(UTC)] * len(written), INSTANT),
        }
        for name, values in columns.items():
            written = written.append_column(name, values)
        write_deltalake(str(log), written, mode="append")
    return tmp_path / "history-whole"


def test_what_a_rerun_appended_is_read_without_its_position_and_its_own_time(history: Path) -> None:
    found = read_result("rerun", history, "", {"day": 1, "rows": 1})
    assert found.drop_columns(["_interval"]).to_pylist() == FIRST[:1].to_pylist()
    with pytest.raises(ContenderFailedError, match="3 rows told of, 1 there"):
        read_result("rerun", history, "", {"day": 1, "rows": 3})


def test_what_a_join_wrote_is_read_from_its_files(tmp_path: Path) -> None:
    for number in (0, 1):
        pq.write_table(FIRST[number * 2 : number * 2 + 2], tmp_path / f"{number}.parquet")
    assert read_result("join", tmp_path, tmp_path, {"rows": 4}).num_rows == 4
