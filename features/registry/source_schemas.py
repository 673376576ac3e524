"""The columns that sources had when a view version was built from them, and those for which a build was refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from features.core.applied import AppliedView
from features.registry.audit import Part, name_actor, record_audit
from features.registry.clock import utc_now
from features.registry.schema import source_schemas

Columns = Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSchema:
    """The columns of one source of a view version, column to Spark type, from an interval's end on.

    columns: of what was built; None: nothing was. found: those for which a build of that interval was refused.
    """

    source: str
    since: datetime
    columns: Columns | None
    found: Columns | None


class SourceSchemas(Part):
    """What sources looked like."""

    def source_schemas(self, view: AppliedView) -> tuple[SourceSchema, ...]:
        """Of each source of a view version the columns as they came to be, by time."""
        query = select(source_schemas).where(_of(view)).order_by(source_schemas.c.source, source_schemas.c.since)
        with self._database.read() as connection:
            return tuple(
                SourceSchema(source=r.source, since=r.since, columns=_columns(r.columns), found=_columns(r.found))
                for r in connection.execute(query)
            )

    def record_source_schemas(
        self, view: AppliedView, run_id: str, *, since: datetime, columns: Mapping[str, Columns]
    ) -> None:
        """Record the columns that a build found, by source; what was refused before is settled with it."""
        with self._database.write() as connection:
            for source, found in columns.items():
                mine = _of(view) & (source_schemas.c.source == source)
                connection.execute(delete(source_schemas).where(mine, source_schemas.c.columns.is_(None)))
                connection.execute(update(source_schemas).where(mine).values(found=None))
                self._put(connection, view, source, since, run_id=run_id, columns=_pairs(found))

    def refuse_source_schema(
        self, view: AppliedView, run_id: str, *, source: str, since: datetime, found: Columns
    ) -> None:
        """Record the columns for which a build was refused, until they are accepted, or a build finds none such."""
        with self._database.write() as connection:
            self._put(connection, view, source, since, run_id=run_id, found=_pairs(found))

    def accept_source_schemas(self, view: AppliedView, *, actor: str | None = None) -> dict[str, Columns]:
        """Take the columns for which builds were refused as those to expect; them, by source."""
        with self._database.write() as connection:
            query = select(source_schemas).where(_of(view), source_schemas.c.found.is_not(None))
            accepted: dict[str, Columns] = {}
            for row in connection.execute(query.order_by(source_schemas.c.since)).all():
                accepted[row.source] = dict(row.found)
                self._put(connection, view, row.source, row.since, columns=row.found, found=None)
            if accepted:
                detail = {"view": view.reference, "sources": {name: _pairs(c) for name, c in accepted.items()}}
                record_audit(connection, actor=name_actor(actor), action="accept sources", detail=detail)
            return accepted

    def _put(self, connection: Any, view: AppliedView, source: str, since: datetime, **facts: Any) -> None:
        facts["recorded_at"] = utc_now()
        key = _of(view) & (source_schemas.c.source == source) & (source_schemas.c.since == since)
        if connection.execute(update(source_schemas).where(key).values(facts)).rowcount == 0:
            connection.execute(
                insert(source_schemas).values(view=view.name, version=view.version, source=source, since=since, **facts)
            )


def _of(view: AppliedView) -> Any:
    return (source_schemas.c.view == view.name) & (source_schemas.c.version == view.version)


def _pairs(columns: Columns) -> list[list[str]]:
    """As JSON that keeps their order."""
    return [[name, kind] for name, kind in columns.items()]


def _columns(pairs: list[list[str]] | None) -> Columns | None:
    return None if pairs is None else dict(pairs)
