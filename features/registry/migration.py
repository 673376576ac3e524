"""Bringing a database forward to the schema of this code: migrations/NNNN_what.sql, in order, never back."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.resources import files

from sqlalchemy import Connection, insert, inspect, select

from features.errors import RegistryError
from features.registry.clock import utc_now
from features.registry.schema import schema_version

Transaction = Callable[[], AbstractContextManager[Connection]]


def migrations() -> dict[int, str]:
    """SQL by the version that it leads to. It is the part of SQL that SQLite and PostgreSQL share."""
    folder = files("features.registry").joinpath("migrations")
    return {
        int(file.name[:4]): file.read_text(encoding="utf-8")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".sql")
    }


def newest() -> int:
    """The version of this code's schema."""
    return max(migrations())


def migrate(read: Transaction, write: Transaction, *, where: str) -> None:
    """Run the migrations that the database lacks, all in one transaction.

    Raises: RegistryError: newer code has migrated it.
    """
    with read() as connection:
        if read_version(connection) == newest():
            return
    with write() as connection:
        # Another process may have migrated while this one waited for its turn.
        check_not_newer(read_version(connection), where=where)
        advance(connection, to=newest())


def advance(connection: Connection, *, to: int) -> None:
    """Run the migrations that lead from the database's version to another, in the transaction of the connection."""
    steps = migrations()
    for version in range(read_version(connection) + 1, to + 1):
        for statement in _statements(steps[version]):
            connection.exec_driver_sql(statement)
        connection.execute(insert(schema_version).values(version=version, applied_at=utc_now()))


def check_not_newer(found: int, *, where: str) -> None:
    """That this code knows a schema. Raises: RegistryError: newer code made it."""
    if found > newest():
        raise RegistryError(
            f"the registry at {where} is at schema {found}, this code knows {newest()}; "
            "upgrade this installation of the feature store"
        )


def read_version(connection: Connection) -> int:
    """The version of a database's schema; 0: it has none."""
    if not inspect(connection).has_table(schema_version.name):
        return 0
    return max(connection.scalars(select(schema_version.c.version)), default=0)


def _statements(script: str) -> list[str]:
    lines = (line for line in script.splitlines() if not line.lstrip().startswith("--"))
    return [statement for part in "\n".join(lines).split(";") if (statement := part.strip())]
