"""What a task does to find the latest rows of a range of keys: it reads the log's files by itself."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.engine.as_of.parquet_files import ParquetFiles, Piece, addresses_of, constant_of, micros_of, plain
from features.engine.latest.key_ranges import KeyRange
from features.engine.latest.ranking import Ranked, choose_winners, number_keys
from features.errors import StorageError
from features.stores.base import DELETE, MAX_TTL_SECONDS, TTL_SECONDS
from features.stores.log_files import LogFile
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, PUT, SEQ

if TYPE_CHECKING:
    import pyarrow as pa

    Ints = np.ndarray[Any, np.dtype[np.int64]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

_SECOND_MICROS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Expiry:
    """When rows end. retention, now: microseconds, the latter since 1970."""

    retention: int
    now: int

    def seconds_left(self, events: "Ints") -> "Ints":
        """Whole seconds until the row of each event ends; not positive: it has."""
        return (events + self.retention - self.now) // _SECOND_MICROS


@dataclass(frozen=True, kw_only=True, slots=True)
class LatestTask:
    """Yields, for each range that it is given by its number, the rows that win there, as loads write them.

    Attributes:
        reference: of the view, for messages.
        files: of the log that can matter.
        keys, features: names of columns.
        ranges: all ranges of keys.
        position: rows behind it do not exist.
        after: only keys with rows behind it count; 0: all.
        expiry: None: rows stay.
        only_keys: leave out all columns but the join keys and `_delete`.
    """

    reference: str
    files: tuple[LogFile, ...]
    keys: tuple[str, ...]
    features: tuple[str, ...]
    ranges: tuple[KeyRange, ...]
    position: int
    after: int
    expiry: Expiry | None
    only_keys: bool = False

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """batches: numbers of ranges, in their only column."""
        import pyarrow as pa

        for batch in batches:
            for number in batch.column(0).to_pylist():
                try:
                    for table in self._find(self.ranges[number]):
                        yield from table.to_batches()
                except (OSError, pa.ArrowException) as exc:
                    raise StorageError(
                        f"the log of {self.reference} cannot be read: {exc}; if its files were vacuumed meanwhile, "
                        "load again"
                    ) from exc

    def _find(self, within: KeyRange) -> "Iterator[pa.Table]":
        reader = _Reader(self, ParquetFiles(self.files), within)
        touched, since = reader.touched() if self.after else (None, None)
        if touched is not None and not touched.num_rows:
            return
        addresses, rows = reader.rows(touched, since)
        won, gone = choose_winners(rows)
        if since is not None and (len(gone) or int(rows.event[won].min()) < since):
            # A row of the same event that was there before counts instead: what was left out may win.
            addresses, rows = reader.rows(touched, None)
            won, gone = choose_winners(rows)
        places = np.concatenate([won, gone])
        order = np.argsort(addresses[places], kind="stable")
        is_gone = np.repeat([False, True], [len(won), len(gone)])[order]
        yield from reader.values(addresses[places[order]], is_gone)


class _Reader:
    def __init__(self, task: LatestTask, files: ParquetFiles, within: KeyRange) -> None:
        self._task = task
        self._files = files
        self._range = within

    def touched(self) -> "tuple[pa.Table, int | None]":
        """The keys with rows behind the last load's position, and the event before which hardly any row can win.

        A key stands there as often as it has such rows. The event is None where older rows must be looked at: a key has
        no put among its new rows. With it a load after a day's build reads that day's file alone, however long the
        history is.
        """
        import pyarrow as pa

        task = self._task

        def may_match(bounds_of: Any) -> bool:
            seq = bounds_of(SEQ)
            return self._in_range(bounds_of) and (seq is None or (seq[0] <= task.position and seq[1] > task.after))

        keys, parts = [], []
        for number, pieces in self._files.choose(may_match, holds=None):
            table, columns = self._narrow(number, pieces)
            is_new = columns[SEQ] > task.after
            keys.append(table.filter(pa.array(is_new)))
            parts.append({name: values[is_new] for name, values in columns.items()})
        if not sum(table.num_rows for table in keys):
            return pa.table({name: pa.array([]) for name in task.keys}), None
        touched = pa.concat_tables(keys)
        rows = _ranked(number_keys([touched[name] for name in task.keys]), parts)
        won, gone = choose_winners(rows)
        return touched, None if len(gone) else int(rows.event[won].min())

    def rows(self, touched: "pa.Table | None", since: int | None) -> "tuple[Ints, Ranked]":
        """Address, and what ranks it, of each row that may count.

        touched: keys that matter; None: all do. since: rows of earlier events may be left out.
        """
        import pyarrow as pa

        task = self._task
        known = None if touched is None else sorted(set(map(plain, touched[task.keys[0]].to_pylist())))

        def may_match(bounds_of: Any) -> bool:
            seq = bounds_of(SEQ)
            if not self._in_range(bounds_of) or (seq is not None and seq[0] > task.position):
                return False
            event = bounds_of(EVENT)
            if since is not None and event is not None and event[1] < since:
                return False
            bounds = bounds_of(task.keys[0]) if known is not None and self._range.names else None
            if bounds is None or known is None:
                return True
            place = bisect_left(known, bounds[0])
            return place < len(known) and bool(known[place] <= bounds[1])

        parts = [self._narrow(number, pieces) for number, pieces in self._files.choose(may_match, holds=None)]
        keys = [table.select(list(task.keys)) for table, _ in parts]
        first = 0
        if touched is not None:
            first = touched.num_rows
            keys.insert(0, touched)
        if not parts:
            empty = np.empty(0, np.int64)
            return empty, Ranked(codes=empty, event=empty, interval=empty, created=empty, seq=empty, is_put=empty > 0)
        whole = pa.concat_tables(keys)
        codes = number_keys([whole[name] for name in task.keys])
        rows = _ranked(codes[first:], [part for _, part in parts])
        addresses = np.concatenate([part["address"] for _, part in parts])
        if touched is None:
            return addresses, rows
        counts = np.isin(rows.codes, np.unique(codes[:first]))
        return addresses[counts], rows.where(counts)

    def values(self, addresses: "Ints", is_gone: "Flags") -> "Iterator[pa.Table]":
        """The rows at ascending addresses; is_gone: beside each, whether its key is to be deleted."""
        task = self._task
        others = (EVENT, CREATED, *task.features)
        if task.only_keys:
            others = () if task.expiry is None else (EVENT,)
        at = 0
        for part in self._files.take_at(addresses, [*task.keys, *others]):
            yield self._finish(part, is_gone[at : at + part.num_rows])
            at += part.num_rows

    def _finish(self, table: "pa.Table", is_gone: "Flags") -> "pa.Table":
        """The rows with the columns that tell a store what to do with them."""
        import pyarrow as pa

        seconds = pa.nulls(table.num_rows, pa.int32())
        if self._task.expiry is not None:
            left = self._task.expiry.seconds_left(micros_of(table[EVENT]))
            is_gone = is_gone | (left <= 0)
            seconds = pa.array(np.minimum(left, MAX_TTL_SECONDS).astype(np.int32), mask=left > MAX_TTL_SECONDS)
        if self._task.only_keys:
            return table.select(list(self._task.keys)).append_column(DELETE, pa.array(is_gone))
        return table.append_column(DELETE, pa.array(is_gone)).append_column(TTL_SECONDS, seconds)

    def _in_range(self, bounds_of: Any) -> bool:
        first = self._task.keys[0]
        return self._range.may_hold(first, bounds_of(first))

    def _narrow(self, number: int, pieces: Sequence[Piece]) -> "tuple[pa.Table, dict[str, Ints]]":
        """The keys of a file's rows that are in the range, and beside them the numbers that rank them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        task = self._task
        constants = {name: constant_of(pieces, name) for name in (EVENT, CREATED, INTERVAL, SEQ, OP)}
        names = [*task.keys, *(name for name, value in constants.items() if value is None)]
        table = self._files.read(number, pieces, names)
        columns: dict[str, Ints] = {
            name: micros_of(table[name]) if value is None else np.full(table.num_rows, value, np.int64)
            for name, value in constants.items()
            if name != OP
        }
        if constants[OP] is None:
            columns[OP] = pc.equal(table[OP], PUT).cast(pa.int64()).to_numpy()
        else:
            columns[OP] = np.full(table.num_rows, constants[OP] == PUT, np.int64)
        columns["address"] = addresses_of(number, pieces)
        inside = self._range.select(table)
        if int(columns[SEQ].max(initial=0)) > task.position:
            # After compaction one file holds rows of many commits.
            seen = columns[SEQ] <= task.position
            inside = seen if inside is None else inside & seen
        table = table.select(list(task.keys))
        if inside is None or inside.all():
            return table, columns
        return table.filter(pa.array(inside)), {name: values[inside] for name, values in columns.items()}


def _ranked(codes: "Ints", parts: "Sequence[dict[str, Ints]]") -> Ranked:
    columns = {name: np.concatenate([part[name] for part in parts]) for name in (EVENT, INTERVAL, CREATED, SEQ, OP)}
    return Ranked(
        codes=codes,
        event=columns[EVENT],
        interval=columns[INTERVAL],
        created=columns[CREATED],
        seq=columns[SEQ],
        is_put=columns[OP].astype(bool),
    )
