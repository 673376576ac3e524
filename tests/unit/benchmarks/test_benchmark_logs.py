"""The logs that joins are measured on are ones that builds could have written, with the ties that the rule settles."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.pit.data import commits
from benchmarks.pit.shape import Shape

DAY = 86_400_000_000
HALF_HOUR = 1_800_000_000


@pytest.fixture(scope="module")
def shape() -> Shape:
    return Shape(rows=100_000, spine=10, features=2, days=20)


@pytest.fixture(scope="module")
def rows(shape: Shape) -> dict[str, np.ndarray]:
    """All rows of a log, with the position of their commit; times in microseconds."""
    gathered: dict[str, list[np.ndarray]] = {}
    for position, table in enumerate(commits(shape, ["f0", "f1"], 0), start=1):
        for name in ("event_timestamp", "created_timestamp", "_interval"):
            gathered.setdefault(name, []).append(table[name].cast("int64").to_numpy())
        gathered.setdefault("customer", []).append(table["customer"].to_numpy())
        gathered.setdefault("position", []).append(np.full(table.num_rows, position))
    return {name: np.concatenate(parts) for name, parts in gathered.items()}


def test_a_daily_commit_holds_its_day_and_every_ten_days_have_one_of_corrections(
    shape: Shape, rows: dict[str, np.ndarray]
) -> None:
    intervals = {p: set(rows["_interval"][rows["position"] == p]) for p in np.unique(rows["position"])}
    assert [len(intervals[p]) for p in sorted(intervals)] == [*[1] * 10, 10, *[1] * 10, 10]


def test_no_commit_holds_a_key_event_and_interval_twice(rows: dict[str, np.ndarray]) -> None:
    columns = ("position", "customer", "event_timestamp", "_interval")
    assert Counter(zip(*(rows[name] for name in columns), strict=True)).most_common(1)[0][1] == 1


def test_rows_are_created_after_their_interval_and_corrections_after_what_they_correct(
    rows: dict[str, np.ndarray],
) -> None:
    first = rows["created_timestamp"] == rows["_interval"] + HALF_HOUR
    assert (rows["created_timestamp"] >= rows["_interval"] + HALF_HOUR).all()
    known = set(zip(*(rows[n][first] for n in ("customer", "event_timestamp", "_interval")), strict=True))
    corrected = set(zip(*(rows[n][~first] for n in ("customer", "event_timestamp", "_interval")), strict=True))
    assert corrected
    assert corrected <= known
    assert 0.0005 < len(corrected) / len(known) < 0.002


def test_some_rows_come_again_a_day_late(rows: dict[str, np.ndarray]) -> None:
    late = rows["event_timestamp"] < rows["_interval"] - DAY
    assert (rows["event_timestamp"] < rows["_interval"]).all()
    known = set(zip(rows["customer"][~late], rows["event_timestamp"][~late], strict=True))
    again = set(zip(rows["customer"][late], rows["event_timestamp"][late], strict=True))
    assert again
    assert again <= known


@pytest.mark.parametrize("kind", ["string", "composite"])
def test_logs_of_other_kinds_of_key_hold_the_same_values(kind: str) -> None:
    small = {"rows": 2_000, "spine": 10, "features": 2, "days": 2}
    for one, other in zip(
        commits(Shape(**small), ["f0", "f1"], 0), commits(Shape(**small, key=kind), ["f0", "f1"], 0), strict=True
    ):
        assert one.select(["event_timestamp", "f0", "f1"]).equals(other.select(["event_timestamp", "f0", "f1"]))
        order = other.sort_by([(name, "ascending") for name in other.column_names[: 1 + (kind == "composite")]])
        assert order.select(["customer"]).equals(other.select(["customer"]))


def test_one_hot_key_holds_a_fifth() -> None:
    hot = Shape(rows=50_000, spine=10, features=1, days=1, skew="hot")
    (table, *_) = commits(hot, ["f0"], 0)
    most = Counter(table["customer"].to_pylist()).most_common(1)[0][1]
    assert 0.19 < most / table.num_rows < 0.21


def test_features_divide_into_views() -> None:
    with pytest.raises(ValueError, match="50 features do not divide into 3 views"):
        Shape(views=3)
