"""Runs of rows, as the writer of SSTables reads them."""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
from cassandra.metadata import Murmur3Token

from features import DType
from features.stores.sstables.runs import Run, cut_runs, encode_run

KEYS = (("key", DType.STRING),)
COLUMNS = (("amount", DType.FLOAT64), ("label", DType.STRING))


def rows(**columns: Any) -> pa.Table:
    count = len(columns["key"])
    return pa.table(
        {
            "key": pa.array(columns["key"], pa.string()),
            "amount": pa.array(columns.get("amount", [1.0] * count), pa.float64()),
            "label": pa.array(columns.get("label", ["x"] * count), pa.string()),
            "_delete": pa.array(columns.get("delete", [False] * count), pa.bool_()),
            "_ttl_seconds": pa.array(columns.get("ttl", [None] * count), pa.int32()),
        }
    )


class Frame:
    """Reads a run as the Java program does."""

    def __init__(self, run: Run) -> None:
        self.data = b"".join(bytes(part) for part in run.parts)
        self.at = 0
        self.count, self.now, many = self.take(">iqi")
        self.deleted = self.flags()
        self.ttls = self.take(f">{self.count}i") if self.take(">B")[0] else None
        self.keys = self.cells()
        self.columns = [self.cells() for _ in range(many)]
        assert self.at == len(self.data)

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return found

    def flags(self) -> list[bool]:
        return [bool(flag) for flag in self.take(f">{self.count}B")] if self.take(">B")[0] else [False] * self.count

    def cells(self) -> list[bytes | None]:
        nulls = self.flags()
        (width,) = self.take(">i")
        ends = self.take(f">{self.count + 1}i") if width < 0 else [width * at for at in range(self.count + 1)]
        data = self.data[self.at : self.at + ends[-1]]
        self.at += ends[-1]
        return [None if nulls[at] else data[ends[at] : ends[at + 1]] for at in range(self.count)]


def test_rows_stand_in_the_order_of_their_tokens_with_their_own_values() -> None:
    names = [f"customer-{number}" for number in range(500)]
    run = encode_run(rows(key=names, amount=[float(n) for n in range(500)], label=names), KEYS, COLUMNS, now=7)
    frame = Frame(run)
    tokens = [Murmur3Token.hash_fn(key) for key in frame.keys]
    assert tokens == sorted(tokens)
    for key, amount, label in zip(frame.keys, *frame.columns, strict=True):
        assert key == label
        assert struct.unpack(">d", amount)[0] == float(key.decode().removeprefix("customer-"))
    assert (run.puts, run.deleted, frame.now, frame.ttls) == (500, 0, 7, None)


def test_nulls_deletions_and_ends_stay_with_their_rows() -> None:
    table = rows(
        key=["a", "b", "c", "d"],
        amount=[None, 1.0, 2.0, 3.0],
        label=["", None, "z", "w"],
        delete=[False, True, False, False],
        ttl=[9, None, -1, (20 * 365 * 24 * 3600) + 1],
    )
    run = encode_run(table, KEYS, COLUMNS, now=7)
    frame = Frame(run)
    by_key = {
        key: (deleted, ttl, amount is None, label)
        for key, deleted, ttl, amount, label in zip(frame.keys, frame.deleted, frame.ttls, *frame.columns, strict=True)
    }
    assert by_key == {
        b"a": (False, 9, True, b""),
        b"b": (True, 0, False, None),
        b"c": (True, 0, False, b"z"),
        b"d": (False, 0, False, b"w"),
    }
    assert (run.puts, run.deleted) == (2, 2)


def test_runs_are_cut_by_bytes_and_lose_no_row() -> None:
    table = rows(key=[f"{n:06d}" for n in range(10_000)])
    batches = table.to_batches(max_chunksize=3_000)
    cut = list(cut_runs(iter(batches), most_bytes=50_000))
    assert np.concatenate([part["key"].to_numpy() for part in cut]).tolist() == table["key"].to_pylist()
    assert all(part.nbytes <= 60_000 for part in cut)
    assert [part.num_rows for part in cut_runs(iter(batches), most_bytes=1 << 30)] == [10_000]
