"""One task's rows: sorted, cut into chunks that bound memory whatever a key's size, and handed to the kernel."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.engine.windows.arrays import Ints, Mask, Queries, Rows
from features.engine.windows.kernel import aggregate
from features.engine.windows.plan import TIMES, WindowPlan
from features.engine.windows.ticks import active_runs
from features.stores.log_state import AVAILABLE, CREATED, EVENT

# Rows among which windows are computed at once: the kernel's scratch and the answers are many times as wide as a row.
_CHUNK = 250_000
_MICROS = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sorted:
    """Rows sorted by (key, event, available). codes: one number per key, from 0."""

    codes: Ints
    event: Ints
    available: Ints
    table: pa.Table

    def __len__(self) -> int:
        return len(self.codes)

    def key_range(self, code: int) -> tuple[int, int]:
        """Where the rows of a key begin and end."""
        return int(np.searchsorted(self.codes, code, "left")), int(np.searchsorted(self.codes, code, "right"))

    def slice(self, start: int, end: int, plan: WindowPlan) -> Rows:
        """A contiguous part, as the kernel takes it."""
        part = self.table.slice(start, end - start)
        return Rows(
            keys=self.codes[start:end],
            event=self.event[start:end],
            available=self.available[start:end],
            columns={name: _whole(part[name]) for name in plan.columns},
            filters={name: _whole(part[name]).to_numpy(zero_copy_only=False) for name in plan.filters},
        )


def window_batches(table: pa.Table, plan: WindowPlan) -> Iterator[pa.RecordBatch]:
    """The plan's output over all rows of some keys.

    Args:
        table: every row of each of its keys that a window reaches, in any order: keys, `TIMES` (without the second one
            rows are available at their event), own, columns and filters under the plan's names; created_timestamp,
            where rows have one to pass on.
    """
    if TIMES[1] not in table.column_names:
        table = table.append_column(TIMES[1], table[TIMES[0]])
    timeless = pc.or_(*(pc.is_null(table[name]) for name in TIMES))
    if pc.any(timeless).as_py():
        yield from _without_times(table.filter(timeless), plan)
        table = table.filter(pc.invert(timeless))
    if table.num_rows == 0:
        return
    if plan.ticks:
        yield from _at_ticks(table, plan)
    else:
        yield from _at_events(table, plan)


def _at_events(table: pa.Table, plan: WindowPlan) -> Iterator[pa.RecordBatch]:
    codes, event, available = _numbers(table, plan)
    if plan.since is not None:
        # A key without a row since then has nothing to compute, and its history is not sorted for it.
        wanted = np.zeros(int(codes.max()) + 1, bool)
        wanted[codes[available >= plan.since]] = True
        kept = wanted[codes]
        if not kept.all():
            table, codes, event, available = table.filter(pa.array(kept)), codes[kept], event[kept], available[kept]
    rows = _sort(table, codes, event, available)
    asked = np.ones(len(rows), bool) if plan.since is None else rows.available >= plan.since
    created = [CREATED] if CREATED in table.column_names and table[CREATED].null_count < len(table) else []
    if not plan.own and not created:
        # Rows that are equal in all that a window sees are one.
        asked[1:] &= _differs(rows.codes) | _differs(rows.event) | _differs(rows.available)
    for chunk in _groups(np.flatnonzero(asked)):
        first, last = int(chunk[0]), int(chunk[-1])
        begin, _ = rows.key_range(int(rows.codes[first]))
        begin += int(np.searchsorted(rows.event[begin:first], rows.event[first] - plan.longest_us, "right"))
        _, end = rows.key_range(int(rows.codes[last]))
        end = last + int(np.searchsorted(rows.event[last:end], rows.event[last], "right"))
        queries = Queries(keys=rows.codes[chunk], time=rows.event[chunk], visible=rows.available[chunk], closed="right")
        answers = aggregate(rows.slice(begin, end, plan), queries, list(plan.specs.values()))
        yield _batch(
            plan,
            {name: rows.table[name].take(pa.array(chunk)) for name in (*plan.keys, *created, *plan.own)},
            event=rows.event[chunk],
            available=rows.available[chunk],
            answers=answers,
        )


def _at_ticks(table: pa.Table, plan: WindowPlan) -> Iterator[pa.RecordBatch]:
    rows = _sort(table, *_numbers(table, plan))
    ticks = np.array(plan.ticks, np.int64)
    runs = active_runs(rows.codes, rows.event, rows.available, ticks=ticks, longest_us=plan.longest_us)
    # By the rows of their keys: a day's tick may see many more rows than there are keys.
    start = 0
    for group in _groups(np.searchsorted(rows.codes, runs.codes, "left")):
        some = runs.slice(start, start + len(group))
        start += len(group)
        for codes, tick in some.points(_CHUNK):
            time = ticks[tick]
            begin, end = rows.key_range(int(codes[0]))
            begin += int(np.searchsorted(rows.event[begin:end], time[0] - plan.longest_us, "left"))
            _, end = rows.key_range(int(codes[-1]))
            answers = aggregate(
                rows.slice(begin, end, plan), Queries.at_ticks(keys=codes, time=time), list(plan.specs.values())
            )
            of_key = pa.array(np.searchsorted(rows.codes, codes, "left"))
            yield _batch(
                plan,
                {name: rows.table[name].take(of_key) for name in plan.keys},
                event=time,
                available=time - 1,
                answers=answers,
            )


def _groups(positions: Ints) -> Iterator[Ints]:
    """The positions of rows, ascending, in groups that each lie within as many rows as are computed at once."""
    if len(positions):
        cuts = np.flatnonzero(np.diff(positions // _CHUNK)) + 1
        yield from np.split(positions, cuts)


def _batch(
    plan: WindowPlan,
    columns: Mapping[str, pa.ChunkedArray],
    *,
    event: Ints,
    available: Ints,
    answers: list[pa.Array],
) -> pa.RecordBatch:
    found = {
        **columns,
        EVENT: pa.array(event).cast(_MICROS),
        AVAILABLE: pa.array(available).cast(_MICROS),
        **dict(zip(plan.specs, answers, strict=True)),
    }
    found.setdefault(CREATED, pa.nulls(len(event), _MICROS))
    schema = plan.arrow_schema
    arrays = [_whole(found[field.name]) for field in schema]
    arrays = [a if a.type == field.type else a.cast(field.type) for a, field in zip(arrays, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _without_times(table: pa.Table, plan: WindowPlan) -> Iterator[pa.RecordBatch]:
    """Rows that no window can be computed for, with what they have and null for the rest."""
    schema = plan.arrow_schema
    times = dict(zip((EVENT, AVAILABLE), TIMES, strict=True))
    named = {name: table[times.get(name, name)] for name in schema.names if times.get(name, name) in table.column_names}
    columns = [named[f.name].cast(f.type) if f.name in named else pa.nulls(len(table), f.type) for f in schema]
    yield from pa.table(columns, schema=schema).to_batches()


def _numbers(table: pa.Table, plan: WindowPlan) -> tuple[Ints, Ints, Ints]:
    """A code for each key, dense from 0, and the two times."""
    codes: Ints | None = None
    for name in plan.keys:
        mine, count = _encode(_whole(table[name]))
        codes = mine if codes is None else _encode(pa.array(codes * count + mine))[0]
    event, available = (table[name].to_numpy() for name in TIMES)
    return codes if codes is not None else np.zeros(len(table), np.int64), event, available


def _encode(array: pa.Array) -> tuple[Ints, int]:
    """The number of each value among the different ones, null being one; and how many there are."""
    encoded = array.dictionary_encode()
    count = len(encoded.dictionary)
    return pc.fill_null(encoded.indices, count).to_numpy().astype(np.int64), count + 1


def _sort(table: pa.Table, codes: Ints, event: Ints, available: Ints) -> _Sorted:
    order = _order(codes, event, available)
    return _Sorted(
        codes=codes[order],
        event=event[order],
        available=available[order],
        table=table.drop_columns(list(TIMES)).take(pa.array(order)),
    )


def _order(codes: Ints, event: Ints, available: Ints) -> Ints:
    """The order by (code, event, available); rows that are equal in all three stand anyhow."""
    if not len(codes):
        return np.zeros(0, np.int64)
    earliest = int(event.min())
    span = int(event.max()) - earliest + 1
    if (int(codes.max()) + 1) * span >= 1 << 63:
        return np.lexsort((available, event, codes))
    # One number says key and event, and sorts many times as fast as two.
    place = codes * span + (event - earliest)
    order = np.argsort(place)
    tied = ~_differs(place[order])
    if np.any(tied & (np.diff(available[order]) < 0)):
        order = np.lexsort((available, place))
    return order


def _differs(values: Ints) -> Mask:
    """Whether each value but the first is another than the one before it."""
    return np.not_equal(values[1:], values[:-1])


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
