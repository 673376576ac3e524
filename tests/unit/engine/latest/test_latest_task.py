"""One task that finds latest rows, without Spark, against the oracle: logs of every shape, keys of every type."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import DType
from features.engine.as_of.parquet_files import ParquetFiles
from features.engine.latest.key_ranges import KeyRange, cut_ranges
from features.engine.latest.plan import _size
from features.engine.latest.task import Expiry, LatestTask
from features.errors import StorageError
from features.stores.log_files import LogFile
from features.stores.log_state import SEQ
from tests.oracle import Row, online
from tests.strategies import logs
from tests.unit.engine.as_of.test_task import BASE, KINDS, instant, key_names, write_files

SECOND = 1_000_000


def task(kinds: Sequence[DType], files: Sequence[LogFile], **changes: Any) -> LatestTask:
    given_ = {
        "reference": "view@1",
        "files": tuple(files),
        "keys": tuple(key_names(kinds)),
        "features": ("amount",),
        "ranges": (KeyRange(names=()),),
        "position": 1 << 40,
        "after": 0,
        "expiry": None,
        **changes,
    }
    return LatestTask(**given_)


def find(latest: LatestTask) -> list[dict[str, Any]]:
    numbers = pa.record_batch([pa.array(range(len(latest.ranges)))], names=["id"])
    return [row for batch in latest(iter([numbers])) for row in batch.to_pylist()]


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(value for name, value in row.items() if name.startswith("k"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_each_key_has_the_row_that_the_rule_names_or_is_deleted(
    kind: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kinds, keys = KINDS[kind]
    log = data.draw(logs(keys))
    numbers = data.draw(st.lists(st.integers(0, 2), min_size=len(log), max_size=len(log)))
    files = write_files(tmp_path_factory.mktemp("log"), kinds, log, numbers, data.draw(st.integers(1, 4)))
    position, after = data.draw(st.integers(0, 10)), data.draw(st.integers(0, 9))
    types = dict(zip(key_names(kinds), kinds, strict=True))
    ranges = cut_ranges(ParquetFiles(files), types, cores=3, rows=data.draw(st.sampled_from([1, 80_000])))

    found = find(task(kinds, files, position=position, after=after, ranges=ranges if files else ()))

    visible = [row for row in log if row.seq <= position]
    concerned = {row.key for row in visible if row.seq > after}
    wanted = {key: online(visible, key) for key in concerned}
    assert len(found) == len(wanted)
    for row in found:
        winner = wanted[key_of(row)]
        assert row["_delete"] == (winner is None)
        if winner is not None:
            got = (row["event_timestamp"], row["created_timestamp"], row["amount"])
            assert got == (instant(winner.event), instant(winner.created), winner.value)


@pytest.fixture
def three(tmp_path: Path) -> tuple[LogFile, ...]:
    """Three keys, the second retracted, each in a row group of its own."""
    log = [
        Row((1,), 10 * SECOND, 10, 10, 1, True, 1.5),
        Row((2,), 20 * SECOND, 20, 20, 1, True, 2.5),
        Row((3,), 30 * SECOND, 30, 30, 1, True, 3.5),
        Row((2,), 20 * SECOND, 40, 20, 2, False),
    ]
    return write_files(tmp_path, (DType.INT64,), log, [0, 0, 0, 1], 1)


def test_a_row_carries_the_seconds_that_it_has_left_and_one_past_its_end_is_deleted(three: Any) -> None:
    now = instant(0)
    base = int((now - BASE).total_seconds()) + int(BASE.timestamp()) * SECOND
    expiry = Expiry(retention=5 * SECOND, now=base + 16 * SECOND)
    found = {row["k0"]: row for row in find(task((DType.INT64,), three, expiry=expiry))}
    assert (found[1]["_delete"], found[3]["_delete"], found[3]["_ttl_seconds"]) == (True, False, 19)


def test_a_row_that_lives_longer_than_cassandra_can_count_has_no_end(three: Any) -> None:
    expiry = Expiry(retention=21 * 365 * 86_400 * SECOND, now=int(BASE.timestamp()) * SECOND)
    found = find(task((DType.INT64,), three, expiry=expiry))
    assert {row["_ttl_seconds"] for row in found} == {None}


def test_keys_alone_tell_which_are_deleted(three: Any) -> None:
    found = find(task((DType.INT64,), three, only_keys=True))
    assert sorted((row["k0"], row["_delete"]) for row in found) == [(1, False), (2, True), (3, False)]


def test_keys_alone_tell_which_rows_have_ended(three: Any) -> None:
    expiry = Expiry(retention=5 * SECOND, now=int(BASE.timestamp()) * SECOND + 16 * SECOND)
    found = find(task((DType.INT64,), three, expiry=expiry, only_keys=True))
    assert sorted((row["k0"], row["_delete"]) for row in found) == [(1, True), (2, True), (3, False)]
    assert set(found[0]) == {"k0", "_delete"}


def log_file(rows: int | None, *, size: int = 1_000, seq: tuple[int, int] | None = None) -> LogFile:
    return LogFile(path="x", size=size, rows=rows, bounds={} if seq is None else {SEQ: seq})


def test_a_file_whose_rows_nobody_counted_is_something_to_load() -> None:
    assert _size([log_file(None)], after=3).rows > 0
    assert _size([log_file(None, size=1, seq=(1, 4))], after=3).rows > 0
    assert _size([log_file(None, size=1 << 30)], after=0).rows > 1_000_000


def test_there_is_nothing_to_load_where_no_file_can_hold_a_row_behind_the_checkpoint() -> None:
    files = [log_file(None, seq=(1, 3)), log_file(70, seq=(1, 2)), log_file(0, seq=(4, 4)), log_file(0)]
    assert _size(files, after=3).rows == 0
    assert _size([*files, log_file(7, seq=(2, 4))], after=3).rows == 7


class Counting(ParquetFiles):
    """Notes which row groups of which files are read."""

    opened: ClassVar[list[tuple[int, ...]]] = []

    def read(self, number: int, pieces: Any, columns: Sequence[str]) -> pa.Table:
        self.opened.append((number, *(piece.number for piece in pieces)))
        return super().read(number, pieces, columns)


def opened_by(files: Sequence[LogFile], monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[tuple[int, ...]]:
    monkeypatch.setattr("features.engine.latest.task.ParquetFiles", Counting)
    Counting.opened.clear()
    find(task((DType.INT64,), files, ranges=(KeyRange(names=("k0",)),), **changes))
    return list(Counting.opened)


def test_a_retraction_makes_a_task_look_for_the_row_before_it_where_its_key_can_be(three, monkeypatch):
    # The new file, the one row group of the old one that holds its key, and the retraction's own key.
    assert opened_by(three, monkeypatch, after=1) == [(1, 0), (0, 1), (1, 0), (1, 0)]


def test_rows_of_a_later_event_are_loaded_without_a_look_at_history(tmp_path, monkeypatch):
    log = [Row((key,), 10, 10, 10, 1, True, 1.5) for key in (1, 2)] + [Row((2,), 20, 20, 20, 2, True, 2.5)]
    files = write_files(tmp_path, (DType.INT64,), log, [0, 0, 1], 1)
    assert {number for number, *_ in opened_by(files, monkeypatch, after=1)} == {1}


def test_a_row_of_an_earlier_event_is_compared_with_history(tmp_path, monkeypatch):
    log = [Row((1,), 10, 10, 10, 1, True, 1.5), Row((1,), 5, 20, 5, 2, True, 2.5)]
    files = write_files(tmp_path, (DType.INT64,), log, [0, 1], 1)
    assert {number for number, *_ in opened_by(files, monkeypatch, after=1)} == {0, 1}
    assert [row["amount"] for row in find(task((DType.INT64,), files, after=1))] == [1.5]


def test_a_file_that_is_gone_is_told(three: Any, tmp_path: Path) -> None:
    (tmp_path / "1.parquet").unlink()
    with pytest.raises(StorageError, match="log of view@1 cannot be read"):
        find(task((DType.INT64,), three))
