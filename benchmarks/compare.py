"""Whether two contenders gave the same rows: by row_id, every column, to the bit, nulls included."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far a result is from the one it is compared with.

    missing: rows that it lacks. extra: rows beyond the first of a row_id, or of an unknown one. differing: rows of a
    row_id that both have, with any other value. first: a row_id that is concerned, or None.
    """

    missing: int
    extra: int
    differing: int
    first: int | None

    @property
    def rows(self) -> int:
        """All rows that are not as wanted."""
        return self.missing + self.extra + self.differing

    def __bool__(self) -> bool:
        return self.rows > 0

    def __str__(self) -> str:
        return (
            f"{self.missing} rows missing, {self.extra} too many, {self.differing} with other values; "
            f"see row_id {self.first}"
        )


def read(path: str | Path, columns: Sequence[str]) -> pa.Table:
    """A contender's result, a Parquet file or a folder of them. Raises: KeyError: it lacks a column."""
    return ds.dataset(str(path), format="parquet").to_table(columns=list(columns))


def difference(wanted: pa.Table, found: pa.Table) -> Difference:
    """What of `found` is not as in `wanted`, whose row_id are unique."""
    ids, theirs = wanted["row_id"].to_numpy(), found["row_id"].to_numpy()
    first_ids, first_rows = np.unique(theirs, return_index=True)
    both, mine, at = np.intersect1d(ids, first_ids, assume_unique=True, return_indices=True)
    chosen = found.select(wanted.column_names).take(pa.array(first_rows[at]))
    unequal = differing_rows(wanted.take(pa.array(mine)), chosen)
    missing = np.setdiff1d(ids, both)
    # Every row beyond the first of its row_id, and all of a row_id that nobody asked for.
    surplus = np.ones(len(theirs), bool)
    surplus[first_rows[at]] = False
    concerned = np.concatenate([missing, theirs[surplus], both[unequal]])
    return Difference(
        missing=len(missing),
        extra=int(surplus.sum()),
        differing=int(unequal.sum()),
        first=int(concerned.min()) if len(concerned) else None,
    )


def differing_rows(left: pa.Table, right: pa.Table) -> "NDArray[np.bool_]":
    """Which rows of two tables of the same rows, in the same order, differ in any column of the left one."""
    differs = np.zeros(left.num_rows, bool)
    for name in left.column_names:
        mine, theirs = _comparable(left[name]), _comparable(right[name])
        same = pc.or_(pc.fill_null(pc.equal(mine, theirs), False), pc.and_(mine.is_null(), theirs.is_null()))
        differs |= ~same.to_numpy().astype(bool)
    return differs


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats as the integers of their bits, so that NaN equals NaN; instants as microseconds; text as one type."""
    if pa.types.is_floating(column.type):
        integers = {32: pa.int32(), 64: pa.int64()}[column.type.bit_width]
        return pa.chunked_array([chunk.view(integers) for chunk in column.chunks], integers)
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.int64()) if pa.types.is_integer(column.type) else column
