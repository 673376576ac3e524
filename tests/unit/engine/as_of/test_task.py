"""One task of the native join, without Spark, against the oracle: logs of every shape, keys of every type."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import DType
from features.core.arrow_types import arrow_type
from features.engine.as_of.task import JoinTask, LogToRead
from features.stores.log_files import LogFile
from tests.logs import OWN_TYPES
from tests.oracle import Row, as_of, status_of
from tests.strategies import logs, spines

BASE = datetime(2024, 1, 1, tzinfo=UTC)
PAIRS = [("a", "bc"), ("ab", "c"), ("a", "c"), ("é", "")]
# Keys of a log and of a spine that are told apart only with care, and some that the other has not.
KINDS: Mapping[str, tuple[tuple[DType, ...], list[tuple[Any, ...]]]] = {
    "int": ((DType.INT64,), [(1,), (-1,), (1 << 62,)]),
    "dense": ((DType.INT32,), [(1,), (-1,), (-2,), (1000,)]),
    "least": ((DType.INT64,), [(-(1 << 63),), (1 - (1 << 63),), ((1 << 63) - 1,)]),
    "most": ((DType.INT64,), [((1 << 63) - 1,), ((1 << 63) - 2,), ((1 << 63) - 3,)]),
    "string": ((DType.STRING,), [("a",), ("",), ("ü" * 40,)]),
    "pair": ((DType.STRING, DType.STRING), PAIRS),
    "mixed": ((DType.INT32, DType.DATE, DType.BYTES), [(1, date(1, 1, 1), b"\xff"), (2, date(9999, 12, 31), b"\x00")]),
    "rare": (
        (DType.BOOL, DType.DECIMAL(5, 2), DType.TIMESTAMP),
        [(True, Decimal("1.50"), BASE), (False, Decimal("-1.50"), BASE + timedelta(microseconds=1))],
    ),
}


def instant(moment: int) -> datetime:
    return BASE + timedelta(microseconds=moment)


def key_names(kinds: Sequence[DType]) -> list[str]:
    return [f"k{place}" for place in range(len(kinds))]


def write_files(
    folder: Path, kinds: Sequence[DType], log: Sequence[Row], numbers: Sequence[int], group: int
) -> tuple[LogFile, ...]:
    types = {**dict(zip(key_names(kinds), kinds, strict=True)), **OWN_TYPES, "amount": DType.FLOAT64}
    schema = pa.schema([(name, arrow_type(dtype)) for name, dtype in types.items()])
    files = []
    for number in sorted(set(numbers)):
        rows = [row for row, n in zip(log, numbers, strict=True) if n == number]
        values = [
            (
                *row.key,
                instant(row.event),
                instant(row.created),
                "put" if row.is_put else "retract",
                row.seq,
                instant(row.interval),
                row.value,
            )
            for row in rows
        ]
        table = pa.Table.from_pylist([dict(zip(types, row, strict=True)) for row in values], schema=schema)
        path = folder / f"{number}.parquet"
        pq.write_table(table, path, row_group_size=group)
        files.append(LogFile(path=str(path), size=path.stat().st_size, rows=len(rows), bounds={}))
    return tuple(files)


def log_to_read(kinds: Sequence[DType], files: tuple[LogFile, ...], **changes: Any) -> LogToRead:
    given_ = LogToRead(
        reference="view@1",
        table="nowhere",
        version=0,
        files=files,
        position=1 << 40,
        keys=tuple(zip(key_names(kinds), kinds, strict=True)),
        features=(("amount", DType.FLOAT64),),
        columns=("amount",),
        lookback=None,
        known_at="created",
        status="found",
    )
    return replace(given_, **changes)


def join(
    kinds: Sequence[DType],
    spine: Sequence[tuple[tuple[Any, ...], int]],
    *logs_: LogToRead,
    chunk: int = 3,
    names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    types = {
        **dict(zip(names or key_names(kinds), kinds, strict=True)),
        "event_timestamp": DType.TIMESTAMP,
        "n": DType.INT64,
    }
    schema = pa.schema([(name, arrow_type(dtype)) for name, dtype in types.items()])
    rows = [dict(zip(types, (*key, instant(t), n), strict=True)) for n, (key, t) in enumerate(spine)]
    batches = pa.Table.from_pylist(rows, schema=schema).to_batches(max_chunksize=2)
    out = [
        row
        for batch in JoinTask(logs=logs_, chunk_rows=chunk, first=-(1 << 60), last=1 << 60)(iter(batches))
        for row in batch.to_pylist()
    ]
    return sorted(out, key=lambda row: row["n"])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_task_gives_what_the_rule_says(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    kinds, keys = KINDS[kind]
    strangers = [tuple(None if place == len(keys[0]) - 1 else part for place, part in enumerate(keys[0]))]
    log = data.draw(logs(keys, 24))
    spine = data.draw(spines([*keys, *strangers], 12))
    numbers = data.draw(st.lists(st.integers(0, 4), min_size=len(log), max_size=len(log)))
    if data.draw(st.booleans()):
        log = sorted(log, key=lambda row: (row.key, row.event))
    files = write_files(
        tmp_path_factory.mktemp("log"), kinds, log, numbers, data.draw(st.sampled_from([1, 3, 1 << 20]))
    )
    lookback = data.draw(st.one_of(st.none(), st.integers(0, 4)))
    position = data.draw(st.integers(0, 24))
    known_at = data.draw(st.sampled_from(["created", "event"]))
    asked = log_to_read(kinds, files, lookback=lookback, position=position, known_at=known_at)
    visible = [row for row in log if row.seq <= position]
    for one in (asked, replace(asked, status=None)):
        found = join(kinds, spine, one)
        assert [row["n"] for row in found] == list(range(len(spine)))
        for row, (key, t) in zip(found, spine, strict=True):
            rule = {"lookback": lookback, "known_at": known_at}
            assert row["amount"] == as_of(visible, key, t, **rule)
            if one.status is not None:
                assert row["found"] == status_of(visible, key, t, **rule)


def test_times_too_far_apart_for_one_line_of_points_are_ranked(tmp_path: Path) -> None:
    years = 7_900 * 365 * 86_400_000_000
    keys = [(n,) for n in range(200)]
    log = [Row(key, event, event, event, 1, True, float(event)) for key in keys for event in (0, years // 2, years)]
    kinds = (DType.INT64,)
    files = write_files(tmp_path, kinds, log, [0] * len(log), 1 << 20)
    spine = [(key, t) for key in keys for t in (0, years // 2 - 1, years // 2, years + 5)]
    found = join(kinds, spine, log_to_read(kinds, files), chunk=1 << 20)
    assert [row["amount"] for row in found] == [
        as_of(log, key, t, lookback=None, known_at="created") for key, t in spine
    ]


def test_views_of_one_pass_keep_their_own_rules(tmp_path: Path) -> None:
    kinds = (DType.STRING,)
    log = [Row(("a",), 1, 4, 1, 1, True, 1.0), Row(("a",), 3, 8, 3, 2, True, 2.0)]
    files = write_files(tmp_path, kinds, log, [0, 1], 10)
    created = log_to_read(kinds, files, status=None)
    event = replace(created, known_at="event", columns=("at_event",))
    recent = replace(created, columns=("recent",), lookback=2, status="how")
    (row,) = join(kinds, [(("a",), 5)], created, event, recent)
    assert (row["amount"], row["at_event"], row["recent"], row["how"]) == (1.0, 2.0, None, 1)


def test_a_view_without_files_answers_null(tmp_path: Path) -> None:
    found = join((DType.STRING,), [(("a",), 1), ((None,), 1)], log_to_read((DType.STRING,), ()))
    assert [(row["amount"], row["found"]) for row in found] == [(None, 0), (None, 0)]


def test_an_empty_spine_gives_no_rows() -> None:
    assert join((DType.STRING,), [], log_to_read((DType.STRING,), ())) == []
