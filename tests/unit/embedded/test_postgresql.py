"""A PostgreSQL of this machine: found again, kept over a stop, gone after a reset, never run by root."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from features.embedded.postgresql import DATABASE, USER, PostgresqlServer
from features.errors import PlatformError

pytestmark = pytest.mark.integration


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresqlServer]:
    # Root's folder for tests is out of the server's reach, so that this is the case of such a folder too.
    made = PostgresqlServer(state_dir=tmp_path / "postgresql", port=0, settings={"fsync": "off"})
    yield made
    made.reset()


def ask(server: PostgresqlServer, statement: str) -> list[tuple[object, ...]]:
    where = {"host": "127.0.0.1", "port": server.status().port, "user": USER, "dbname": DATABASE}
    with psycopg.connect(**where, passfile=str(server.passfile)) as connection:  # type: ignore[arg-type]
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_a_server_is_found_again_and_keeps_its_data_until_a_reset(server: PostgresqlServer) -> None:
    assert not server.status().running
    first = server.start()
    assert first.running
    assert server.start() == first
    assert stat.S_IMODE(server.passfile.stat().st_mode) == 0o600
    assert Path("/proc", str(first.pid)).stat().st_uid != 0
    ask(server, "CREATE TABLE kept (n int)")
    ask(server, "INSERT INTO kept VALUES (7)")

    assert not server.stop().running
    again = server.start()
    assert (again.port, again.pid != first.pid) == (first.port, True)
    assert ask(server, "SELECT n FROM kept") == [(7,)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host="127.0.0.1", port=again.port, user=USER, dbname=DATABASE, password="a guess")

    # As after a crash of the machine: the server's own file of its pid stays behind.
    assert again.pid is not None
    os.kill(again.pid, 9)
    while server.status().running:
        pass
    server.start()
    assert ask(server, "SELECT n FROM kept") == [(7,)]

    server.reset()
    assert [path.name for path in server.state_dir.iterdir()] == ["control.lock"]
    server.start()
    assert ask(server, "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'") == [(0,)]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PlatformError, match=f"port {port} of PostgreSQL is taken by process {os.getpid()}"):
            PostgresqlServer(state_dir=tmp_path / "postgresql", port=port).start()
    assert not (tmp_path / "postgresql/pgpass").exists()
