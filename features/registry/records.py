"""What the registry answers with: runs, intervals of a view's ledger, commits, manifests, audit entries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from features.core.processes import ProcessId
from features.core.rollout import ViewRollout
from features.core.rollout_counts import ShadowCount
from features.core.schedule import Interval

RUN_STATUSES = ("built", "unchanged", "empty", "refused", "failed", "loaded", "released", "dropped")
# "released" is none that an interval keeps: withheld rows of a built one were published, and all else of it stays.
INTERVAL_STATUSES = ("built", "empty", "refused", "failed", "released")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of a job on one view version.

    view: its reference, `name@version`. status: "running", then one of RUN_STATUSES.
    start, end: the range asked for; now: the run's nominal clock. started_at, finished_at: wall clock.
    position, delta_version, committed_at: of the commit that it made, or was loaded; None where there was none.
    upstreams: the Delta version that it read of each view that its view reads, by `name@version`; None: nothing was
    committed there yet.
    process: that it is of; None: an earlier release started it.
    """

    run_id: str
    kind: str
    view: str
    start: datetime | None
    end: datetime | None
    now: datetime
    started_at: datetime
    finished_at: datetime | None
    status: str
    message: str
    position: int | None
    delta_version: int | None
    committed_at: datetime | None
    counts: Mapping[str, int]
    upstreams: Mapping[str, int | None] = field(default_factory=dict)
    process: ProcessId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalOutcome:
    """What a run made of one interval.

    status: one of INTERVAL_STATUSES. rows: appended to the log, of all kinds. position, delta_version: of the log
    once the interval was done; None for one that published nothing. fingerprint: of what its sources held; None where
    no other interval depends on that. profile: what the gate counted in it, as `Profile.to_dict` gives it.
    """

    interval: Interval
    status: str
    rows: int = 0
    position: int | None = None
    delta_version: int | None = None
    fingerprint: str | None = None
    profile: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerEntry:
    """What is known of one interval of a view version.

    status: of the last run. built: whether any run built it or found it empty, so that the next one is a rerun.
    stale: whether something that it was computed from has changed since.
    rows, position, delta_version: of the last run that appended to it, or that found it empty first; None positions
        where none did. fingerprint: of the last run that built it.
    """

    interval: Interval
    status: str
    built: bool
    stale: bool
    rows: int
    position: int | None
    delta_version: int | None
    run_id: str
    updated_at: datetime
    fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One commit of a view's offline log: its position (`_seq`), and the Delta version that holds it."""

    position: int
    delta_version: int
    committed_at: datetime
    run_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoredLog:
    """A log that was brought back from a backup, and the commit without rows from which its positions go on.

    view: its reference. is_told: whether the backup's registry knows all commits before it.
    """

    view: str
    run_id: str
    position: int
    delta_version: int
    committed_at: datetime
    is_told: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """A request to erase an entity's rows everywhere, and how far it has come.

    columns: the entity's join keys. count: how many keys. keys: their values as text, in the order of the columns;
    empty once it is done. progress: plain JSON of what was done where. finished_at: None while it is not done.
    """

    erasure_id: str
    entity: str
    columns: tuple[str, ...]
    count: int
    keys: tuple[tuple[str, ...], ...] = field(repr=False)
    actor: str
    requested_at: datetime
    finished_at: datetime | None
    progress: Mapping[str, Any]

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.finished_at is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredManifest:
    """What pins one training set; only the erasure of an entity changes its content.

    held: whether retention and drops must spare what it needs.
    """

    name: str
    number: int
    content: Mapping[str, Any]
    held: bool
    created_at: datetime

    @property
    def reference(self) -> str:
        """`name@number`."""
        return f"{self.name}@{self.number}"

    @property
    def erasure(self) -> str | None:
        """The last erasure that removed rows of the set, or is about to; None: it holds what was saved."""
        told = self.content.get("erased")
        return str(told["erasure"]) if isinstance(told, Mapping) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """Who did what, and when."""

    at: datetime
    actor: str
    action: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Switch:
    """What became of a view's rollout. overridden: the objections that were overridden."""

    before: ViewRollout
    after: ViewRollout
    overridden: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether there was anything to change."""
        return self.before != self.after


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutEntry:
    """One switch of a view in its history: who made it, and what serving read from then on.

    action: "first" or "apply" (the view was new, or its live version had never been loaded), "promote", "canary",
    "end canary", "rollback" or "shadow". share: in basis points. overridden: objections that were overridden.
    """

    at: datetime
    actor: str
    action: str
    live: int
    candidate: int | None
    share: int
    shadow: int | None
    overridden: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShadowTotal(ShadowCount):
    """A shadow's counts over all serving processes, since it was switched on, and when they first and last reported."""

    first_at: datetime
    last_at: datetime
