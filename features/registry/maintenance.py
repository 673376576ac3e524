"""What maintenance asks of the registry: all versions there are, which runs go on, and what retention has removed."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select, update

from features.core.applied import AppliedView
from features.core.canonical import applied_view
from features.registry.audit import Part, name_actor, record_audit
from features.registry.clock import utc_now
from features.registry.records import Run
from features.registry.runs import run_of
from features.registry.schema import definition_versions, runs
from features.registry.state import VIEW

RETAIN = "retain"


class MaintenanceRecords(Part):
    """Versions, runs that go on, and how far retention went."""

    def view_versions(self) -> tuple[AppliedView, ...]:
        """Every version of every view that was ever applied, by name and number: each may have a log."""
        query = select(definition_versions).where(definition_versions.c.kind == VIEW)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        found = (applied_view(row.content, row.metadata, version=row.version) for row in rows)
        return tuple(sorted(found, key=lambda view: (view.name, view.version)))

    def running(self) -> tuple[Run, ...]:
        """The runs that have not ended, or were killed, oldest first."""
        query = select(runs).where(runs.c.status == "running").order_by(runs.c.started_at, runs.c.run_id)
        with self._database.read() as connection:
            return tuple(run_of(row) for row in connection.execute(query))

    def fail_runs(self, run_ids: Collection[str], *, message: str, actor: str | None = None) -> int:
        """Record that runs have ended without a word, as failed; how many. Those that told their end are left alone."""
        wanted = runs.c.run_id.in_(list(run_ids)) & (runs.c.status == "running")
        with self._database.write() as connection:
            found = list(connection.scalars(select(runs.c.run_id).where(wanted)))
            if found:
                ended = {"status": "failed", "finished_at": utc_now(), "message": message}
                connection.execute(update(runs).where(wanted).values(**ended))
                record_audit(connection, actor=name_actor(actor), action="fail runs", detail={"runs": sorted(found)})
        return len(found)

    def retained_from(self, view: AppliedView) -> datetime | None:
        """Rows of earlier events may be gone from a version's log, by its retention; None: none was ever applied.

        Told before any row is removed, and never going back.
        """
        mine = (runs.c.view == view.name) & (runs.c.version == view.version) & (runs.c.kind == RETAIN)
        with self._database.read() as connection:
            found: datetime | None = connection.scalar(select(func.max(runs.c.range_end)).where(mine))
        return found
