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


def migrate(read: Transaction, write: Transaction, *, where: str) -> None:
    """Run the migrations that the database lacks, all in one transaction.

    Raises: RegistryError: newer code has migrated it.
    """
    steps = migrations()
    with read() as connection:
        if _version(connection) == max(steps):
            return
    with write() as connection:
        # Another process may have migrated while this one waited for its turn.
        found = _version(connection)
        if found > max(steps):
            raise RegistryError(
                f"the registry at {where} is at schema {found}, this code knows {max(steps)}; "
                "upgrade this installation of the feature store"
            )
        for version in range(found + 1, max(steps) + 1):
            for statement in _statements(steps[version]):
                connection.exec_driver_sql(statement)
            connection.execute(insert(schema_version).values(version=version, applied_at=utc_now()))


def _version(connection: Connection) -> int:
    if not inspect(connection).has_table(schema_version.name):
        return 0
    return max(connection.scalars(select(schema_version.c.version)), default=0)


def _statements(script: str) -> list[str]:
    lines = (line for line in script.splitlines() if not line.lstrip().startswith("--"))
    return [statement for part in "\n".join(lines).split(";") if (statement := part.strip())]
