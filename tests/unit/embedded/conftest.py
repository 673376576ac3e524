"""Small executables on PATH in place of a JDK and of Maven, and lock files of two tiny jars."""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MakeJava = Callable[..., Path]
WriteScript = Callable[[Path, str], Path]


@pytest.fixture
def write_script() -> WriteScript:
    """Writes a shell script that can be run."""

    def write(path: Path, body: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, empty; JAVA_HOME is not set."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


@pytest.fixture
def make_java(write_script: WriteScript) -> MakeJava:
    """Puts a `java` into a folder that answers like a JDK of some version."""

    def make(folder: Path, version: str = "17.0.15") -> Path:
        home = folder.parent
        settings = f"    java.home = {home}\\n    java.runtime.version = {version}+6\\n    java.version = {version}\\n"
        return write_script(folder / "java", f"printf '{settings}' >&2")

    return make


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    """A lock folder whose two jars hold just their names."""
    folder = tmp_path / "locks"
    folder.mkdir()
    lines = [
        f"org.example:{name}:1.0 {hashlib.sha256(f'{name}-1.0.jar'.encode()).hexdigest()}"
        for name in ("alpha_2", "beta")
    ]
    (folder / "delta.lock").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def maven(bin_folder: Path, make_java: MakeJava, write_script: WriteScript, tmp_path: Path) -> Path:
    """A `mvn` that delivers the two jars and adds a line to the file returned, for each time it was called."""
    make_java(bin_folder)
    calls = tmp_path / "maven-calls"
    deliver = 'for a in "$@"; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done\n'
    deliver += f"echo called >> {calls}\n"
    deliver += 'for jar in alpha_2-1.0.jar beta-1.0.jar; do printf %s $jar > "$out/$jar"; done'
    write_script(bin_folder / "mvn", deliver)
    return calls


@pytest.fixture
def sleeping() -> Iterator[int]:
    """The pid of a process that does nothing."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process.pid
        process.kill()
