"""What an as-of join is asked for: views, each pinned to a log position, and how each is to be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.core.applied import Selection
from features.core.dtypes import DType
from features.stores.delta import FeatureLog
from features.stores.log_state import Snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# What a status column holds.
NOT_FOUND, EXPIRED, FOUND = 0, 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """Where a view is read: a Delta version, and a log position up to which rows count. No snapshot: no rows yet.

    kept_from: rows of earlier events may be gone, by retention, save those that held sets need; None: none are.
    """

    selection: Selection
    log: FeatureLog
    snapshot: Snapshot | None
    position: int
    kept_from: datetime | None = None

    def rows(self) -> "DataFrame":
        """The rows of the log that count."""
        if self.snapshot is None:
            return self.log.empty()
        return self.log.read(self.snapshot, position=self.position)


@dataclass(frozen=True, kw_only=True, slots=True)
class AsOf:
    """One view of a join.

    known_at: "created": a row is visible from the later of its event and created time on; "event": from its event on.
    status: the name of an int column that says what each spine row found: 0 no visible row, 1 one that is older than
        the lookback, 2 one that counts. None: no such column.
    """

    pin: Pin
    known_at: str = "created"
    status: str | None = None

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Name and Spark type of what the join adds, in order."""
        selection = self.pin.selection
        added = [(c, f.dtype.spark) for c, f in zip(selection.columns, selection.features, strict=True)]
        if self.status is not None:
            added.append((self.status, DType.INT32.spark))
        return tuple(added)

    @property
    def keys(self) -> tuple[str, ...]:
        """The join keys, in order."""
        return tuple(self.pin.selection.view.join_keys)


def group_by_keys(requests: Sequence[AsOf]) -> tuple[tuple[AsOf, ...], ...]:
    """The requests that one pass over the spine can answer together: those of equal join keys."""
    groups: dict[frozenset[str], list[AsOf]] = {}
    for request in requests:
        groups.setdefault(frozenset(request.keys), []).append(request)
    return tuple(tuple(group) for group in groups.values())
