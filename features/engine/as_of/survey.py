"""What is known of a spine before it is joined: how many rows, over what time, and where its keys lie."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.core.dtypes import DType
from features.stores.log_state import EVENT

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# Rows that each task gives: enough of them to cut a spine into even ranges.
_SAMPLE = 1_000
_ROWS, _NULLS, _FIRST, _LAST, _WEIGHT = "_rows", "_nulls", "_first", "_last", "_weight"


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """A spine, counted.

    rows: all of them. null_times: those without event_timestamp. first, last: its least and greatest event_timestamp in
    microseconds, None without rows. sample: rows of keys, event_timestamp and `_weight`, the rows each stands for.
    """

    rows: int
    null_times: int
    first: int | None
    last: int | None
    sample: "pa.Table"

    def points(self, keys: Sequence[str]) -> list[tuple[tuple[Any, ...], float]]:
        """The sample's (key..., event_timestamp) without nulls, sorted, each with its weight; times in microseconds."""
        columns = [_plain(self.sample[name]) for name in (*keys, EVENT)]
        weights = self.sample[_WEIGHT].to_pylist()
        pairs = zip(zip(*columns, strict=True), weights, strict=True)
        return sorted((pair for pair in pairs if None not in pair[0]), key=lambda pair: pair[0])


def survey_table(table: "pa.Table", keys: Sequence[str]) -> Survey:
    """The survey of a spine that is at hand."""
    import pyarrow as pa

    parts = list(_Surveyor(keys=tuple(keys), sample=_SAMPLE)(iter(table.to_batches())))
    return _total(pa.Table.from_batches(parts), keys)


def survey_frame(frame: "DataFrame", keys: Mapping[str, DType]) -> Survey:
    """The survey of a spine in Spark: one pass over its keys and times, in the executors."""
    from pyspark.sql import functions as F

    narrow = frame.select(*(F.col(f"`{key}`") for key in keys), EVENT)
    schema = ", ".join(
        [
            *(f"`{key}` {dtype.spark}" for key, dtype in keys.items()),
            f"{EVENT} timestamp, {_WEIGHT} double, {_ROWS} bigint, {_NULLS} bigint, {_FIRST} bigint, {_LAST} bigint",
        ]
    )
    return _total(narrow.mapInArrow(_Surveyor(keys=tuple(keys), sample=_SAMPLE), schema).toArrow(), list(keys))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Surveyor:
    """Counts batches and keeps some rows; the counts stand in the first row that it yields."""

    keys: tuple[str, ...]
    sample: int

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        random = np.random.default_rng(0)
        rows = nulls = 0
        first: int | None = None
        last: int | None = None
        kept: list[pa.Table] = []
        for batch in batches:
            if not batch.num_rows:
                continue
            times = batch.column(batch.schema.get_field_index(EVENT))
            rows += batch.num_rows
            nulls += times.null_count
            ends = pc.min_max(times.cast(pa.int64()))
            if ends["min"].is_valid:
                first = min(ends["min"].as_py(), first) if first is not None else ends["min"].as_py()
                last = max(ends["max"].as_py(), last) if last is not None else ends["max"].as_py()
            chosen = np.sort(random.choice(batch.num_rows, min(batch.num_rows, self.sample), replace=False))
            part = pa.Table.from_batches([batch]).select([*self.keys, EVENT]).take(pa.array(chosen))
            weight = pa.array(np.full(len(chosen), batch.num_rows / len(chosen)))
            kept.append(part.append_column(_WEIGHT, weight))
            # Later batches count as much as earlier ones: both are thinned alike.
            if sum(part.num_rows for part in kept) > 4 * self.sample:
                kept = [_thinned(pa.concat_tables(kept), self.sample, random)]
        if not rows:
            return
        table = _thinned(pa.concat_tables(kept), self.sample, random)
        for name, value in ((_ROWS, rows), (_NULLS, nulls), (_FIRST, first), (_LAST, last)):
            table = table.append_column(name, pa.array([value] + [None] * (table.num_rows - 1), pa.int64()))
        yield from table.combine_chunks().to_batches()


def _thinned(table: "pa.Table", size: int, random: Any) -> "pa.Table":
    """About `size` rows, each as likely as its weight; together they weigh what the table does."""
    import numpy as np
    import pyarrow as pa

    if table.num_rows <= size:
        return table
    weights = table[_WEIGHT].to_numpy()
    chosen = np.sort(random.choice(table.num_rows, size, replace=False, p=weights / weights.sum()))
    thin = table.take(pa.array(chosen))
    place = thin.schema.get_field_index(_WEIGHT)
    return thin.set_column(place, _WEIGHT, pa.array(np.full(size, weights.sum() / size)))


def _plain(column: "pa.ChunkedArray") -> list[Any]:
    import pyarrow as pa

    return list((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())


def _total(table: "pa.Table", keys: Sequence[str]) -> Survey:
    import pyarrow.compute as pc

    def of(name: str, combine: Any) -> int | None:
        found: int | None = combine(table[name]).as_py()
        return found

    return Survey(
        rows=of(_ROWS, pc.sum) or 0,
        null_times=of(_NULLS, pc.sum) or 0,
        first=of(_FIRST, pc.min),
        last=of(_LAST, pc.max),
        sample=table.select([*keys, EVENT, _WEIGHT]),
    )
