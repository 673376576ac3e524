"""Locked sets of jars: in a cache folder of the user, checked by checksum, and those of Spark where it finds them.

The cache is `$XDG_CACHE_HOME/feature-platform/jars` (else `~/.cache/...`), a folder for each content of a lock file.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from features.embedded.disk import explained, require_space
from features.embedded.jar_download import download, spark_jars
from features.embedded.jdk import find_java
from features.embedded.locked_jars import LOCK_FOLDER, JarSet, LockedJar, read_lock, sha256_of
from features.embedded.locking import exclusive
from features.errors import PlatformError

_PURPOSE = "downloaded jars"
_ADVICE = "set XDG_CACHE_HOME to a folder elsewhere"
_STAMP = ".checked.json"
# Longer than a download by another process may take.
_LOCK_SECONDS = 1800

Stamp = dict[str, list[int]]


def ensure_jars(
    name: str, *, locks: Path = LOCK_FOLDER, progress: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """The jars of a locked set, downloaded where they are not cached yet. In the lock file's order.

    A jar whose size or modification time changed since its checksum was taken is checked again, and the set is
    downloaded again where one is damaged. Any number of processes may call this at once.

    Args:
        name: "cassandra", "delta" or "jdbc".
        locks: the folder of the lock files.
        progress: is told of each long step.

    Raises:
        NotFoundError: no such set.
        PlatformError: no JDK, no network, no space, or what was downloaded is not what the lock file names.
    """
    wanted = read_lock(name, locks)
    root = cache_folder()
    folder = root / f"{wanted.name}-{wanted.digest}"
    paths = [folder / jar.filename for jar in wanted.jars]
    if _unchanged(folder / _STAMP, paths):
        return paths
    with explained(root, _PURPOSE, _ADVICE):
        root.mkdir(parents=True, exist_ok=True)
        with exclusive(root / f"{folder.name}.lock", timeout_seconds=_LOCK_SECONDS):
            if _unchanged(folder / _STAMP, paths):
                return paths
            if folder.is_dir():
                damaged = _damaged(wanted.jars, folder)
                if not damaged:
                    _write_stamp(folder / _STAMP, paths)
                    return paths
                progress(
                    f"downloading the {name} jars again: {', '.join(damaged[:3])} in {folder} is missing or damaged"
                )
            _download_set(wanted, folder, progress)
    return paths


def install_delta_jars(
    *, folder: Path | None = None, locks: Path = LOCK_FOLDER, progress: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Delta's jars inside the pyspark of this environment, so that a plain `spark-submit` finds Delta.

    They are hard links to the cached ones (copies, across file systems): deleting the cache breaks nothing. Versions
    that an earlier call put there are removed. Costs a few milliseconds where nothing changed.

    Args:
        folder: where Spark looks for jars; None means the installed pyspark's.
        locks: the folder of the lock files.
        progress: is told of each long step.

    Raises:
        PlatformError: no pyspark, its folder is read-only, it holds another Delta already, or as `ensure_jars`.
    """
    return _install("delta", folder or spark_jars(), locks, progress)


def install_jdbc_jars(
    *, folder: Path | None = None, locks: Path = LOCK_FOLDER, progress: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """The JDBC drivers that sources need, PostgreSQL's, likewise; see `install_delta_jars`, also for what it raises."""
    return _install("jdbc", folder or spark_jars(), locks, progress)


def _install(name: str, folder: Path, locks: Path, progress: Callable[[str], None]) -> list[Path]:
    wanted = read_lock(name, locks)
    stamp = folder / f".feature-platform-{name}.json"
    targets = [folder / jar.filename for jar in wanted.jars]
    if _unchanged(stamp, targets):
        return targets
    cached = ensure_jars(name, locks=locks, progress=progress)
    lock = exclusive(folder / f".feature-platform-{name}.lock", timeout_seconds=_LOCK_SECONDS)
    with explained(folder, f"the {name} jars", "install pyspark into an environment of your own"), lock:
        if _unchanged(stamp, targets):
            return targets
        ours = set(_read_stamp(stamp)) - {target.name for target in targets}
        for jar in wanted.jars:
            for other in sorted(folder.glob(f"{_family(jar)}[0-9]*.jar")):
                if other.name not in ours and other not in targets:
                    raise PlatformError(
                        f"{other} is another version of {jar.filename}: Spark would load both; remove it"
                    )
        for name in ours:
            (folder / name).unlink(missing_ok=True)
        for source, target in zip(cached, targets, strict=True):
            _link(source, target)
        _write_stamp(stamp, targets)
        progress(f"the {name} jars are in {folder}")
    return targets


def cache_folder() -> Path:
    """Where jars, and what is derived from them, are kept between projects of one user."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification has a relative value ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "feature-platform" / "jars"


def _download_set(wanted: JarSet, folder: Path, progress: Callable[[str], None]) -> None:
    require_space(folder.parent, f"downloading the {wanted.name} jars", _ADVICE)
    java = find_java()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
        fresh = Path(work, "fresh")
        fresh.mkdir()
        download(wanted.jars, fresh, java=java, progress=progress)
        for jar in wanted.jars:
            _check(jar, fresh / jar.filename)
        _write_stamp(fresh / _STAMP, [fresh / jar.filename for jar in wanted.jars])
        # A running JVM keeps the files that it opened, so a damaged set can be moved away under it.
        if folder.exists():
            folder.rename(Path(work, "damaged"))
        fresh.rename(folder)


def _check(jar: LockedJar, path: Path) -> None:
    if not path.is_file():
        raise PlatformError(f"{jar.filename} was not among what was downloaded; run this again")
    actual = sha256_of(path)
    if actual != jar.sha256:
        raise PlatformError(
            f"{jar.filename} was downloaded with sha256 {actual}, but the lock file has {jar.sha256}: a mirror, a "
            f"proxy or the local Maven repository holds another or a damaged file; delete {jar.group}/{jar.artifact}/"
            f"{jar.version} from the local Maven repository, then run this again"
        )


def _damaged(jars: Iterable[LockedJar], folder: Path) -> list[str]:
    def whole(path: Path, sha256: str) -> bool:
        return path.is_file() and sha256_of(path) == sha256

    return [jar.filename for jar in jars if not whole(folder / jar.filename, jar.sha256)]


def _link(source: Path, target: Path) -> None:
    passing = target.with_name(f".{target.name}.{os.getpid()}")
    passing.unlink(missing_ok=True)
    try:
        try:
            os.link(source, passing)
        except OSError:
            # Another file system, or one without links.
            shutil.copy2(source, passing)
        passing.replace(target)
    finally:
        # Renaming one link over another of the same file does nothing, and leaves both.
        passing.unlink(missing_ok=True)


def _family(jar: LockedJar) -> str:
    """What the file names of all versions begin with: `delta-spark_` for delta-spark_4.2_2.13."""
    head, underscore, _ = jar.artifact.partition("_")
    return f"{head}{underscore or '-'}"


def _stamp_of(paths: Iterable[Path]) -> Stamp:
    return {path.name: [(stat := path.stat()).st_size, stat.st_mtime_ns] for path in paths}


def _unchanged(stamp: Path, paths: Iterable[Path]) -> bool:
    try:
        return _stamp_of(paths) == _read_stamp(stamp)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _read_stamp(path: Path) -> Stamp:
    """What a stamp recorded; empty where there is none or it was cut short, which only costs another check."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_stamp(path: Path, jars: Iterable[Path]) -> None:
    passing = path.with_name(f"{path.name}.{os.getpid()}")
    passing.write_text(json.dumps(_stamp_of(jars)), encoding="utf-8")
    passing.replace(path)
