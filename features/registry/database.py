"""The one door to the database: connections, transactions, and errors in the feature store's words."""

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from features.errors import RegistryError
from features.registry.migration import migrate

LOCK_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 10
# Any constant will do, as long as every writer of a registry takes the same.
_ADVISORY_LOCK = 7_233_091_126
_WRITES = "registry_writes"


class Database:
    """A database at the schema of this code. Writers take turns: each sees all that the one before it did."""

    def __init__(self, engine: Engine, *, password: SecretStr | None = None) -> None:
        self._engine = engine
        self._password = password
        self._pid = os.getpid()
        self._release = weakref.finalize(self, _dispose, engine, self._pid)

    @classmethod
    def open(cls, url: str, *, password: SecretStr | None = None) -> Self:
        """Connect, and bring the schema forward. Raises: RegistryError: see Registry.open."""
        parsed = _parse(url, password)
        try:
            engine = _sqlite_engine(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql_engine(parsed)
        except ModuleNotFoundError as exc:
            raise RegistryError(
                f"the registry at {parsed} needs the package {exc.name!r}: pip install 'feature-platform[postgres]'"
            ) from exc
        database = cls(engine, password=password)
        try:
            migrate(database.read, database.write, where=str(parsed))
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the registry throughout. Raises: RegistryError."""
        with self._told(), self._connect(writes=False) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that no other writer overlaps: all of it is kept, or nothing. Raises: RegistryError."""
        with self._told(), self._connect(writes=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection

    def close(self) -> None:
        """Release pooled connections; calling it twice is fine."""
        self._release()

    def _connect(self, *, writes: bool) -> Connection:
        if os.getpid() != self._pid:
            # A fork shares its parent's sockets: forget them here, without closing them there.
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        options: dict[str, Any] = {_WRITES: writes}
        if self._engine.dialect.name == "postgresql":
            # A writer's statements must see what was committed while it waited for its turn.
            options["isolation_level"] = "READ COMMITTED" if writes else "REPEATABLE READ"
        return self._engine.connect().execution_options(**options)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as exc:
            raise RegistryError(f"the registry at {self._engine.url} {self._reason(exc)}") from exc

    def _reason(self, exc: SQLAlchemyError) -> str:
        told = " ".join(str(exc.orig if isinstance(exc, DBAPIError) else exc).split())
        if self._password is not None and self._password.get_secret_value():
            told = told.replace(self._password.get_secret_value(), "***")
        if "database is locked" in told or "lock timeout" in told:
            return (
                f"has been locked by another process for {LOCK_TIMEOUT_SECONDS} s ({told}); "
                "nothing was changed: try again once it is done"
            )
        if "unable to open" in told or "connection" in told.lower():
            return f"cannot be reached: {told}; check that it is up, and the setting `registry` in conf/"
        return f"cannot be used: {told}"


def _dispose(engine: Engine, pid: int) -> None:
    engine.dispose(close=os.getpid() == pid)


def _parse(url: str, password: SecretStr | None) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Not chained: SQLAlchemy's message may hold the whole text, with a password.
        raise RegistryError("the setting `registry` is not a URL; write it as sqlite:///path/registry.db") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise RegistryError(
            f"the registry at {parsed} is of an unknown kind; write sqlite:///path or postgresql://user@host/database"
        )
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if password is not None and parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(password=password.get_secret_value())
    return parsed


def _sqlite_engine(url: URL) -> Engine:
    path = url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        raise RegistryError(f"the registry at {url} would be forgotten with the process; write sqlite:///path")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise RegistryError(f"the registry at {url} cannot be made: {exc}; check the folder and its rights") from exc
    # No pool: opening a file is cheap, and an idle connection in a forked process is not safe.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": LOCK_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def take_over_transactions(connection: Any, _: Any) -> None:
        # The driver would otherwise start transactions by itself, late, and never BEGIN IMMEDIATE.
        connection.isolation_level = None
        # Readers then never wait for a writer. Locked: another process is at it, or works in the old mode for now.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql_engine(url: URL) -> Engine:
    given = url.query.get("options", "")
    options = " ".join([given] if isinstance(given, str) else given)
    return create_engine(
        url,
        pool_size=2,
        max_overflow=8,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": f"{options} -c lock_timeout={LOCK_TIMEOUT_SECONDS * 1000}".strip(),
        },
    )
