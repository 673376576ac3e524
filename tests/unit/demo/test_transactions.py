"""The made-up transactions: the same every time, some late, and landed by the day on which they were recorded."""

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.demo.transactions import DAYS, FIRST_DAY, land_transactions, main, transactions_table


def test_every_call_makes_the_same_transactions() -> None:
    assert transactions_table(users=20, days=7).equals(transactions_table(users=20, days=7))


def test_more_users_change_nothing_of_the_others() -> None:
    few, many = (transactions_table(users=users, days=7).drop_columns("transaction_id") for users in (5, 9))
    assert few.to_pylist() == [row for row in many.to_pylist() if row["user"] <= 5]


def test_a_transaction_is_recorded_after_it_was_made_and_some_are_late() -> None:
    lags = [row["recorded_at"] - row["transaction_at"] for row in transactions_table(users=100).to_pylist()]
    assert min(lags) > timedelta(0)
    late = sum(lag > timedelta(minutes=9) for lag in lags)
    assert 0.01 < late / len(lags) < 0.03


def test_days_hold_what_was_recorded_on_them_and_a_second_landing_writes_nothing(tmp_path: Path) -> None:
    rows = land_transactions(tmp_path, users=30)
    files = sorted(tmp_path.rglob("*.parquet"))
    days = [file.parent.name.removeprefix("day=") for file in files]
    assert days[0] == str(FIRST_DAY)
    assert len(days) in (DAYS, DAYS + 1)
    tables = [pq.ParquetFile(file).read() for file in files]
    assert sum(len(table) for table in tables) == rows
    for day, table in zip(days, tables, strict=True):
        assert {str(moment.date()) for moment in table["recorded_at"].to_pylist()} == {day}
    written = [file.stat().st_mtime_ns for file in files]
    assert land_transactions(tmp_path, users=30) == rows
    assert [file.stat().st_mtime_ns for file in files] == written


def test_the_command_says_what_it_landed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "--users", "3", "--days", "2"]) == 0
    assert f"transactions of 3 users under {tmp_path}" in capsys.readouterr().out


def test_no_users_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "--users", "0"]) == 2
    assert "error: users=0 and days=21 must be one or more" in capsys.readouterr().err
