"""The answer to an online request."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from features.core.dtypes import DType
from features.core.times import from_micros

if TYPE_CHECKING:
    import pandas as pd

_PANDAS = {
    "bool": "boolean", "int32": "Int32", "int64": "Int64", "string": "string", "timestamp": "datetime64[us, UTC]",
}  # fmt: skip


class Status(StrEnum):
    """What is known of one value. Only PRESENT comes with one."""

    PRESENT = "PRESENT"
    NULL = "NULL"  # the key's row holds no value for the feature
    NOT_FOUND = "NOT_FOUND"  # there is no row for the key
    EXPIRED = "EXPIRED"  # the key's row is older than the view's lookback
    UNAVAILABLE = "UNAVAILABLE"  # it could not be read, and the request allowed a partial answer


class EventTimes(Mapping[str, Sequence[datetime | None]]):
    """Columns of microseconds since 1970 UTC, seen as instants. They are made when looked at: few callers do."""

    def __init__(self, micros: Mapping[str, Sequence[int | None]]) -> None:
        self._micros = micros

    def __getitem__(self, column: str) -> list[datetime | None]:
        return [None if micros is None else from_micros(micros) for micros in self._micros[column]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._micros)

    def __len__(self) -> int:
        return len(self._micros)

    def micros(self, column: str) -> Sequence[int | None]:
        """A column as it was read."""
        return self._micros[column]


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineResponse:
    """Columns of values, one per entity row, in the order of the entity rows.

    entities: the columns of the entity rows as they were given, in the order of the first row; a row without one of
        them has None.
    features: the requested features, in the order asked; None, or the default asked for, unless PRESENT.
    statuses: beside each value its status, as one of the words of `Status`.
    event_timestamps: beside each value the event time of its row, in UTC, also of one that has expired; None where
        there is no row.
    types: the type of each column; absent for columns that are neither join key nor feature.
    views: the view of each feature's column, by name.
    versions: by view the versions that were read: one, or live and candidate while a canary runs.
    arms: by view in canary, beside each entity row which arm answered it: `live`, or `candidate`.
    errors: by `view@version` why it could not be read; empty, unless the request allowed a partial answer.
    """

    entities: Mapping[str, Sequence[Any]]
    features: Mapping[str, Sequence[Any]]
    statuses: Mapping[str, Sequence[str]]
    event_timestamps: Mapping[str, Sequence[datetime | None]]
    types: Mapping[str, DType]
    views: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    arms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_partial(self) -> bool:
        """Whether some of it could not be read."""
        return bool(self.errors)

    def to_dict(self) -> dict[str, list[Any]]:
        """Column to values: the entity rows' columns first, then the features. The lists are the caller's own."""
        return {name: list(values) for name, values in (*self.entities.items(), *self.features.items())}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dict per entity row, with the columns of `to_dict`."""
        columns = self.to_dict()
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))

    def to_pandas(self) -> "pd.DataFrame":
        """A frame with the columns of `to_dict`: nullable dtypes for join keys and features, objects for the rest.

        NaN stays apart from null: a null is `pandas.NA`, and a NaN that was computed stays NaN.
        """
        import pandas as pd

        columns = self.to_dict()
        index = pd.RangeIndex(len(next(iter(columns.values()), [])))
        series = {name: _to_series(values, self.types.get(name), index) for name, values in columns.items()}
        return pd.DataFrame(series, index=index)


def _to_series(values: Sequence[Any], dtype: DType | None, index: "pd.RangeIndex") -> "pd.Series[Any]":
    import numpy as np
    import pandas as pd

    if dtype is not None and dtype.is_float:
        # pandas' own conversion takes NaN for a null.
        numbers = np.array([0.0 if value is None else value for value in values], dtype=dtype.kind)
        masked = pd.arrays.FloatingArray(numbers, np.array([value is None for value in values], dtype=bool))
        return pd.Series(masked, index=index)
    return pd.Series(list(values), index=index, dtype=_PANDAS.get(dtype.kind, "object") if dtype else "object")


def columns_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows turned into columns, in the order in which these first occur; None where a row lacks one."""
    held = list(rows)
    names = dict.fromkeys(name for row in held for name in row)
    return {name: [row.get(name) for row in held] for name in names}
