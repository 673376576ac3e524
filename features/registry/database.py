"""The one door to the database: connections, transactions, and errors in the feature store's words."""

import hashlib
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from features.errors import RegistryError
from features.registry.migration import check_not_newer, migrate, read_version
from features.registry.schema import schema_version

LOCK_TIMEOUT_SECONDS = 30.0
CONNECT_TIMEOUT_SECONDS = 10
# Any constant will do, as long as every writer of a registry takes the same.
_ADVISORY_LOCK = 7_233_091_126
_BEGIN = "registry_begin"


class Database:
    """A database at the schema of this code. Writers take turns: each sees all that the one before it did."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pid = os.getpid()
        self._release = weakref.finalize(self, _dispose, engine, self._pid)

    @classmethod
    def open(cls, url: str, *, password: SecretStr | None = None, read_only: bool = False) -> Self:
        """Connect, and bring the schema forward; or, to read only, leave all as it is.

        Raises: RegistryError: see Registry.open; to read only: there is none, or newer code has changed it.
        """
        parsed = _parse(url, password)
        make = _sqlite_engine if parsed.get_backend_name() == "sqlite" else _postgresql_engine
        try:
            engine = make(parsed, read_only=read_only)
        except ModuleNotFoundError as exc:
            raise RegistryError(
                f"the registry at {_show(parsed)} needs the package {exc.name!r}: "
                "pip install 'feature-platform[postgres]'"
            ) from exc
        database = cls(engine)
        try:
            if read_only:
                check_not_newer(database.version(), where=_show(parsed))
                return database
            database._let_readers_pass()
            migrate(database.read, database.write, where=_show(parsed))
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the registry throughout. Raises: RegistryError."""
        with self._told(), self._connect(begin="BEGIN", isolation="REPEATABLE READ") as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that no other writer overlaps: all of it is kept, or nothing. Raises: RegistryError."""
        # READ COMMITTED: once its turn has come, a writer must see what was committed while it waited.
        with (
            self._told(),
            self._connect(begin="BEGIN IMMEDIATE", isolation="READ COMMITTED") as connection,
            connection.begin(),
        ):
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection

    def version(self) -> int:
        """Of the schema; an earlier one than this code's only where it was opened to be read."""
        with self.read() as connection:
            return read_version(connection)

    def identity(self) -> str:
        """See `Registry.identity`."""
        with self.read() as connection:
            made_at = connection.scalar(select(func.min(schema_version.c.applied_at)))
        return hashlib.sha256(f"{_show(self._engine.url)} {made_at}".encode()).hexdigest()[:32]

    def close(self) -> None:
        """Release pooled connections; calling it twice is fine."""
        self._release()

    def _let_readers_pass(self) -> None:
        if self._engine.dialect.name != "sqlite":
            return
        with self._told(), self._connect() as connection, suppress(OperationalError):
            # Lasting, where the file system can. Locked: another process is at it, or works in the old mode for now.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    def _connect(self, *, begin: str | None = None, isolation: str | None = None) -> Connection:
        """A connection whose transaction starts with `begin` on SQLite, and has an isolation level on PostgreSQL."""
        if os.getpid() != self._pid:
            # A fork shares its parent's sockets: forget them here, without closing them there.
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        options: dict[str, Any] = {_BEGIN: begin}
        if isolation and self._engine.dialect.name == "postgresql":
            options["isolation_level"] = isolation
        return self._engine.connect().execution_options(**options)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as exc:
            raise RegistryError(f"the registry at {_show(self._engine.url)} {self._reason(exc)}", retry=True) from exc

    def _reason(self, exc: SQLAlchemyError) -> str:
        told = " ".join(str(exc.orig if isinstance(exc, DBAPIError) else exc).split())
        if self._engine.url.password:
            told = told.replace(self._engine.url.password, "***")
        if "database is locked" in told or "lock timeout" in told:
            return (
                f"has been locked by another process for {LOCK_TIMEOUT_SECONDS:g} s ({told}); "
                "nothing was changed: try again once it is done"
            )
        lost = isinstance(exc, OperationalError) and self._engine.dialect.name == "postgresql"
        if lost or "unable to open" in told:
            return f"cannot be reached: {told}; check that it is up, and the setting `registry` in conf/"
        return f"cannot be used: {told}"


def _show(url: URL) -> str:
    return url.difference_update_query(["password", "sslpassword"]).render_as_string(hide_password=True)


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
            f"the registry at {_show(parsed)} is of an unknown kind; write sqlite:///path or postgresql://user@host/database"
        )
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if password is not None and parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(password=password.get_secret_value())
    return parsed


def _sqlite_engine(url: URL, *, read_only: bool) -> Engine:
    path = url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        raise RegistryError(f"the registry at {_show(url)} would be forgotten with the process; write sqlite:///path")
    if read_only and not Path(path).is_file():
        raise RegistryError(f"there is no registry at {_show(url)}; check the setting `registry` in conf/")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise RegistryError(
            f"the registry at {_show(url)} cannot be made: {exc}; check the folder and its rights"
        ) from exc
    # No pool: opening a file is cheap, and an idle connection in a forked process is not safe.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": LOCK_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def take_over_transactions(connection: Any, _: Any) -> None:
        # The driver would otherwise start transactions by itself, late, and never BEGIN IMMEDIATE.
        connection.isolation_level = None
        if read_only:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        statement = connection.get_execution_options().get(_BEGIN)
        if statement:
            connection.exec_driver_sql(statement)

    return engine


def _postgresql_engine(url: URL, *, read_only: bool) -> Engine:
    given = url.query.get("options", "")
    options = " ".join([given] if isinstance(given, str) else given)
    if read_only:
        options += " -c default_transaction_read_only=on"
    return create_engine(
        url,
        pool_size=2,
        max_overflow=8,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            # A server that is gone without a word: threads would wait for it as long as TCP does.
            "tcp_user_timeout": int(LOCK_TIMEOUT_SECONDS * 1000),
            "options": f"{options} -c lock_timeout={int(LOCK_TIMEOUT_SECONDS * 1000)}".strip(),
        },
    )
