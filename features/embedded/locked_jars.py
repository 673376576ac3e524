"""Lock files: which jars a set consists of, down to the bytes.

One line a jar: `group:artifact:version[:classifier] sha256`. No hosts: those are the user's settings.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from features.errors import NotFoundError, PlatformError

LOCK_FOLDER = Path(__file__).parent
_LINE = re.compile(
    r"(?P<group>[\w.-]+):(?P<artifact>[\w.-]+):(?P<version>[\w.-]+)(?::(?P<classifier>[\w.-]+))? "
    r"(?P<sha256>[0-9a-f]{64})"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedJar:
    """One jar of a lock file."""

    group: str
    artifact: str
    version: str
    classifier: str | None
    sha256: str

    @property
    def filename(self) -> str:
        """Its name on disk, as Maven and Ivy write it."""
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{tail}.jar"

    @property
    def line(self) -> str:
        """Its line in a lock file."""
        tail = f":{self.classifier}" if self.classifier else ""
        return f"{self.group}:{self.artifact}:{self.version}{tail} {self.sha256}"


@dataclass(frozen=True, kw_only=True, slots=True)
class JarSet:
    """A lock file that was read. `digest` names its exact content."""

    name: str
    digest: str
    jars: tuple[LockedJar, ...]


def read_lock(name: str, folder: Path = LOCK_FOLDER) -> JarSet:
    """The jars that a lock file lists, in its order.

    Raises:
        NotFoundError: there is no lock file of that name.
        PlatformError: a line is malformed, or two jars would have one file name.
    """
    path = folder / f"{name}.lock"
    if not path.is_file():
        raise NotFoundError.of("set of jars", name, (p.stem for p in folder.glob("*.lock")))
    text = path.read_text(encoding="utf-8")
    jars = tuple(
        _parse(line, f"{path} line {number}")
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    )
    names = [jar.filename for jar in jars]
    if not jars or len(names) != len(set(names)):
        raise PlatformError(f"{path} lists {'one file name twice' if jars else 'no jar'}; restore the file")
    return JarSet(name=name, digest=hashlib.sha256(text.encode()).hexdigest()[:12], jars=jars)


def sha256_of(path: Path) -> str:
    """The checksum of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(line: str, where: str) -> LockedJar:
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise PlatformError(f"{where} is not `group:artifact:version[:classifier] sha256`: {line!r}; restore the file")
    return LockedJar(**match.groupdict())
