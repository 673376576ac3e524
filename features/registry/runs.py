"""Runs of jobs, the commits that they made, and what the gate said of them."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from features.core.applied import AppliedView
from features.core.processes import ProcessId
from features.errors import NotFoundError, RegistryError, UsageError
from features.registry.audit import Part
from features.registry.clock import utc_now
from features.registry.records import RUN_STATUSES, Commit, Run
from features.registry.schema import commits, runs, validation_results


class Runs(Part):
    """Which run did what, and when each log position was committed."""

    def start_run(
        self, *, kind: str, view: AppliedView, start: datetime | None, end: datetime | None, now: datetime
    ) -> str:
        """Record that a job begins; its run id.

        Args:
            kind: what the job does, such as "build" or "load".
            view: the version that it works on.
            start: start of the range, aware; None for a job without one.
            end: its end, not included.
            now: the nominal clock of the run, aware.
        """
        run_id = uuid.uuid4().hex
        with self._database.write() as connection:
            connection.execute(
                insert(runs).values(
                    run_id=run_id,
                    kind=kind,
                    view=view.name,
                    version=view.version,
                    range_start=start,
                    range_end=end,
                    nominal_now=now,
                    started_at=utc_now(),
                    status="running",
                    message="",
                    counts={},
                    process=str(ProcessId.own()),
                )
            )
        return run_id

    def finish_run(
        self,
        run_id: str,
        *,
        status: str,
        message: str = "",
        position: int | None = None,
        delta_version: int | None = None,
        committed_at: datetime | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Record how a run ended; the last call counts. With a commit time, its commit is recorded too.

        Args:
            run_id: of start_run.
            status: one of RUN_STATUSES.
            message: why it was refused or failed.
            position: the log position that it committed, or loaded.
            delta_version: the Delta version of that position.
            committed_at: when it was committed, aware; None if this run committed nothing.
            counts: figures by name, such as rows.

        Raises:
            NotFoundError: no run of that id.
            UsageError: an unknown status, or a commit time without position and Delta version.
        """
        if status not in RUN_STATUSES:
            raise UsageError(f"run {run_id}: status {status!r} is none of {', '.join(RUN_STATUSES)}")
        if committed_at is not None and (position is None or delta_version is None):
            raise UsageError(f"run {run_id}: a commit needs its position and its Delta version")
        with self._database.write() as connection:
            row = connection.execute(select(runs.c.view, runs.c.version).where(runs.c.run_id == run_id)).one_or_none()
            if row is None:
                raise NotFoundError(f"no run {run_id!r}; start one with start_run")
            connection.execute(
                update(runs)
                .where(runs.c.run_id == run_id)
                .values(
                    finished_at=utc_now(),
                    status=status,
                    message=message.replace("\0", ""),  # PostgreSQL keeps none in text
                    log_position=position,
                    delta_version=delta_version,
                    committed_at=committed_at,
                    counts=dict(counts or {}),
                )
            )
            if committed_at is not None and position is not None and delta_version is not None:
                commit = Commit(
                    position=position, delta_version=delta_version, committed_at=committed_at, run_id=run_id
                )
                _record_commit(connection, row.view, row.version, commit)

    def runs(self, view: AppliedView, *, limit: int = 20, kind: str | None = None) -> tuple[Run, ...]:
        """The latest runs on a view version, newest first; of one kind, such as "build", or of all."""
        of_kind = [] if kind is None else [runs.c.kind == kind]
        query = (
            select(runs)
            .where(runs.c.view == view.name, runs.c.version == view.version, *of_kind)
            .order_by(runs.c.started_at.desc(), runs.c.run_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(run_of(row) for row in connection.execute(query))

    def judged_runs(self, view: AppliedView, *, run_id: str = "", limit: int = 20) -> tuple[Run, ...]:
        """The latest runs on a view version of which the gate has said something, newest first.

        Args:
            view: the version.
            run_id: only those whose id begins so.
            limit: how many.
        """
        judged = select(validation_results.c.run_id).where(validation_results.c.run_id == runs.c.run_id).exists()
        query = (
            select(runs)
            .where(runs.c.view == view.name, runs.c.version == view.version, judged)
            .where(runs.c.run_id.startswith(run_id, autoescape=True))
            .order_by(runs.c.started_at.desc(), runs.c.run_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(run_of(row) for row in connection.execute(query))

    def record_commit(
        self, view: AppliedView, *, position: int, delta_version: int, committed_at: datetime, run_id: str
    ) -> None:
        """Record a commit of a view's log; again is fine, and the first commit time stays.

        A commit that a killed run left unrecorded is so recorded by a later one.

        Raises: RegistryError: the position is recorded with another Delta version, so the log is not the one it was.
        """
        commit = Commit(position=position, delta_version=delta_version, committed_at=committed_at, run_id=run_id)
        with self._database.write() as connection:
            _record_commit(connection, view.name, view.version, commit)

    def commits(self, view: AppliedView) -> tuple[Commit, ...]:
        """The recorded commits of a view version's log, by position."""
        query = select(commits).where(_of(view)).order_by(commits.c.log_position)
        with self._database.read() as connection:
            return tuple(_commit(row) for row in connection.execute(query))

    def position_at(self, view: AppliedView, moment: datetime) -> int:
        """The greatest log position committed at or before a moment; 0 if there was none yet."""
        query = select(func.max(commits.c.log_position)).where(_of(view), commits.c.committed_at <= moment)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def position_of(self, view: AppliedView, delta_version: int) -> int:
        """The greatest log position that a Delta version of the log holds; 0 if there is none."""
        query = select(func.max(commits.c.log_position)).where(_of(view), commits.c.delta_version <= delta_version)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def record_validation(self, run_id: str, results: Sequence[Mapping[str, object]]) -> None:
        """Add what the gate found in a run: one mapping of plain JSON values per rule and interval."""
        count = select(func.count()).where(validation_results.c.run_id == run_id)
        with self._database.write() as connection:
            first = (connection.scalar(count) or 0) + 1
            rows = [
                {"run_id": run_id, "ordinal": ordinal, "content": dict(result)}
                for ordinal, result in enumerate(results, start=first)
            ]
            if rows:
                connection.execute(insert(validation_results), rows)

    def validations(self, run_id: str) -> tuple[dict[str, Any], ...]:
        """What the gate found in a run, in the order recorded."""
        query = (
            select(validation_results.c.content)
            .where(validation_results.c.run_id == run_id)
            .order_by(validation_results.c.ordinal)
        )
        with self._database.read() as connection:
            return tuple(connection.scalars(query))

    def validations_of(self, run_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """What the gate found in each of these runs, in the order recorded; those without any are left out."""
        query = (
            select(validation_results)
            .where(validation_results.c.run_id.in_(run_ids))
            .order_by(validation_results.c.run_id, validation_results.c.ordinal)
        )
        found: dict[str, list[dict[str, Any]]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query):
                found.setdefault(row.run_id, []).append(row.content)
        return found


def _of(view: AppliedView) -> Any:
    return (commits.c.view == view.name) & (commits.c.version == view.version)


def _record_commit(connection: Connection, view: str, version: int, commit: Commit) -> None:
    at = (commits.c.view == view) & (commits.c.version == version) & (commits.c.log_position == commit.position)
    known = connection.execute(select(commits).where(at)).one_or_none()
    if known is None:
        connection.execute(
            insert(commits).values(
                view=view,
                version=version,
                log_position=commit.position,
                delta_version=commit.delta_version,
                committed_at=commit.committed_at,
                run_id=commit.run_id,
            )
        )
    elif known.delta_version != commit.delta_version:
        raise RegistryError(
            f"position {commit.position} of {view}@{version} is recorded as Delta version {known.delta_version}, "
            f"not {commit.delta_version}: the offline log was replaced since; restore it, or start with a new registry"
        )


def _commit(row: Row[Any]) -> Commit:
    return Commit(
        position=row.log_position, delta_version=row.delta_version, committed_at=row.committed_at, run_id=row.run_id
    )


def run_of(row: Row[Any]) -> Run:
    """The run that a row holds."""
    return Run(
        run_id=row.run_id,
        kind=row.kind,
        view=f"{row.view}@{row.version}",
        start=row.range_start,
        end=row.range_end,
        now=row.nominal_now,
        started_at=row.started_at,
        finished_at=row.finished_at,
        status=row.status,
        message=row.message,
        position=row.log_position,
        delta_version=row.delta_version,
        committed_at=row.committed_at,
        counts=row.counts,
        upstreams=row.upstreams or {},
        process=None if row.process is None else ProcessId.parse(row.process),
    )
