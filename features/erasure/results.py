"""What an erasure answers with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedTable:
    """What an erasure removed of one view version, or would remove.

    view: its reference. offline, quarantined: rows of the log, and of those that the gate withheld.
    online: keys that were deleted; of a dry run, those that are found; None: the version has no online table.
    position: of the log, since which it holds none of the rows; None: nothing was ever built.
    """

    view: str
    offline: int
    quarantined: int
    online: int | None
    position: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedSet:
    """What an erasure removed of a saved training set, or would: rows of the set, and whether somebody holds it."""

    training_set: str
    rows: int
    held: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasureResult:
    """What was erased, and what is left to do for the operator.

    erasure_id: None of a dry run. keys: how many. texts: messages and results of runs that named a key.
    gone_after: when a vacuum removes the last replaced files that may hold the rows; None: they are gone.
    remaining: what the feature store cannot do, in sentences.
    """

    erasure_id: str | None
    entity: str
    keys: int
    tables: tuple[ErasedTable, ...]
    training_sets: tuple[ErasedSet, ...]
    texts: int = 0
    gone_after: datetime | None = None
    remaining: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether there was anything to erase."""
        rows = any(t.offline or t.quarantined or t.online for t in self.tables)
        return rows or any(found.rows for found in self.training_sets)

    def progress(self) -> dict[str, Any]:
        """As the registry keeps it: counts, and no key."""
        return {
            "tables": {
                t.view: {"offline": t.offline, "quarantined": t.quarantined, "online": t.online, "position": t.position}
                for t in self.tables
            },
            "training_sets": {s.training_set: s.rows for s in self.training_sets},
            "texts": self.texts,
        }
