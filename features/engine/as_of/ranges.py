"""Cuts a spine into ranges of (key, time) of about equal weight, one for each task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.engine.as_of.survey import Survey
from features.stores.log_state import EVENT

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

# What a task holds of spine and answer at once; what it holds of the log does not depend on the spine.
_CHUNK_BYTES = 256 << 20
_LEAST_CHUNK, _MOST_CHUNK = 4_096, 1 << 20
# Fewer rows than these are not worth a task of their own.
_ROWS_PER_TASK = 25_000
# More ranges than tasks at a time even out what a sample gets wrong; each costs the row groups at its edges.
_RANGES_PER_CORE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Cuts:
    """Where ranges begin: each (key..., event_timestamp) but the first range's, times in microseconds."""

    keys: tuple[str, ...]
    starts: tuple[tuple[Any, ...], ...]

    @property
    def tasks(self) -> int:
        """How many ranges there are."""
        return len(self.starts) + 1


def chunk_rows(row_bytes: int) -> int:
    """How many rows of the spine a task joins at a time, if one with its answer takes so many bytes."""
    return max(_LEAST_CHUNK, min(_MOST_CHUNK, _CHUNK_BYTES // max(1, row_bytes)))


def cut(survey: Survey, keys: Sequence[str], *, cores: int, row_bytes: int) -> Cuts:
    """Ranges of equal numbers of spine rows: a key with many of them is cut by time.

    Args:
        cores: tasks that run at a time. row_bytes: of one row of spine and answer.
    """
    wanted = -(-survey.rows // chunk_rows(row_bytes))
    wanted = max(wanted, min(cores * _RANGES_PER_CORE, -(-survey.rows // _ROWS_PER_TASK)))
    points = survey.points(keys)
    total = sum(weight for _, weight in points)
    starts: list[tuple[Any, ...]] = []
    passed = 0.0
    for point, weight in points:
        if passed >= total * (len(starts) + 1) / wanted and (not starts or point > starts[-1]):
            starts.append(point)
        passed += weight
    return Cuts(keys=tuple(keys), starts=tuple(starts[: max(0, wanted - 1)]))


def distribute(frame: "DataFrame", cuts: Cuts) -> "DataFrame":
    """The frame with each range in a partition of its own; rows without a key are spread over all of them.

    A row's partition depends on the row alone, so that a task that is run again sees the rows that it saw before.
    """
    from pyspark.sql import functions as F

    if cuts.tasks == 1:
        # Not coalesce: what the frame is computed from need not fit one task.
        return frame.repartition(1)
    parts = [*cuts.keys, EVENT]
    kinds = dict(frame.dtypes)

    def before(start: tuple[Any, ...]) -> "Column":
        result = F.lit(False)
        for name, value in zip(reversed(parts), reversed(start), strict=True):
            column = F.col(f"`{name}`")
            literal = F.lit(value).cast("bigint" if kinds[name] == "timestamp" else kinds[name])
            literal = F.timestamp_micros(literal) if kinds[name] == "timestamp" else literal
            result = (column < literal) | ((column == literal) & result)
        return result

    def choose(low: int, high: int) -> "Column":
        # A balanced tree: a row is compared log2(n) times.
        if low == high:
            return F.lit(low)
        middle = (low + high + 1) // 2
        return F.when(before(cuts.starts[middle - 1]), choose(low, middle - 1)).otherwise(choose(middle, high))

    known = F.lit(True)
    for key in cuts.keys:
        known = known & F.col(f"`{key}`").isNotNull()
    # All columns: rows without a key are often of few times, and a hash of these alone would leave them to few tasks.
    whole = [F.col(f"`{field.name}`") for field in frame.schema if _is_hashable(field.dataType)]
    spread = F.pmod(F.xxhash64(*whole), F.lit(cuts.tasks)).cast("int")
    placed = F.when(known, choose(0, cuts.tasks - 1)).otherwise(spread)
    return frame.repartitionById(cuts.tasks, placed)


def _is_hashable(kind: "DataType") -> bool:
    """Whether Spark has a hash of this type's values: not of maps, variants and shapes, nor of what holds them."""
    from pyspark.sql import types

    if isinstance(kind, types.ArrayType):
        return _is_hashable(kind.elementType)
    if isinstance(kind, types.StructType):
        return all(_is_hashable(field.dataType) for field in kind)
    return isinstance(kind, types.AtomicType) and not isinstance(kind, (types.VariantType, types.SpatialType))
