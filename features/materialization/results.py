"""What a build, a load and a compaction answer with."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """What a build did.

    status: "built" appended rows, "unchanged" found nothing to change, "empty" got no rows from the transform (and
        retracted what an earlier run had published).
    rows: appended, of all kinds: new, corrections and retractions. quarantined: withheld by the gate.
    delta_version, position: of the log afterwards; None before the first commit. run_id: of the registry's record.
    """

    status: str
    rows: int
    corrections: int
    retractions: int
    quarantined: int
    delta_version: int | None
    position: int | None = field(default=None, compare=False)
    run_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseResult:
    """What a release did.

    view: its reference. status: "released" published rows; "unchanged" found no withheld row that is not public.
    marked: rows that nobody had released before. rows: appended to the log, corrections among them: more than were
        marked where an earlier release had been killed, fewer where a build had published them meanwhile.
    overtaken: intervals (their ends) that were built again at the same time and no longer yield a row that was
        published: they are stale.
    delta_version: of the log afterwards; None before the first commit.
    """

    view: str
    status: str
    marked: int
    rows: int
    corrections: int
    overtaken: tuple[datetime, ...]
    delta_version: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkResult(BuildResult):
    """What one build of a backfill did: of so many intervals, those of [start, end), in so many seconds."""

    start: datetime
    end: datetime
    intervals: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadResult:
    """What a load did: keys written, keys deleted, the Delta version that was read (None: nothing was ever built)."""

    rows: int
    deleted: int
    delta_version: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadPlan:
    """What a load would do.

    Attributes:
        view: its reference.
        position, checkpoint: the log's, and the one that is online.
        rows, deleted: keys that are written, and deleted; of a full load, those that the log lacks are not counted.
        files, bytes: of the log that are read at most, the latter without those that only hold older rows.
        path, reason: how the store is written, and why; None: there is nothing to write.
        engine: what finds the rows.
    """

    view: str
    position: int
    checkpoint: int
    rows: int = 0
    deleted: int = 0
    files: int = 0
    bytes: int = 0
    path: str | None = None
    reason: str = ""
    engine: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MaterializeResult:
    """A build, the builds of past intervals that came before it, and the load that followed (None: not asked for)."""

    build: BuildResult
    reprocessed: tuple[BuildResult, ...]
    load: LoadResult | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactResult:
    """A compaction: how many files the log had and has, and its Delta version afterwards (None: nothing was built)."""

    files_before: int
    files_after: int
    delta_version: int | None
