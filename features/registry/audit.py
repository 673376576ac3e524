"""The audit log: every apply, switch of versions, hold, release, checkpoint reset and drop."""

import getpass
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select

from features.registry.clock import utc_now
from features.registry.database import Database
from features.registry.records import AuditEntry
from features.registry.schema import audit_log


class Part:
    """One subject of the registry; all parts share the database."""

    def __init__(self, database: Database) -> None:
        self._database = database


class AuditLog(Part):
    """Who did what."""

    def audit(self, *, limit: int = 100) -> tuple[AuditEntry, ...]:
        """The latest entries, newest first."""
        query = select(audit_log).order_by(audit_log.c.ordinal.desc()).limit(limit)
        with self._database.read() as connection:
            return tuple(
                AuditEntry(at=row.at, actor=row.actor, action=row.action, detail=row.detail)
                for row in connection.execute(query)
            )

    def note(self, action: str, detail: Mapping[str, Any], *, actor: str | None = None) -> None:
        """Add an entry of what was done to the stores. actor: who did it; None: the user of this process."""
        with self._database.write() as connection:
            record_audit(connection, actor=name_actor(actor), action=action, detail=detail)


def record_audit(connection: Connection, *, actor: str, action: str, detail: Mapping[str, Any]) -> None:
    """Add an entry, in the transaction of what it tells of."""
    last = connection.scalar(select(func.coalesce(func.max(audit_log.c.ordinal), 0))) or 0
    connection.execute(
        insert(audit_log).values(ordinal=last + 1, at=utc_now(), actor=actor, action=action, detail=dict(detail))
    )


def name_actor(actor: str | None) -> str:
    """The actor given, or the user of this process."""
    if actor:
        return actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
