"""VACUUM that spares what runs: a file stays as long as a run that began before it was replaced may still read it.

A run reads versions that were there when it began, or later ones. So the oldest run that goes on says which replaced
files may be needed, and no reader has to tell which version it pinned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from features.core.applied import AppliedView
from features.core.times import format_instant
from features.materialization.maintenance.results import VacuumResult
from features.registry import Registry, Run
from features.stores.quarantine_reading import QuarantineTable
from features.stores.vacuum import WEEK_HOURS, delete_files, find_unneeded

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Vacuum:
    """What VACUUMs of one environment share. hours: files stay that were replaced later than so many hours ago."""

    registry: Registry
    warehouse: str
    hours: int

    def vacuum(self, applied: AppliedView, *, now: datetime, dry_run: bool = False) -> VacuumResult:
        """Delete the files of a version's log and quarantine that no reader can need.

        Args:
            applied: the view version. now: the present. dry_run: count them, and delete nothing.

        Raises: StorageError: a table cannot be read, or a file not be deleted.
        """
        hours, run = spare_running(self.registry.running(), self.hours, now=now)
        warehouse = self.warehouse.rstrip("/")
        files = size = 0
        for path in (f"{warehouse}/{applied.log_path}", QuarantineTable.of(warehouse, applied).path):
            found = find_unneeded(path, hours=hours)
            if not dry_run:
                delete_files(path, found)
            files, size = files + len(found), size + sum(file.size for file in found)
        spared_for = None if run is None else f"{run.kind} of {run.view}, which began {format_instant(run.started_at)}"
        return VacuumResult(files=files, bytes=size, hours=hours, spared_for=spared_for)


def spare_running(running: Sequence[Run], hours: int, *, now: datetime) -> tuple[int, Run | None]:
    """For how many hours replaced files stay, so that no run that goes on misses one; and the run that makes it longer.

    A run whose process is known to be gone counts for nothing; one of another machine for a week, as nobody here can
    tell. An hour is added, for clocks that differ.
    """
    for run in sorted(running, key=lambda run: run.started_at):
        alive = None if run.process is None else run.process.runs()
        needed = (now - run.started_at) // _HOUR + 2
        if alive is False or (alive is None and needed > WEEK_HOURS):
            continue
        return (needed, run) if needed > hours else (hours, None)
    return hours, None
