"""The Java program that writes SSTables: compiled once for each Java and set of jars, and started soon.

Cassandra's jars bring a compiler (they compile user-defined functions), so a plain runtime is enough.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from features.errors import PlatformError

SOURCES = Path(__file__).parent / "java"
MAIN_CLASS = "SSTableChild"

_COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"
_COMPILE_SECONDS = 300
# Cassandra reaches into these when it opens and closes files.
_EXPORTS = ("java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch")
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
)
# They hold classes of packages that Java has itself: a compiler then finds neither.
_SHADOWING = ("sjk-cli-", "high-scale-lib-")
_QUIET = '<configuration><root level="OFF"/></configuration>\n'


@dataclass(frozen=True, kw_only=True, slots=True)
class JavaHome:
    """A Java on this machine, and Cassandra's jars.

    Attributes:
        executable: of Java 17 to 21.
        build: which one exactly.
        jars: the class path, always in the same order.
        cache: a folder for what is derived from them.
    """

    executable: Path
    build: str
    jars: tuple[Path, ...]
    cache: Path


# Called in executors too, so it must be something that they can import. Raises: PlatformError: no Java, or no jars.
FindJava = Callable[[], JavaHome]
# Starts the program once, with a command, so that it loads what it will load each time.
Rehearse = Callable[[Sequence[str]], None]


def writer_command(java: JavaHome, *, heap_mb: int, rehearse: Rehearse) -> list[str]:
    """The command that starts the program; it is made at the first call, which takes some seconds.

    Args:
        java: what runs it.
        heap_mb: MiB.
        rehearse: see `Rehearse`.

    Raises: PlatformError: it cannot be compiled, or the cache cannot be written.
    """
    folder = java.cache / f"sstable-writer-{_digest(java)}"
    if not folder.is_dir():
        _make(java, folder, rehearse)
    archive = folder / "classes.jsa"
    # Class data archives are optional: what is missing is loaded from the jars.
    sharing = ["-Xshare:auto", f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
    return _command(java, folder, heap_mb, sharing)


def _command(java: JavaHome, folder: Path, heap_mb: int, flags: Sequence[str]) -> list[str]:
    opened = [
        part
        for flag, modules in (("--add-exports", _EXPORTS), ("--add-opens", _OPENS))
        for module in modules
        for part in (flag, f"{module}=ALL-UNNAMED")
    ]
    return [
        str(java.executable),
        *opened,
        f"-Xmx{heap_mb}m",
        f"-XX:MaxDirectMemorySize={heap_mb}m",
        # One thread does the work: parallel collectors would take the other cores from Spark.
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+PerfDisableSharedMem",
        *flags,
        # A mismatched archive is no news.
        "-Xlog:disable",
        "-Xlog:all=error:stderr",
        f"-Dlogback.configurationFile={folder / 'logback.xml'}",
        "-Djava.net.preferIPv4Stack=true",
        "-Dcassandra.storagedir=" + tempfile.gettempdir(),
        "-cp",
        os.pathsep.join(map(str, (folder / "writer.jar", *java.jars))),
        MAIN_CLASS,
    ]


def _digest(java: JavaHome) -> str:
    parts = [java.build, str(java.executable), *(str(jar) for jar in java.jars)]
    parts += [path.read_text(encoding="utf-8") for path in _source_files()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _source_files() -> list[Path]:
    return sorted(SOURCES.glob("*.java"))


def _make(java: JavaHome, folder: Path, rehearse: Rehearse) -> None:
    """Fill the folder, whole or not at all; of several processes that do it at once, one wins."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sstable-writer-") as work:
            fresh = Path(work, "fresh")
            fresh.mkdir()
            _compile(java, Path(work, "classes"), fresh / "writer.jar")
            (fresh / "logback.xml").write_text(_QUIET, encoding="utf-8")
            # The JVM compares the class path of an archive by the paths themselves.
            with suppress(OSError):
                fresh.rename(folder)
            part = Path(work, "classes.jsa")
            rehearse(_command(java, folder, 256, [f"-XX:ArchiveClassesAtExit={part}"]))
            if part.exists() and not (folder / "classes.jsa").exists():
                part.rename(folder / "classes.jsa")
    except OSError as exc:
        raise PlatformError(
            f"the program that writes SSTables cannot be made in {folder.parent}: {exc.strerror}; "
            "set XDG_CACHE_HOME to a folder that can be written, or online.load.path to cql"
        ) from exc


def _compile(java: JavaHome, classes: Path, jar: Path) -> None:
    compiler = next((path for path in java.jars if path.name.startswith("ecj-")), None)
    if compiler is None:
        raise PlatformError("no compiler (ecj) is among Cassandra's jars; delete the cached jars, then try again")
    plain = [jar for jar in java.jars if not jar.name.startswith(_SHADOWING)]
    command = [
        str(java.executable), "-XX:TieredStopAtLevel=1", "-cp", str(compiler), _COMPILER, "-17", "-nowarn", "-cp",
        os.pathsep.join(map(str, plain)), "-d", str(classes), *map(str, _source_files()),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise PlatformError(
            f"the program that writes SSTables was not compiled within {_COMPILE_SECONDS} s; load again when the "
            "machine has less to do, or set online.load.path to cql"
        ) from None
    if done.returncode != 0:
        said = " / ".join(done.stderr.strip().splitlines()[:6])
        raise PlatformError(f"the program that writes SSTables does not compile with {java.build}: {said}")
    with zipfile.ZipFile(jar, "w") as packed:
        for path in sorted(classes.glob("*.class")):
            packed.write(path, path.name)
    shutil.rmtree(classes)
