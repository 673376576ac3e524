"""Which Java runs Spark and Cassandra: the one that JAVA_HOME names, else the one on PATH."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from features.errors import PlatformError

_ADVICE = "install a JDK 17 (such as openjdk-17-jdk-headless or Temurin 17) and set JAVA_HOME to its folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class Java:
    """A Java that was found and asked: its folder, executable, major version and full build."""

    home: Path
    path: Path
    version: int
    build: str


def find_java(minimum: int = 17, maximum: int = 21) -> Java:
    """The Java that every child process uses. JAVA_HOME wins over PATH, as it does for Spark and Maven.

    Args:
        minimum: lowest major version, included.
        maximum: highest major version, included.

    Raises:
        PlatformError: there is none, it does not run, or its version is outside the bounds.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        where, executable = f"JAVA_HOME={home}", shutil.which("java", path=str(Path(home) / "bin"))
        if executable is None:
            raise PlatformError(f"{where} holds no bin/java; correct or unset it, or {_ADVICE}")
    else:
        where, executable = "PATH", shutil.which("java")
        if executable is None:
            raise PlatformError(f"no Java: JAVA_HOME is not set and PATH has no `java`; {_ADVICE}")
    java = _ask(Path(executable), where)
    if not minimum <= java.version <= maximum:
        wanted = f"Java {minimum} to {maximum}" if minimum < maximum else f"Java {minimum}"
        raise PlatformError(
            f"Java {java.version} ({java.build}) at {executable}, found through {where}, is not {wanted}; {_ADVICE}"
        )
    return java


def _ask(executable: Path, where: str) -> Java:
    command = [str(executable), "-XshowSettings:properties", "-version"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise PlatformError(f"{executable}, found through {where}, does not run: {exc}; {_ADVICE}") from exc
    found: dict[str, str] = dict(re.findall(r"^\s+(java\.\S+) = (.*)$", answer.stderr, flags=re.MULTILINE))
    version = re.match(r"(?:1\.)?(\d+)", found.get("java.version", ""))
    if answer.returncode != 0 or version is None or "java.home" not in found:
        said = " / ".join(answer.stderr.strip().splitlines()[:3]) or f"nothing, exit code {answer.returncode}"
        raise PlatformError(f"{executable}, found through {where}, is not a working Java; it said: {said}; {_ADVICE}")
    return Java(
        home=Path(found["java.home"]),
        path=executable,
        version=int(version.group(1)),
        build=found.get("java.runtime.version", found["java.version"]),
    )
