"""The winner among rows of groups, (key, event, interval), that hold a retraction: what has won can be taken back.

Such rows alone are swept in plain Python; all others keep to the running maximum, and the better of the two winners of
a place is the winner, since the rule compares groups by their rank alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.engine.as_of.rounds import NEVER, LogRows
from features.engine.as_of.spine_index import SpineIndex
from features.engine.as_of.sweep import LogRow, sweep

if TYPE_CHECKING:
    Ints = np.ndarray[Any, np.dtype[np.int64]]
    Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class RetractedGroups:
    """The groups that hold a retraction. identities: (key number, event, interval) of each, as one value."""

    codes: "Ints"
    events: "Ints"
    identities: Any

    @classmethod
    def of(cls, parts: Iterable[LogRows]) -> "RetractedGroups | None":
        """The groups of all retractions of keys that the spine has; None: there are none."""
        found = [part.where(~part.is_put & (part.codes >= 0)) for part in parts]
        found = [part for part in found if len(part)]
        if not found:
            return None
        rows = LogRows.concat(found)
        return cls(np.unique(rows.codes), np.unique(rows.event), np.unique(_identities(rows)))

    def holds(self, rows: LogRows) -> "Mask":
        """Whether each row is of one of the groups."""
        inside: Mask = np.isin(rows.codes, self.codes) & np.isin(rows.event, self.events)
        candidates = np.flatnonzero(inside)
        inside[candidates] = np.isin(_identities(rows.where(candidates)), self.identities)
        return inside


def winners_of_groups(rows: LogRows, index: SpineIndex) -> "tuple[Ints, tuple[Ints, ...]]":
    """The winner's address and ranks at each place of the spine, among rows of groups with retractions alone.

    Args:
        rows: all of them. Returns: as `Winners.at_each_place` does.
    """
    address = np.full(len(index), -1, np.int64)
    ranks = tuple(np.full(len(index), NEVER, np.int64) for _ in range(4))
    rows = rows.where(np.argsort(rows.codes, kind="stable"))
    starts = np.flatnonzero(np.append(True, rows.codes[1:] != rows.codes[:-1])) if len(rows) else np.empty(0, np.int64)
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        group = rows.where(np.arange(start, end))
        code = group.codes[0]
        places = np.arange(*np.searchsorted(index.codes, [code, code + 1]))
        steps = sweep(
            [
                LogRow(*row)
                for row in zip(
                    *(getattr(group, name).tolist() for name in ("available", "event", "interval", "created", "seq")),
                    group.is_put.tolist(),
                    strict=True,
                )
            ]
        )
        moments = np.array([moment for moment, _ in steps], np.int64)
        chosen = np.array([-1, *(-1 if row is None else row for _, row in steps)], np.int64)
        row_at = chosen[np.searchsorted(moments, index.times[places], side="right")]
        won, row_at = places[row_at >= 0], row_at[row_at >= 0]
        address[won] = group.address[row_at]
        for rank, of_rows in zip(ranks, group.ranks(), strict=True):
            rank[won] = of_rows[row_at]
    return address, ranks


def _identities(rows: LogRows) -> Any:
    """(key number, event, interval) of each row as one opaque value."""
    parts = np.stack([rows.codes, rows.event, rows.interval], axis=1)
    return np.ascontiguousarray(parts).view(np.dtype((np.void, 24))).ravel()
