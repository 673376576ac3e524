"""Inside a task: event rows of Parquet row groups, each told its bucket by its key."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.engine.windows.arrays import Ints
from features.engine.windows.buckets import pack_table
from features.engine.windows.files import UNITS, EventFiles
from features.engine.windows.plan import TIMES, WindowPlan
from features.errors import SourceError
from features.stores.filesystems import OpenFolder, is_local

Words = npt.NDArray[np.uint64]
# The increment and the multipliers of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def read_packed(
    batches: Iterator[pa.RecordBatch], *, files: EventFiles, plan: WindowPlan, buckets: int, tasks: int
) -> Iterator[pa.RecordBatch]:
    """The rows of every `tasks`-th row group, packed by bucket.

    Args:
        batches: tell the task's number, 0 to tasks - 1.
    Raises: SourceError: a file cannot be read.
    """
    folder = OpenFolder.open(files.root)
    named = {name: name for name in (*plan.keys, *plan.own)} | {a: name for a, (name, _) in plan.columns.items()}
    times = [name for name in (files.event, files.created) if name is not None]
    columns = list(dict.fromkeys([*named.values(), *times]))
    for batch in batches:
        for number in batch.column(0).to_pylist():
            for read in _read(folder, files.groups[number::tasks], columns):
                table = _travelling(read, files, named, times)
                if len(table):
                    yield from pack_table(table, bucket_of(table.select(list(plan.keys)), buckets), buckets=buckets)


def bucket_of(keys: pa.Table, buckets: int) -> Ints:
    """A bucket for each row, the same for equal keys, whatever file they are in."""
    mixed = np.zeros(len(keys), np.uint64)
    for column in keys.columns:
        mixed = _mix(mixed * _STEP + _words(column.combine_chunks()))
    return ((mixed >> np.uint64(32)) % np.uint64(buckets)).astype(np.int64)


def _read(folder: OpenFolder, groups: Sequence[tuple[str, int]], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Row groups, one at a time; of a file that several lie in, the footer is read once."""
    # Small reads from far away are joined; on a local disk that only copies.
    far = not is_local(folder.path)
    for path, numbers in groupby(groups, itemgetter(0)):
        metadata = None
        for _, group in numbers:
            # Opened for each: a file that is open keeps what was read ahead of it.
            try:
                with pq.ParquetFile(
                    folder.locate(path), filesystem=folder.filesystem, metadata=metadata, pre_buffer=far
                ) as file:
                    metadata = file.metadata
                    table = file.read_row_group(group, columns=list(columns), use_threads=False)
            except (OSError, pa.ArrowException) as exc:
                raise SourceError(f"{path} cannot be read: {exc}; land it again, then rerun") from exc
            yield table


def _travelling(table: pa.Table, files: EventFiles, named: Mapping[str, str], times: Sequence[str]) -> pa.Table:
    """The rows of a row group that were available in the range, under the names by which they travel."""
    event, *created = (_micros(table[name]) for name in times)
    columns = {alias: table[name] for alias, name in named.items()} | {TIMES[0]: pa.array(event)}
    available = event
    if created:
        available = np.maximum(event, created[0])
        columns[TIMES[1]] = pa.array(available)
    moved = pa.table(columns)
    inside_range = (available >= files.since) & (available < files.until)
    return moved if inside_range.all() else moved.filter(pa.array(inside_range))


def _micros(column: pa.ChunkedArray) -> Ints:
    values: Ints = column.combine_chunks().view(pa.int64()).to_numpy(zero_copy_only=False)
    return values * UNITS[column.type.unit]


def _words(array: pa.Array) -> Words:
    """A 64-bit word for each value, equal for equal ones; null is a value."""
    kind = array.type
    if pa.types.is_integer(kind) and not array.null_count:
        whole: Words = array.cast(pa.int64()).to_numpy().view(np.uint64)
        return whole
    encoded = array.dictionary_encode()
    different = encoded.dictionary
    words: Words
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        words = _of_bytes(different)
    elif pa.types.is_integer(kind):
        words = different.cast(pa.int64()).to_numpy().view(np.uint64)
    elif pa.types.is_decimal(kind):
        words = _of_bytes(different.cast(pa.string()))
    elif pa.types.is_boolean(kind):
        words = different.cast(pa.uint8()).to_numpy().astype(np.uint64)
    else:
        words = different.view(pa.int32() if pa.types.is_date32(kind) else pa.int64()).to_numpy().astype(np.uint64)
    # The last one stands for null.
    words = np.append(words, _STEP)
    places: Ints = pc.fill_null(encoded.indices, len(words) - 1).to_numpy()
    return words[places]


def _of_bytes(array: pa.Array) -> Words:
    """Hashes of texts: the sum of each one's bytes by powers of an odd number, which needs no loop over texts."""
    _, offsets, held = array.buffers()
    bounds = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    if held is None or not len(array):
        return np.zeros(len(array), np.uint64)
    text = np.frombuffer(held, np.uint8)[bounds[0] : bounds[-1]].astype(np.uint64) + np.uint64(1)
    bounds = bounds - bounds[0]
    lengths = np.diff(bounds)
    # Each byte by the power of its place in its own text.
    place = np.arange(len(text), dtype=np.int64) - np.repeat(bounds[:-1], lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, _FIRST), dtype=np.uint64)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(text * powers[place], dtype=np.uint64)])
    return _mix((sums[bounds[1:]] - sums[bounds[:-1]]).astype(np.uint64))


def _mix(words: Words) -> Words:
    """SplitMix64's finalizer."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
