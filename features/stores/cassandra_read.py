"""Reading many keys of many tables at once: each distinct key is one statement."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cassandra.query import BoundStatement, PreparedStatement

from features.stores.base import OnlineRow, Read
from features.stores.cassandra_requests import Rows
from features.stores.cassandra_values import Convert, bind_key, read_value

# Longer partition keys can be neither stored nor asked for.
_MAX_KEY_BYTES = 65535


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch:
    """The statements that answer some requests, and the way back from their rows.

    places: for each request, beside its keys, the number of the statement that reads it; None: no row can have it.
    """

    statements: tuple[BoundStatement, ...]
    places: tuple[tuple[int | None, ...], ...]
    decoders: tuple[Callable[[tuple[Any, ...]], OnlineRow], ...]

    def decode(self, rows: Sequence[Rows]) -> list[list[OnlineRow | None]]:
        """For each request a list, beside its keys: the row, or None. rows: of each statement."""
        return [
            [decode(rows[place][0]) if place is not None and rows[place] else None for place in places]
            for places, decode in zip(self.places, self.decoders, strict=True)
        ]


def bind_reads(requests: Sequence[Read], prepared: Sequence[PreparedStatement]) -> Fetch:
    """The statements for all keys of all requests. prepared: the SELECT of each request, beside it."""
    statements: list[BoundStatement] = []
    places: list[tuple[int | None, ...]] = []
    for request, select in zip(requests, prepared, strict=True):
        converts = [bind_key(dtype) for dtype in request.view.join_keys.values()]
        known: dict[Any, int | None] = {}
        for key in request.keys:
            if key not in known:
                statement = _bind(select, [convert(part) for convert, part in zip(converts, key, strict=True)])
                known[key] = None if statement is None else len(statements)
                if statement is not None:
                    statements.append(statement)
        places.append(tuple(known[key] for key in request.keys))
    return Fetch(
        statements=tuple(statements),
        places=tuple(places),
        decoders=tuple(_row_decoder(request) for request in requests),
    )


def _bind(select: PreparedStatement, key: Sequence[Any]) -> BoundStatement | None:
    """The statement that reads a key; None for one that Cassandra cannot store: a lone empty one, or over 64 KiB."""
    statement = select.bind(key)
    try:
        size = len(statement.routing_key)
    except struct.error:
        return None
    return statement if 0 < size <= _MAX_KEY_BYTES else None


def _row_decoder(request: Read) -> Callable[[tuple[Any, ...]], OnlineRow]:
    types = {feature.name: feature.dtype for feature in request.view.features}
    reads: list[Convert] = [read_value(types[name]) for name in request.features]

    def decode(row: tuple[Any, ...]) -> OnlineRow:
        event, created, *values = row
        return OnlineRow(event, created, tuple(read(value) for read, value in zip(reads, values, strict=True)))

    return decode
