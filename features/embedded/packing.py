"""What travels with spark-submit: the project's wheel, and an archive of a Python environment that holds it."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.embedded.disk import explained, require_space
from features.errors import PlatformError, UsageError

REQUIREMENTS = Path("requirements/jobs.txt")
# Spark puts its own Python side on the path of its workers, in just its version.
_OF_SPARK = ("pyspark", "py4j")
# The fastest: most of what it holds are native libraries.
_COMPRESSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """The files, and the options of spark-submit that bring the archive to executors."""

    wheel: Path
    archive: Path
    options: tuple[str, ...]


def pack(
    project: Path,
    out: Path,
    *,
    requirements: Path = REQUIREMENTS,
    interpreter: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Package:
    """Builds the wheel of a project, and a relocatable environment with it and its locked dependencies.

    Executors need a Python of the same minor version, at one path on all machines; Spark and its Delta jars are theirs.
    The files have names of their content's version, and appear whole or not at all.

    Args:
        project: the folder with setup.cfg.
        out: where the files go; made where it is missing.
        requirements: a lock with hashes, of all that jobs import; relative to the project.
        interpreter: of the executors, as an absolute path; None: this machine's is at the same path there.
        progress: is told of each step.

    Raises:
        UsageError: there is no project or no lock, or the interpreter is no absolute path.
        PlatformError: no uv, no network for what is not cached, or no space.
    """
    locked = project / requirements
    for needed in (project / "setup.cfg", locked):
        if not needed.is_file():
            raise UsageError(f"nothing at {needed}; run this from the project's root")
    if interpreter is not None and not interpreter.is_absolute():
        raise UsageError(f"the executors' Python is an absolute path on their machines, not {str(interpreter)!r}")
    uv = _find_uv()
    with explained(out, "the package", "name another folder"):
        out.mkdir(parents=True, exist_ok=True)
        require_space(out, "packing", "name a folder on another disk")
        with tempfile.TemporaryDirectory(prefix=".packing-", dir=out) as name:
            work = Path(name)
            progress("building the wheel")
            # By way of the source distribution: a wheel made of the folder would hold what an earlier build left there.
            _run([uv, "build", "--quiet", "--out-dir", str(work / "wheel"), str(project)])
            (wheel,) = (work / "wheel").glob("*.whl")
            progress("installing it with its locked dependencies into a relocatable environment")
            environment = _make_environment(uv, wheel, locked, work)
            if interpreter is not None:
                _point_at(environment, interpreter)
            progress("writing the archive")
            version = "-".join(wheel.name.split("-")[:2])
            python = f"py{sys.version_info.major}{sys.version_info.minor}"
            archive = out / f"{version}-{python}-environment.tar.gz"
            _write_archive(environment, work / archive.name)
            (work / archive.name).replace(archive)
            kept = out / wheel.name
            wheel.replace(kept)
    return Package(wheel=kept, archive=archive, options=submit_options(archive))


def submit_options(archive: Path) -> tuple[str, ...]:
    """The options of spark-submit with which executors run the Python of the archive."""
    return ("--archives", f"{archive}#environment", "--conf", "spark.pyspark.python=./environment/bin/python")


def _make_environment(uv: str, wheel: Path, locked: Path, work: Path) -> Path:
    environment, wanted = work / "environment", work / "requirements.txt"
    blocks = _requirements(locked.read_text(encoding="utf-8"))
    wanted.write_text("".join(text for name, text in blocks if name not in _OF_SPARK), encoding="utf-8")
    _run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(environment)])
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", str(environment / "bin/python")]
    _run([*install, "--require-hashes", "-r", str(wanted)])
    _run([*install, str(wheel)])
    return environment


def _requirements(text: str) -> Iterator[tuple[str, str]]:
    """Each requirement of a lock file, by name, with its hashes."""
    name, block = "", ""
    for line in text.splitlines(keepends=True):
        if line[:1].isalnum():
            if name:
                yield name, block
            name, block = line.partition("==")[0].partition("[")[0].strip(), ""
        block += line
    if name:
        yield name, block


def _point_at(environment: Path, interpreter: Path) -> None:
    """Lets the environment go on from a Python of other machines."""
    link = environment / "bin/python"
    link.unlink()
    link.symlink_to(interpreter)
    config = environment / "pyvenv.cfg"
    lines = config.read_text(encoding="utf-8").splitlines()
    told = [f"home = {interpreter.parent}" if line.startswith("home") else line for line in lines]
    config.write_text("\n".join([*told, ""]), encoding="utf-8")


def _write_archive(environment: Path, archive: Path) -> None:
    def of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in member.name:
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(archive, "w:gz", compresslevel=_COMPRESSION) as tar:
        for part in sorted(environment.iterdir()):
            tar.add(part, arcname=part.name, filter=of_nobody)


def _find_uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise PlatformError("no uv beside this Python or on PATH; run `make setup`, or `pip install uv`")
    return found


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PlatformError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-1000:]}")
