"""What maintenance of one view version did, or would do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

PARTS = ("retain", "compact", "vacuum")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """Rows past retention that a held training set keeps in a log. One row may be kept by several."""

    training_set: str
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RetainResult:
    """What retention removed, or would.

    cutoff: events before it are past retention; None: the view has none. rows: removed. delta_version: of the log
    afterwards; None: nothing was removed.
    """

    cutoff: datetime | None
    rows: int = 0
    kept: Sequence[Kept] = ()
    delta_version: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class VacuumResult:
    """Files that no version of a table needs any more, and that were deleted, or would be.

    hours: how long ago they were replaced, at least. spared_for: the run that this is longer than asked for, as
    "build of last_payment@1, which began ..."; None: no run made it longer.
    """

    files: int
    bytes: int
    hours: int
    spared_for: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCounts:
    """A compaction: how many files the log had, and has; the same number twice where there was nothing to do."""

    files_before: int
    files_after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Maintained:
    """What was done to one view version. None: that part was not asked for, or `error` came before it."""

    view: str
    retain: RetainResult | None = None
    compact: FileCounts | None = None
    vacuum: VacuumResult | None = None
    error: str | None = None
