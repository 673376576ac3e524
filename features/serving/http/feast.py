"""Answers in the words of Feast's feature server, whose clients may stay as they are. Their schema is `FeastAnswer`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Raw

from features.core.dtypes import DType
from features.core.times import from_micros, to_micros
from features.serving.http.encoding import Columns, TextColumns, encode_columns
from features.serving.response import EventTimes, OnlineResponse

# Feast's requests allow no partial answer, so there is no other status.
_STATUSES = {"PRESENT": "PRESENT", "NULL": "NULL_VALUE", "NOT_FOUND": "NOT_FOUND", "EXPIRED": "OUTSIDE_MAX_AGE"}
_SECOND_MICROS = 1_000_000


def encode_feast(response: OnlineResponse) -> bytes:
    """The response as Feast answers: entity columns first, each PRESENT and of the epoch.

    Where there is no row, its event time is the epoch as well. A timestamp is a number of seconds since then.
    """
    columns = {
        name: _seconds(values) if _is_timestamp(response.types.get(name)) else values
        for part in (response.entities, response.features)
        for name, values in part.items()
    }
    beside = _statuses_and_times(response, len(next(iter(columns.values()), ())))

    def wrap(values: Columns) -> dict[str, Any]:
        return {
            "metadata": {"feature_names": list(values)},
            "results": [
                {"values": column, "statuses": beside[name][0], "event_timestamps": beside[name][1]}
                for name, column in values.items()
            ],
        }

    # What has been made a number of seconds is no timestamp any more.
    types = {name: dtype for name, dtype in response.types.items() if not _is_timestamp(dtype)}
    return encode_columns(columns, types, wrap)


def _statuses_and_times(response: OnlineResponse, rows: int) -> dict[str, tuple[Raw, Raw]]:
    """What stands beside the values of each column, encoded; the same for most columns of a view."""
    statuses, times = TextColumns(_STATUSES.__getitem__), TextColumns(_time)
    of_keys = (statuses.encode(("PRESENT",) * rows), times.encode((None,) * rows))
    found = dict.fromkeys(response.entities, of_keys)
    # Beside its texts the times themselves: while they are held, no others have their id.
    known: dict[tuple[int, tuple[str, ...]], tuple[Sequence[int | None], tuple[Raw, Raw]]] = {}
    for name, column in response.statuses.items():
        micros = _event_micros(response, name)
        place = (id(micros), tuple(column))
        if place not in known:
            known[place] = (micros, (statuses.encode(column), times.encode(micros)))
        found[name] = known[place][1]
    return found


def read_feast_times(rows: Sequence[dict[str, Any]], types: Mapping[str, DType]) -> None:
    """Turns the timestamps of entity rows, which Feast's clients send as seconds, into instants, in place."""
    for name, dtype in types.items():
        if _is_timestamp(dtype):
            for row in rows:
                if isinstance(row.get(name), int | float) and not isinstance(row[name], bool):
                    row[name] = _instant(row[name])


def _instant(seconds: float) -> datetime | float:
    try:
        return from_micros(round(seconds * _SECOND_MICROS))
    except (ValueError, OverflowError):
        # Beyond the years 1 to 9999 it stays a number, which is no timestamp, and is told to be none.
        return seconds


def _is_timestamp(dtype: DType | None) -> bool:
    return dtype is not None and dtype.kind == "timestamp"


def _seconds(instants: Sequence[datetime | None]) -> list[int | float | None]:
    return [None if instant is None else _in_seconds(to_micros(instant)) for instant in instants]


def _in_seconds(micros: int) -> int | float:
    # A double holds the microseconds of all years that Feast can tell apart from each other.
    return micros / _SECOND_MICROS if micros % _SECOND_MICROS else micros // _SECOND_MICROS


def _event_micros(response: OnlineResponse, column: str) -> Sequence[int | None]:
    times = response.event_timestamps
    if isinstance(times, EventTimes):
        # Not made into instants.
        return times.micros(column)
    return [None if instant is None else to_micros(instant) for instant in times[column]]


def _time(micros: int | None) -> str:
    """In UTC and ending in Z; the epoch where there is none."""
    return from_micros(micros or 0).isoformat().replace("+00:00", "Z")
