"""Splits: which part each row is in, at every bound and for every type of key."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from features.errors import UsageError
from features.training.splits import KeyHashSplit, TimeSplit, check_splits
from tests.builders import UTC_MICROS, at

WEEK = TimeSplit(ends={"train": "2024-01-08T00:00+00:00", "valid": "2024-01-15T00:00+00:00", "test": None},
                 gap=timedelta(days=2))  # fmt: skip


def assigned(split: Any, batch: pa.RecordBatch) -> list[str | None]:
    return [None if part < 0 else split.names[part] for part in split.assign(batch).tolist()]


def times(*texts: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"event_timestamp": pa.array([at(t) for t in texts], UTC_MICROS)})


def test_time_parts_are_half_open_and_a_gap_follows_each_end() -> None:
    found = assigned(
        WEEK,
        times(
            "1999-01-01", "2024-01-07 23:59:59.999999", "2024-01-08", "2024-01-09 23:59:59.999999", "2024-01-10",
            "2024-01-14 23:59:59.999999", "2024-01-15", "2024-01-16 23:59:59.999999", "2024-01-17", "2099-01-01",
        ),
    )  # fmt: skip
    assert found == ["train", "train", None, None, "valid", "valid", None, None, "test", "test"]


def test_rows_behind_the_last_end_are_in_no_part() -> None:
    split = TimeSplit(ends={"train": at("2024-01-08"), "test": at("2024-01-10")})
    found = assigned(split, times("2024-01-07", "2024-01-08", "2024-01-10", "2024-02-01"))
    assert found == ["train", "test", None, None]


def test_one_open_part_holds_every_row() -> None:
    assert assigned(TimeSplit(ends={"all": None}), times("1970-01-01", "2024-01-01")) == ["all", "all"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ends": {}}, "name at least one part"),
        ({"ends": {"Train": None}}, "lower case"),
        ({"ends": {"train": None, "test": None}}, "'train' has no end"),
        ({"ends": {"train": "2024-01-08"}}, "no time zone"),
        ({"ends": {"train": at("2024-01-08"), "test": at("2024-01-07")}}, "'test' must end after"),
        (
            {"ends": {"train": at("2024-01-08"), "test": at("2024-01-10")}, "gap": timedelta(days=2)},
            "'test' must end after .* and the gap",
        ),
        ({"ends": {"train": None}, "gap": timedelta(days=-1)}, "gap must be"),
        (
            {"ends": {"train": at("2024-01-08"), "test": at("2024-01-10")}, "gap": timedelta.max},
            "'test' must end after",
        ),
    ],
)
def test_a_wrong_time_split_is_told(changes: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TimeSplit(**changes)


def expected(salt: str, *texts: str | None, shares: tuple[float, ...] = (0.8, 0.2)) -> int:
    """The part by the documented rule."""
    key = "".join("~" if text is None else f"{len(text.encode())}:{text}" for text in texts)
    number = int.from_bytes(hashlib.sha256((salt + key).encode()).digest()[:8], "big") / 2**64
    return 0 if number < shares[0] else 1


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([7, None, -3], pa.int32()), ["7", None, "-3"]),
        (pa.array([7, 0, 2**62], pa.int64()), ["7", "0", str(2**62)]),
        (pa.array([Decimal("7.00"), Decimal("-0.10"), Decimal("0.00")]), ["7", "-0.1", "0"]),
        (pa.array([Decimal("100"), Decimal("20")], pa.decimal128(5, 0)), ["100", "20"]),
        (pa.array(["a", "", "né"]), ["a", "", "né"]),
        (pa.array([b"\x00\xff"]), ["00ff"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([date(2024, 1, 2)]), ["2024-01-02"]),
        (pa.array([datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)], UTC_MICROS), ["1000000"]),
    ],
)
def test_a_key_is_hashed_by_its_text(values: pa.Array, texts: list[str | None]) -> None:
    for salt in ("", "1", "2", "3", "4"):
        split = KeyHashSplit(shares={"train": 0.8, "test": 0.2}, keys=("k",), salt=salt)
        batch = pa.RecordBatch.from_pydict({"k": values})
        assert split.assign(batch).tolist() == [expected(salt, text) for text in texts]


@pytest.mark.parametrize("values", [pa.array([7.0, None]), pa.array([[1], None]), pa.array([{"a": 1}])])
def test_values_that_have_no_text_of_their_own_are_no_keys(values: pa.Array) -> None:
    split = KeyHashSplit(shares={"train": 0.5, "test": 0.5}, keys=("k",))
    with pytest.raises(UsageError, match=r"column 'k' is .*cast it to an integer"):
        split.assign(pa.RecordBatch.from_pydict({"k": values}))


def test_composite_keys_are_told_apart() -> None:
    batch = pa.RecordBatch.from_pydict({"a": ["a", "ab", "a", None], "b": ["bc", "c", "bc", "bc"]})
    keys = [("a", "bc"), ("ab", "c"), ("a", "bc"), (None, "bc")]
    for salt in "abcdefgh":
        split = KeyHashSplit(shares={"train": 0.5, "test": 0.5}, keys=("a", "b"), salt=salt)
        assert split.assign(batch).tolist() == [expected(salt, *key, shares=(0.5, 0.5)) for key in keys]


def test_shares_are_met_and_a_key_stays_in_its_part_whatever_the_batch() -> None:
    split = KeyHashSplit(shares={"train": 0.7, "valid": 0.1, "test": 0.2}, keys=("k",))
    keys = pa.array([f"customer-{n % 5000}" for n in range(10_000)])
    whole = split.assign(pa.RecordBatch.from_pydict({"k": keys}))
    assert whole[:5000].tolist() == whole[5000:].tolist()
    assert split.assign(pa.RecordBatch.from_pydict({"k": keys.slice(7, 3)})).tolist() == whole[7:10].tolist()
    counts = [int((whole == part).sum()) / 10_000 for part in range(3)]
    assert counts == pytest.approx([0.7, 0.1, 0.2], abs=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": {"train": 0.8, "test": 0.3}}, r"add up to 1\.1"),
        ({"shares": {"train": 1.0, "test": 0}}, "above 0"),
        ({"shares": {"train": True}}, "above 0"),
        ({"shares": {"train": 1.0, "test": 1e-10}}, "the parts before 'test' add up to 1 already"),
        ({"shares": {"train": 0.5, "valid": 0.5 + 5e-10, "test": 1e-10}}, "the parts before 'test' add up to 1"),
        ({"shares": {"train": 1}, "keys": ()}, "keys is empty"),
        ({"shares": {"train": 1}, "keys": 5}, "keys must be a list of columns, got 5"),
        ({"shares": {"train": 1}, "keys": ["k", 5]}, "keys must be a list of columns"),
        ({"shares": {"train": 1}, "salt": 3}, "salt must be a string"),
        ({"shares": {"train": 1}, "salt": "\ud800"}, "has no UTF-8"),
    ],
)
def test_a_wrong_key_split_is_told(changes: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        KeyHashSplit(**changes)


def test_the_least_share_that_leaves_a_last_part_some_numbers_is_taken() -> None:
    split = KeyHashSplit(shares={"train": 1 - 2**-53, "test": 2**-53}, keys=("k",))
    assert split.assign(pa.RecordBatch.from_pydict({"k": [1, 2, 3]})).tolist() == [0, 0, 0]


def test_a_split_is_held_against_the_set_that_it_splits() -> None:
    columns = ["customer", "event_timestamp", "amount"]
    by_key = KeyHashSplit(shares={"train": 0.8, "test": 0.2})
    assert check_splits(by_key, columns, ["customer"]).columns(()) == ("customer",)
    with pytest.raises(UsageError, match="no column 'user'"):
        check_splits(KeyHashSplit(shares={"train": 1}, keys=("user",)), columns, ["customer"])
    with pytest.raises(UsageError, match="a column 'split'"):
        check_splits(WEEK, [*columns, "split"], ["customer"])
    with pytest.raises(UsageError, match="got dict"):
        check_splits({"train": 0.8}, columns, ["customer"])  # type: ignore[arg-type]
