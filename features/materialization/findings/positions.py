"""Where registry, logs and online tables do not belong together: one was lost, restored or replaced on its own."""

from collections.abc import Iterator
from dataclasses import dataclass

from features.core.applied import AppliedView
from features.errors import StorageError
from features.materialization.findings.finding import ERROR, WARNING, Finding
from features.materialization.ledger import known_position
from features.registry import Registry
from features.stores.log_state import LogState, Snapshot

UNTOLD = "untold commits"

# How many of a log's last commits are compared with the registry's record of them.
_COMPARED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineTables:
    """What an online store holds. target: names it. tables: names of its tables; None: it cannot be reached."""

    target: str
    tables: frozenset[str] | None


def find_gaps(registry: Registry, warehouse: str, view: AppliedView, online: OnlineTables) -> Iterator[Finding]:
    """What does not fit together of one view version."""
    log = LogState(warehouse, view)
    # In this order: whatever is committed meanwhile, the log has.
    known = known_position(registry, view)
    loaded = registry.checkpoint(view, target=online.target)
    try:
        snapshot = log.snapshot()
        yield from _log_gaps(registry, view, log, snapshot, known)
    except StorageError as exc:
        yield Finding(
            severity=ERROR, kind="unreadable log", where=view.reference, what=str(exc), fix="restore it from a backup"
        )
        return
    position = 0 if snapshot is None else snapshot.position
    if loaded > position:
        yield Finding(
            severity=ERROR,
            kind="checkpoint ahead",
            where=f"{online.target}, {view.online_table}",
            what=f"loaded up to position {loaded}, but the log at {log.path} ends at {position}",
            fix="restore the log, or drop the table and run "
            f"`features load {view.reference}`: rows of later positions win over what a load writes now",
        )
    elif loaded and online.tables is not None and view.online_table not in online.tables:
        yield Finding(
            severity=ERROR,
            kind="missing table",
            where=f"{online.target}, {view.online_table}",
            what=f"loaded up to position {loaded}, but there is no such table",
            fix=f"features load {view.reference}",
        )


def _log_gaps(
    registry: Registry, view: AppliedView, log: LogState, snapshot: Snapshot | None, known: int
) -> Iterator[Finding]:
    position = 0 if snapshot is None else snapshot.position
    if position < known:
        yield Finding(
            severity=ERROR,
            kind="log behind registry",
            where=view.reference,
            what=f"the log at {log.path} ends at position {position}, but the registry knows commits up to {known}: it "
            "is gone, or an older copy was put in its place",
            fix="restore the log, or the registry and all logs from one backup",
        )
        return
    if position > known:
        yield Finding(
            severity=WARNING,
            kind=UNTOLD,
            where=view.reference,
            what=f"the log holds commits up to position {position}, the registry knows of {known}: a run was killed "
            "between the two, or is about to tell",
            fix="features doctor --fix, or the next build",
        )
    recorded = {commit.position: commit for commit in registry.commits(view)}
    for commit in log.commits(after=max(0, position - _COMPARED)):
        mine = recorded.get(commit.position)
        if mine is not None and mine.run_id != commit.run_id:
            yield Finding(
                severity=ERROR,
                kind="replaced log",
                where=view.reference,
                what=f"position {commit.position} of the log at {log.path} was committed by run {commit.run_id[:12]}, "
                f"as the registry has it by {mine.run_id[:12]}: it is the log of another registry",
                fix="restore the log, or point `warehouse` and `registry` in conf/ at ones that belong together",
            )
            return
