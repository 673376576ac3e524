"""What goes into the window kernel: rows, the points at which windows end, and which aggregates are wanted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from features.core.aggregates import check_arguments, output_dtype
from features.core.dtypes import DType
from features.errors import DefinitionError

if TYPE_CHECKING:
    import pyarrow as pa

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
MAX_WIDTH_US = 10_000 * 366 * 86_400_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Event rows of many keys, sorted by (keys, event, available); ties in all three may stand in any order.

    keys: one code per join key, the same for equal keys, in any dense or sparse int64 numbering. event, available:
    int64 microseconds, never null. columns: name -> Arrow array of the rows' length, nulls allowed. filters: name ->
    which rows count, for the aggregates that name it.
    Raises: ValueError: lengths differ, or the rows are not sorted.
    """

    keys: Ints
    event: Ints
    available: Ints
    columns: "Mapping[str, pa.Array]"
    filters: Mapping[str, Mask] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_lengths("rows", len(self.keys), {"event": self.event, "available": self.available})
        _check_lengths("rows", len(self.keys), {**self.columns, **self.filters})
        if not _is_sorted(self.keys, self.event, self.available):
            raise ValueError("rows must be sorted by (keys, event, available)")

    def __len__(self) -> int:
        return len(self.keys)

    def runs(self) -> Ints:
        """Ascending numbers, equal for rows that tie in (keys, event, available)."""
        steps = np.zeros(len(self), dtype=np.bool_)
        for column in (self.keys, self.event, self.available):
            steps[1:] |= column[1:] != column[:-1]
        return np.cumsum(steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Queries:
    """The points at which windows end, sorted by (keys, time). Keys without rows are allowed: their windows are empty.

    A row counts at a point where its key is the point's, its event lies in the window, and available <= visible.
    closed: "right" for (time - width, time], "left" for [time - width, time).
    Raises: ValueError: lengths differ, or the points are not sorted.
    """

    keys: Ints
    time: Ints
    visible: Ints
    closed: Literal["left", "right"]

    def __post_init__(self) -> None:
        _check_lengths("queries", len(self.keys), {"time": self.time, "visible": self.visible})
        if not _is_sorted(self.keys, self.time):
            raise ValueError("queries must be sorted by (keys, time)")

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def at_rows(cls, rows: Rows) -> "Queries":
        """At every row's own event: (t - w, t], over rows available at or before that row was."""
        return cls(keys=rows.keys, time=rows.event, visible=rows.available, closed="right")

    @classmethod
    def at_ticks(cls, *, keys: Ints, time: Ints) -> "Queries":
        """At ticks of a schedule: [t - w, t), over rows available before t."""
        return cls(keys=keys, time=time, visible=time - 1, closed="left")


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowSpec:
    """One aggregate over one window: `function` of `column`, over `width_us` microseconds, where `where` holds.

    column: of Rows.columns, or None to count rows. dtype: the column's type, None without a column. where: of
    Rows.filters, or None for all rows. n and q: the arguments of last_n and of percentile.
    Raises: DefinitionError: the function is unknown, or does not take such a column or argument.
    """

    function: str
    width_us: int
    column: str | None = None
    dtype: DType | None = None
    where: str | None = None
    n: int | None = None
    q: float | None = None

    def __post_init__(self) -> None:
        output_dtype(self.function, self.dtype)
        check_arguments(self.function, n=self.n, q=self.q)
        if (self.column is None) != (self.dtype is None):
            raise DefinitionError(f"{self.function}: a column needs its dtype, and no column has none")
        if not 0 < self.width_us <= MAX_WIDTH_US:
            raise DefinitionError(
                f"{self.function} of {self.column}: width_us must be between 1 and {MAX_WIDTH_US} (10,000 years), "
                f"got {self.width_us}"
            )

    @property
    def output_dtype(self) -> DType:
        """The type of the answers."""
        return output_dtype(self.function, self.dtype)


def _check_lengths(what: str, length: int, arrays: "Mapping[str, pa.Array | npt.NDArray[np.generic]]") -> None:
    for name, array in arrays.items():
        if len(array) != length:
            raise ValueError(f"{what}: {name} has {len(array)} values, keys have {length}")


def _is_sorted(*columns: Ints) -> bool:
    """Whether rows ascend by the columns, the first one first."""
    tied: Mask | None = None
    for column in columns:
        before, after = column[:-1], column[1:]
        falls = before > after
        if bool(np.any(falls if tied is None else falls & tied)):
            return False
        same = before == after
        tied = same if tied is None else tied & same
    return True
