"""Keyspaces and tables as the feature store needs them: made where they are missing, compared where they are there."""

import logging

from cassandra.cluster import Session

from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.errors import OnlineStoreError
from features.stores import cql
from features.stores.cassandra_session import AGREEMENT_SECONDS, ask

logger = logging.getLogger(__name__)

# Beside the wait for the other nodes; the one that is asked writes its schema to disk.
_STATEMENT_SECONDS = 30.0


def ensure_keyspace(session: Session, settings: OnlineSettings) -> None:
    """Make the keyspace where it is missing; one that is there stays as it is. Raises: the driver's errors."""
    # Asked for first: a user who may not create keyspaces may use one that is there.
    known = ask(
        session, "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", (settings.keyspace,)
    )
    if not known.one():
        statement = cql.create_keyspace(
            settings.keyspace, datacenter=settings.datacenter, replication=settings.replication
        )
        _change(session, statement)


def ensure_table(session: Session, settings: OnlineSettings, view: AppliedView) -> bool:
    """Make the keyspace and the view's table where they are missing; whether the table was.

    Of a table that is there, the comment follows the view's owner and description; its other options stay as they are,
    since an operator may have chosen them.

    Raises:
        OnlineStoreError: a table of that name has other columns.
        the driver's errors.
    """
    ensure_keyspace(session, settings)
    found = _find_columns(session, settings, view)
    is_new = not found
    if is_new:
        _change(session, cql.create_table(settings.keyspace, view))
        found = _find_columns(session, settings, view)
    differences = _compare_columns(view, found)
    if differences:
        raise OnlineStoreError(
            f"table {settings.keyspace}.{view.online_table} is not the one of {view.reference}: "
            f"{'; '.join(differences)}; drop it, or set another online.keyspace, then load again",
            retry=False,
        )
    if not is_new and _find_comment(session, settings, view) != cql.table_comment(view):
        _change(session, cql.alter_comment(settings.keyspace, view))
    return is_new


def drop_table(session: Session, settings: OnlineSettings, view: AppliedView) -> bool:
    """Drop the view's table; whether it was there. Raises: the driver's errors."""
    is_there = bool(_find_columns(session, settings, view))
    if is_there:
        _change(session, cql.drop_table(settings.keyspace, view))
    return is_there


def list_tables(session: Session, settings: OnlineSettings) -> tuple[str, ...]:
    """The names of the keyspace's tables. Raises: the driver's errors."""
    rows = ask(session, "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (settings.keyspace,))
    return tuple(name for (name,) in rows)


def find_release(session: Session) -> str:
    """The release of the node that answers. Raises: the driver's errors."""
    (release,) = ask(session, "SELECT release_version FROM system.local", ()).one()
    return str(release)


def _change(session: Session, statement: str) -> None:
    """Change the schema, and return once the live nodes know of it.

    The driver counts the wait for that as a part of the request: by the timeout of reads and writes, a change that was
    made would be told as one that failed wherever a node has just come back.
    """
    result = session.execute(statement, timeout=AGREEMENT_SECONDS + _STATEMENT_SECONDS)
    if not result.response_future.is_schema_agreed:
        logger.warning("nodes do not agree on the schema", extra={"seconds": AGREEMENT_SECONDS, "statement": statement})


def _find_columns(session: Session, settings: OnlineSettings, view: AppliedView) -> dict[str, tuple[str, str]]:
    """Column to kind and type, of the view's table as it is; empty where there is none."""
    rows = ask(
        session,
        "SELECT column_name, kind, type FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s",
        (settings.keyspace, view.online_table),
    )
    return {name: (kind, cql_type) for name, kind, cql_type in rows}


def _find_comment(session: Session, settings: OnlineSettings, view: AppliedView) -> str | None:
    row = ask(
        session,
        "SELECT comment FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s",
        (settings.keyspace, view.online_table),
    ).one()
    return None if row is None else str(row[0])


def _compare_columns(view: AppliedView, found: dict[str, tuple[str, str]]) -> list[str]:
    """What differs, in words, between the columns that a view needs and those that its table has."""
    wanted = {
        name: ("partition_key" if name in view.join_keys else "regular", cql_type)
        for name, cql_type in cql.table_columns(view).items()
    }
    differences = [f"no column {name}" for name in wanted if name not in found]
    differences += [f"unknown column {name}" for name in sorted(found) if name not in wanted]
    for name in wanted.keys() & found.keys():
        if wanted[name] != found[name]:
            differences.append(f"{name} is {_describe(found[name])} instead of {_describe(wanted[name])}")
    return sorted(differences)


def _describe(column: tuple[str, str]) -> str:
    kind, cql_type = column
    return f"{cql_type} ({kind.replace('_', ' ')})" if kind != "regular" else cql_type
