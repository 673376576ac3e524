"""The ledger: what became of each interval of each view version."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from features.core.applied import AppliedView
from features.core.profile import Profile
from features.core.schedule import Interval
from features.errors import UsageError
from features.registry.audit import Part
from features.registry.clock import utc_now
from features.registry.records import INTERVAL_STATUSES, IntervalOutcome, LedgerEntry
from features.registry.schema import ledger

_ENTRY = tuple(column for column in ledger.c if column.name != "profile")


class Ledger(Part):
    """Which intervals are built, and which of them are stale."""

    def ledger(
        self, view: AppliedView, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[LedgerEntry, ...]:
        """The intervals of a view version that any run has judged, by their start.

        Args:
            view: the version.
            since, until: only intervals that overlap [since, until); None: no bound.
        """
        query = select(*_ENTRY).where(_of(view)).order_by(ledger.c.interval_start, ledger.c.interval_end)
        if since is not None:
            query = query.where(ledger.c.interval_end > since)
        if until is not None:
            query = query.where(ledger.c.interval_start < until)
        with self._database.read() as connection:
            return tuple(_entry(row) for row in connection.execute(query))

    def record_intervals(self, view: AppliedView, run_id: str, entries: Sequence[IntervalOutcome]) -> None:
        """Record what a run made of its intervals, all or none.

        Built and empty clear `stale`. Where nothing was appended to an interval that was built before, its rows and its
        place in the log stay those of the commit that it stands at. Refused and failed leave an earlier build's facts
        as they are: it still stands. Released tells what was appended to a built one, which stays as stale as it was.

        Raises: UsageError: an unknown status.
        """
        for outcome in entries:
            if outcome.status not in INTERVAL_STATUSES:
                raise UsageError(
                    f"{outcome.interval}: status {outcome.status!r} is none of {', '.join(INTERVAL_STATUSES)}"
                )
        with self._database.write() as connection:
            for outcome in entries:
                _record(connection, view, run_id, outcome)

    def profiles(self, view: AppliedView, *, before: datetime, limit: int) -> tuple[Profile, ...]:
        """What the gate counted in the last `limit` built intervals that end at or before a moment, oldest first.

        Intervals that an earlier release built have none, and are left out.
        """
        query = (
            select(ledger.c.profile)
            .where(_of(view), ledger.c.built, ledger.c.interval_end <= before, ledger.c.profile.is_not(None))
            .order_by(ledger.c.interval_end.desc(), ledger.c.interval_start.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(reversed([Profile.from_dict(content) for content in connection.scalars(query)]))

    def mark_stale(self, view: AppliedView, *, after: datetime, until: datetime) -> int:
        """Mark the built intervals with end > after and start < until as stale; how many became so."""
        return self.mark_all_stale([(view, after, until)])

    def mark_all_stale(self, ranges: Sequence[tuple[AppliedView, datetime, datetime]]) -> int:
        """The same for several views and ranges of (after, until), all or none."""
        if not ranges:
            return 0
        with self._database.write() as connection:
            return sum(
                connection.execute(
                    update(ledger)
                    .where(_of(view), ledger.c.built, ~ledger.c.stale)
                    .where(ledger.c.interval_end > after, ledger.c.interval_start < until)
                    .values(stale=True)
                ).rowcount
                for view, after, until in ranges
            )


def _of(view: AppliedView) -> Any:
    return (ledger.c.view == view.name) & (ledger.c.version == view.version)


def _record(connection: Connection, view: AppliedView, run_id: str, outcome: IntervalOutcome) -> None:
    if outcome.status == "released":
        _record_release(connection, view, run_id, outcome)
        return
    facts: dict[str, Any] = {"status": outcome.status, "run_id": run_id, "updated_at": utc_now()}
    key = {"interval_start": outcome.interval.start, "interval_end": outcome.interval.end}
    mine = _of(view) & (ledger.c.interval_start == key["interval_start"])
    mine &= ledger.c.interval_end == key["interval_end"]
    if outcome.status in ("built", "empty"):
        profile = None if outcome.profile is None else dict(outcome.profile)
        facts |= {"built": True, "stale": False, "fingerprint": outcome.fingerprint, "profile": profile}
        # A run that was killed behind its commit, and the one that repairs it, leave what one run alone leaves.
        if outcome.rows or not connection.scalar(select(ledger.c.built).where(mine)):
            facts |= {
                "row_count": outcome.rows,
                "log_position": outcome.position,
                "delta_version": outcome.delta_version,
            }
    if connection.execute(update(ledger).where(mine).values(facts)).rowcount == 0:
        unbuilt = {"built": False, "stale": False, "row_count": 0}
        connection.execute(insert(ledger).values(view=view.name, version=view.version, **key, **(unbuilt | facts)))


def _record_release(connection: Connection, view: AppliedView, run_id: str, outcome: IntervalOutcome) -> None:
    start, end = outcome.interval.start, outcome.interval.end
    connection.execute(
        update(ledger)
        .where(_of(view), ledger.c.built, ledger.c.interval_start == start, ledger.c.interval_end == end)
        .values(
            run_id=run_id,
            updated_at=utc_now(),
            row_count=outcome.rows,
            log_position=outcome.position,
            delta_version=outcome.delta_version,
        )
    )


def _entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(
        interval=Interval(row.interval_start, row.interval_end),
        status=row.status,
        built=row.built,
        stale=row.stale,
        rows=row.row_count,
        position=row.log_position,
        delta_version=row.delta_version,
        run_id=row.run_id,
        updated_at=row.updated_at,
        fingerprint=row.fingerprint,
    )
