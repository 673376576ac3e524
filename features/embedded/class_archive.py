"""A class archive (AppCDS): the classes of Cassandra as the JVM maps them, which saves 2 of 5 seconds of a start.

The first clean stop writes it. It lies beside the jars, so new jars get a new one, and is named after the exact JDK.
The JVM starts without one that does not fit, but dies of one that is cut short: its checksum is compared before use.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from features.embedded.jdk import Java
from features.embedded.locked_jars import sha256_of


def archive_path(java: Java, jars: Sequence[Path]) -> Path:
    """Where the archive of these jars on this JDK is, or will be."""
    image = java.home / "lib" / "modules"
    built = image.stat().st_mtime_ns if image.exists() else 0
    digest = hashlib.sha256(f"{java.home}\n{java.build}\n{built}".encode()).hexdigest()[:12]
    return jars[0].parent / f"classes-{digest}.jsa"


def usable(archive: Path) -> bool:
    """Whether there is an archive with the checksum that it was published with; a damaged one is deleted."""
    try:
        if sha256_of(archive) == _checksum_path(archive).read_text(encoding="ascii"):
            return True
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    archive.unlink(missing_ok=True)
    return False


def part_path(archive: Path) -> Path:
    """Where a JVM should write the archive when it ends. It only warns where it cannot."""
    return archive.with_name(f"{archive.name}.{os.getpid()}.part")


def jvm_options(archive: Path, part: Path | None) -> list[str]:
    """The JVM's options that write the archive when the JVM ends; without a part, that use it."""
    wanted = [f"-XX:ArchiveClassesAtExit={part}"] if part else [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"]
    return [*wanted, "-Xlog:disable", "-Xlog:all=error:stderr"]


def publish(part: Path, archive: Path) -> None:
    """Puts the archive of a JVM that ended by itself in place, with its checksum."""
    # The cache may have been deleted meanwhile: the next start makes another archive.
    with suppress(FileNotFoundError):
        checksum = _checksum_path(part)
        checksum.write_text(sha256_of(part), encoding="ascii")
        part.replace(archive)
        checksum.replace(_checksum_path(archive))


def _checksum_path(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.sha256")
