"""Which files VACUUM gives up: of Delta tables that delta-rs makes, without Spark."""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from features.core.processes import ProcessId
from features.materialization.maintenance.vacuum import spare_running
from features.registry import Run
from features.stores.log_files import find_removal
from features.stores.vacuum import delete_files, find_unneeded

NOW = datetime(2024, 1, 10, tzinfo=UTC)
DAY = 24 * 3600


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three versions: two files, then one that replaces both."""
    path = tmp_path / "table"
    for value in (1, 2):
        write_deltalake(path, pa.table({"n": [value]}), mode="append")
    write_deltalake(path, pa.table({"n": [3]}), mode="overwrite")
    return path


def run(hours_ago: float, process: ProcessId | None) -> Run:
    return Run(
        run_id=f"run{hours_ago}", kind="load", view="spend@1", start=None, end=None, now=NOW,
        started_at=NOW - timedelta(hours=hours_ago), finished_at=None, status="running", message="", position=None,
        delta_version=None, committed_at=None, counts={}, process=process,
    )  # fmt: skip


OWN = ProcessId.own()
GONE = replace(OWN, mark="started at another time")
ELSEWHERE = ProcessId(host="another.example.com", pid=1, mark="boot:1")


def test_replaced_files_go_once_and_the_table_stays_at_its_version(table: Path) -> None:
    assert find_unneeded(str(table), hours=1) == ()
    # Nobody's file, and one that a writer may be about to commit.
    for name, age in (("old.parquet", 8 * DAY), ("new.parquet", 6 * DAY)):
        (table / name).write_bytes(b"x" * 10)
        os.utime(table / name, (time.time() - age,) * 2)
    assert [file.path for file in find_unneeded(str(table), hours=1)] == ["old.parquet"]
    found = find_unneeded(str(table), hours=0)
    assert len(found) == 3
    delete_files(str(table), found)
    delete_files(str(table), found)
    assert find_unneeded(str(table), hours=0) == ()
    left = sorted(file.name for file in table.glob("*.parquet"))
    now = DeltaTable(table)
    assert now.version() == 2
    assert left == sorted([*(Path(uri).name for uri in now.file_uris()), "new.parquet"])


def test_where_there_is_no_table_nothing_can_go(tmp_path: Path) -> None:
    assert find_unneeded(str(tmp_path / "none"), hours=0) == ()


def test_files_stay_for_the_oldest_run_that_may_go_on() -> None:
    assert spare_running([], 24, now=NOW) == (24, None)
    assert spare_running([run(3, OWN)], 24, now=NOW) == (24, None)
    going_on = run(100, OWN)
    assert spare_running([run(3, OWN), going_on, run(120, GONE)], 24, now=NOW) == (102, going_on)
    # A process of this machine that goes on for more than a week is known to; of others nobody can tell.
    long = run(300, OWN)
    assert spare_running([long], 168, now=NOW) == (302, long)
    unknown = run(100, ELSEWHERE)
    assert spare_running([run(300, ELSEWHERE), run(300, None), unknown], 24, now=NOW) == (102, unknown)


def test_what_removed_rows_since_a_version_is_told(table: Path) -> None:
    assert find_removal(str(table), after=0) is None
    made = DeltaTable(table)
    made.optimize.compact()
    assert find_removal(str(table), after=0) is None
    version = DeltaTable(table).version()
    DeltaTable(table).delete("n = 3")
    assert find_removal(str(table), after=version) == "a DELETE statement"
    assert find_removal(str(table), after=version + 1) is None
