"""Where benchmarks keep their data, their scratch and their results. Plain Python, for any environment."""

import os
import shutil
from pathlib import Path

STATE = Path(".state/bench")


def out_path(label: str) -> Path:
    """Where a contender of this process's race writes its result: two races at once do not meet."""
    return STATE / "out" / f"{label}-{os.getpid()}"


def scratch() -> str:
    """A folder for what spills."""
    folder = STATE.absolute() / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def remove(path: str | Path) -> None:
    """A file, a folder, or what is no longer there."""
    shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)
