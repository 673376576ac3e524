"""The processes of the local Airflow: started in sessions of their own, and ended with all that they started."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.embedded.processes import birth_mark, is_running
from features.errors import PlatformError


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """A process that was started: `mark` tells it from a later one with its pid."""

    name: str
    pid: int
    mark: str

    def runs(self) -> bool:
        """Whether it still does."""
        return is_running(self.pid, self.mark)


def find_airflow() -> tuple[str, str]:
    """Airflow's version and its program, beside this Python. Raises: PlatformError: it is not installed."""
    program = Path(sys.executable).parent / "airflow"
    try:
        version = importlib.metadata.version("apache-airflow")
    except importlib.metadata.PackageNotFoundError as exc:
        raise PlatformError("Airflow is not installed; run `make setup`, or install the extra `airflow`") from exc
    if not program.exists():
        raise PlatformError(
            f"no program {program}; install the extra `airflow` into the environment of {sys.executable}"
        )
    return version, str(program)


def spawn(name: str, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], log: Path) -> Component:
    """Starts a program that no signal from a terminal reaches; `log` is overwritten with what it says.

    Raises: PlatformError: it ended at once.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    mark = birth_mark(process.pid)
    # It outlives this process on purpose, which Popen would warn of; where it does not, `is_running` waits for it.
    process.returncode = 0
    if mark is None:
        raise PlatformError(f"{' '.join(command)} ended at once; see {log}")
    return Component(name=name, pid=process.pid, mark=mark)


def end_all(components: Iterable[Component], *, marker: tuple[str, str], grace_seconds: float = 8.0) -> None:
    """Ends the components, what they started, and every other process with the marker in its environment.

    Components get SIGINT, the only signal on which they end cleanly, and so many seconds for it; what is left then,
    such as a running task, gets SIGTERM and a quarter of that, then SIGKILL.

    Raises: PlatformError: some do not end.
    """
    import psutil  # type: ignore[import-untyped]  # comes with Airflow

    heads = [process for component in components if component.runs() for process in _find(component.pid)]
    left = {*heads, *(child for head in heads for child in _descendants(head)), *_marked(marker)}
    # Twice at last: for what was started while its parent was being killed.
    steps = ((signal.SIGINT, 1.0), (signal.SIGTERM, 0.25), (signal.SIGKILL, 1.0), (signal.SIGKILL, 1.0))
    for number, share in steps:
        for process in heads if number == signal.SIGINT else left:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        # Tasks run in sessions of their own: one that was started meanwhile is known by its marker alone.
        left = {*_wait(left, share * grace_seconds), *_marked(marker)}
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise PlatformError(f"processes of Airflow do not end: {pids}; end them by hand")


def _wait(processes: set[Any], seconds: float) -> set[Any]:
    """Those that still run at the end of the time, or none, as soon as there are none."""
    deadline = time.monotonic() + seconds
    while (left := {process for process in processes if _runs(process)}) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _runs(process: Any) -> bool:
    import psutil

    try:
        # One that ended and that its parent, or a container's first process, never waits for stays a zombie for ever.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _marked(marker: tuple[str, str]) -> list[Any]:
    """Processes of the Airflow with this marker, also those whose parents are gone."""
    import psutil

    name, value = marker
    found = []
    for process in psutil.process_iter():
        # Those of others, and those that just ended, cannot be read.
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(name) == value:
                found.append(process)
    return found


def _find(pid: int) -> list[Any]:
    import psutil

    with suppress(psutil.NoSuchProcess):
        return [psutil.Process(pid)]
    return []


def _descendants(process: Any) -> list[Any]:
    import psutil

    with suppress(psutil.NoSuchProcess):
        return list(process.children(recursive=True))
    return []
