"""A real PostgreSQL for tests, on a socket, with a password that needs quoting, and gone with its data afterwards."""

import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, NullPool, create_engine, text

from features.embedded.postgresql import DATABASE, USER, PostgresqlServer

_PASSWORD = "s3cret pass/word"


@contextmanager
def run_postgresql(*, port: int | None = None, settings: Mapping[str, str] | None = None) -> Iterator[URL]:
    """The URL, with its password, of a server that runs as long as the context; its data go with it.

    Args: port: of this machine, for clients that know no sockets; None: none. settings: of the server.
    """
    # Not below pytest's folder: the path of a socket may have 107 bytes only, and other users must reach it.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        told = {"fsync": "off", **(settings or {})}
        server = PostgresqlServer(state_dir=folder, port=port, socket_dir=folder, settings=told, password=_PASSWORD)
        server.start()
        url = URL.create(
            "postgresql+psycopg", USER, _PASSWORD, port=port, database=DATABASE, query={"host": str(folder)}
        )
        try:
            yield url
        finally:
            server.stop()


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def execute(url: URL, statement: str) -> list[object]:
    """Run one statement in a transaction; the first column of its rows, if it has any."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        return list(result.scalars()) if result.returns_rows else []
