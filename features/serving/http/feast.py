"""Answers in the words of Feast's feature server, whose clients may stay as they are."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from features.core.dtypes import DType
from features.core.times import EPOCH, from_micros, to_micros
from features.serving.http.messages import FeastAnswer, FeastColumn, FeastMetadata
from features.serving.json_values import column_to_json
from features.serving.response import EventTimes, OnlineResponse

_STATUSES = {"PRESENT": "PRESENT", "NULL": "NULL_VALUE", "NOT_FOUND": "NOT_FOUND", "EXPIRED": "OUTSIDE_MAX_AGE"}
# Feast's requests allow no partial answer, so there is no other status.
_SECOND_MICROS = 1_000_000
_Item = TypeVar("_Item")


def to_feast(response: OnlineResponse) -> FeastAnswer:
    """The response as Feast answers: entity columns first, each PRESENT and of the epoch.

    Where there is no row, its event time is the epoch as well. A timestamp is a number of seconds since then.
    """
    columns = {**response.entities, **response.features}
    rows = len(next(iter(columns.values()), ()))
    times, statuses = _Texts(_time), _Texts(_STATUSES.__getitem__)
    no_times: Sequence[int | None] = [None] * rows
    present = ["PRESENT"] * rows
    results = [
        FeastColumn(
            values=_values(values, response.types.get(name)),
            statuses=statuses.column(response.statuses.get(name, present)),
            event_timestamps=times.column(_event_micros(response, name) or no_times),
        )
        for name, values in columns.items()
    ]
    return FeastAnswer(metadata=FeastMetadata(feature_names=list(columns)), results=results)


def read_feast_times(rows: Sequence[dict[str, Any]], types: Mapping[str, DType]) -> None:
    """Turns the timestamps of entity rows, which Feast's clients send as seconds, into instants, in place."""
    for name, dtype in types.items():
        if dtype.kind == "timestamp":
            for row in rows:
                if isinstance(row.get(name), int) and not isinstance(row[name], bool):
                    row[name] = _instant(row[name])


def _instant(seconds: int) -> datetime | int:
    try:
        return datetime.fromtimestamp(seconds, EPOCH.tzinfo)
    except (ValueError, OverflowError, OSError):
        # Beyond the years 1 to 9999 it stays a number, which is no timestamp, and is told to be none.
        return seconds


def _values(values: Sequence[Any], dtype: DType | None) -> Sequence[Any]:
    if dtype is not None and dtype.kind == "timestamp":
        return [None if value is None else _seconds(value) for value in values]
    return column_to_json(values, dtype)


def _seconds(instant: datetime) -> int | float:
    # A double holds the microseconds of all years that Feast can tell apart from each other.
    seconds, micros = divmod(to_micros(instant), _SECOND_MICROS)
    return seconds + micros / _SECOND_MICROS if micros else seconds


def _event_micros(response: OnlineResponse, column: str) -> Sequence[int | None]:
    """The event times of a column, in microseconds; none at all of a column that is no feature's."""
    times = response.event_timestamps
    if isinstance(times, EventTimes):
        # Not made into instants, and shared by the columns of a view.
        return times.micros(column) if column in response.features else ()
    return [None if instant is None else to_micros(instant) for instant in times.get(column, ())]


def _time(micros: int | None) -> str:
    """In UTC and ending in Z; the epoch where there is none."""
    return from_micros(micros or 0).isoformat().replace("+00:00", "Z")


class _Texts(Generic[_Item]):
    """Columns of event times, or of statuses, as text. Few are ever different, and columns often are the same list."""

    def __init__(self, write: Callable[[_Item], str]) -> None:
        self._write = write
        self._texts: dict[_Item, str] = {}
        # Beside its texts the column itself: while it is held, no other one has its id.
        self._columns: dict[int, tuple[Sequence[_Item], list[str]]] = {}

    def column(self, items: Sequence[_Item]) -> list[str]:
        """One text per item."""
        found = self._columns.get(id(items))
        if found is None:
            texts = self._texts
            texts.update((item, self._write(item)) for item in set(items) if item not in texts)
            found = self._columns[id(items)] = (items, [texts[item] for item in items])
        return found[1]
