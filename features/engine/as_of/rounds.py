"""The winner of each spine row, folded over batches of log rows: memory is that of a batch, however long the log.

Of rows without retractions the greatest (event, interval, created, seq) that is visible wins, and a maximum may be
taken in any order of batches. docs/time.md has the rule.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.engine.as_of.spine_index import SpineIndex

if TYPE_CHECKING:
    Ints = np.ndarray[Any, np.dtype[np.int64]]
    Mask = np.ndarray[Any, np.dtype[np.bool_]]

NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class LogRows:
    """Log rows of keys that the spine has; all arrays of shape (n,), times in microseconds.

    codes: key numbers. available: from when on the row is visible. address: where its values are read.
    """

    codes: "Ints"
    available: "Ints"
    event: "Ints"
    interval: "Ints"
    created: "Ints"
    seq: "Ints"
    is_put: "Mask"
    address: "Ints"

    def __len__(self) -> int:
        return len(self.codes)

    def where(self, chosen: "Ints | Mask") -> "LogRows":
        """The rows that are chosen, by index or mask."""
        return LogRows(*(getattr(self, name)[chosen] for name in LogRows.__dataclass_fields__))

    @classmethod
    def concat(cls, parts: "list[LogRows]") -> "LogRows":
        """All rows of several."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__dataclass_fields__))

    def ranks(self) -> "tuple[Ints, ...]":
        """What ranks a row, the weightiest first."""
        return self.event, self.interval, self.created, self.seq


class Winners:
    """The best row seen so far that turns visible at each place of a spine, and in the end the winner at each place."""

    def __init__(self, index: SpineIndex) -> None:
        self._index = index
        n = len(index)
        self._ranks = [np.full(n, NEVER, np.int64) for _ in range(4)]
        self._address = np.full(n, -1, np.int64)

    def add(self, rows: LogRows) -> None:
        """Fold in puts of groups without retractions; those of unknown keys (-1) are passed over.

        The search is paid per run of equal (key, available), not per row.
        """
        kept = _last_of_runs(rows.codes, rows.available, rows.ranks())
        rows = rows.where(kept[rows.codes[kept] >= 0])
        places = self._index.first_places(rows.codes, rows.available)
        seen = np.flatnonzero(places < len(self._index))
        self.offer(places[seen], rows.where(seen))

    def offer(self, places: "Ints", rows: LogRows) -> None:
        """Fold in rows of which each is first seen at its place; in any order, any number at one place."""
        ranks, address = rows.ranks(), rows.address
        for level, best in enumerate(self._ranks):
            before = best[places]
            np.maximum.at(best, places, ranks[level])
            reached = best[places]
            raised = places[reached != before]
            for deeper in self._ranks[level + 1 :]:
                deeper[raised] = NEVER
            leading = np.flatnonzero(ranks[level] == reached)
            places, address, ranks = places[leading], address[leading], tuple(rank[leading] for rank in ranks)
        self._address[places] = address

    def at_each_place(self) -> "tuple[Ints, tuple[Ints, ...]]":
        """The winner's address at each place, -1 where nothing is visible, and its ranks."""
        index = self._index
        held = np.flatnonzero(self._address >= 0)
        ranks = tuple(best[held] for best in self._ranks)
        leads = held[_leads(index.codes[held], ranks)]
        last = np.full(len(index), -1, np.int64)
        last[leads] = leads
        last = np.maximum.accumulate(last) if len(last) else last
        found = last >= 0
        found[found] = index.codes[last[found]] == index.codes[found]
        address = np.where(found, self._address[last], -1)
        return address, tuple(np.where(found, best[last], NEVER) for best in self._ranks)


def _last_of_runs(codes: "Ints", available: "Ints", ranks: "tuple[Ints, ...]") -> "Ints":
    """The last row of each run of neighbours of one key that turn visible together, where in the run the ranks ascend.

    A log file is sorted by (key, event), so of rows that turn visible together the last one wins, and is the only one
    that need be looked up. Rows that stand otherwise are all returned.
    """
    if not len(codes):
        return np.empty(0, np.int64)
    same = (codes[1:] == codes[:-1]) & (available[1:] == available[:-1])
    event = ranks[0]
    doubtful = np.flatnonzero(same & (event[1:] <= event[:-1]))
    if len(doubtful):
        after, before = tuple(r[doubtful + 1] for r in ranks), tuple(r[doubtful] for r in ranks)
        same[doubtful[~exceeds(after, before)]] = False
    return np.flatnonzero(np.append(~same, True))


def exceeds(left: "tuple[Ints, ...]", right: "tuple[Ints, ...]") -> "Mask":
    """Whether each left rank is above the right one: compared by the first part, then the second, and so on."""
    above: Mask = left[-1] > right[-1]
    for a, b in zip(reversed(left[:-1]), reversed(right[:-1]), strict=True):
        above = (a > b) | ((a == b) & above)
    return above


def _leads(codes: "Ints", ranks: "tuple[Ints, ...]") -> "Mask":
    """Whether each row ranks at or above all rows of its key before it. `codes` ascend."""
    if not len(codes):
        return np.zeros(0, np.bool_)
    leads = _reaches_maximum(codes, ranks[0])
    places = np.flatnonzero(leads)
    # Leaders of one key and event are told apart by what else ranks them.
    tied = np.zeros(len(places), np.bool_)
    alike = (codes[places][1:] == codes[places][:-1]) & (ranks[0][places][1:] == ranks[0][places][:-1])
    tied[1:] |= alike
    tied[:-1] |= alike
    if tied.any():
        group = np.cumsum(np.append(True, ~alike))[tied]
        rest = tuple(rank[places[tied]] for rank in ranks[1:])
        order = np.lexsort(tuple(reversed(rest)))
        place_in_order = np.empty(len(order), np.int64)
        place_in_order[order] = np.arange(len(order))
        leads[places[tied]] = _reaches_maximum(group, place_in_order)
    return leads


def _reaches_maximum(codes: "Ints", values: "Ints") -> "Mask":
    """Whether each value is the greatest of its group so far. `codes` ascend."""
    low = int(values.min())
    width = int(values.max()) - low + 1
    if width * (int(codes[-1]) + 1) < 1 << 62:
        points = codes * np.int64(width) + (values - low)
    else:
        # Ranks keep the order, and always fit.
        ordered = np.unique(values)
        points = codes * np.int64(len(ordered)) + np.searchsorted(ordered, values)
    reached: Mask = points == np.maximum.accumulate(points)
    return reached
