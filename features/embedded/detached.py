"""Programs that outlive whoever started them, and the file that says which they are."""

import json
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.embedded.processes import birth_mark, is_running, send_signal, spawn_detached
from features.errors import PlatformError

_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Detached:
    """A process that was started: `mark` tells it from a later one with its pid."""

    name: str
    pid: int
    mark: str

    def runs(self) -> bool:
        """Whether it still does."""
        return is_running(self.pid, self.mark)


def start_detached(name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> Detached:
    """Starts a program that no signal from a terminal reaches; `log` is overwritten with what it says.

    Raises:
        PlatformError: it ended at once.
        OSError: it cannot be started.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        pid = spawn_detached(command, environment=environment, output=log, inherit=nothing)
    finally:
        os.close(nothing)
    mark = birth_mark(pid)
    if mark is None:
        raise PlatformError(f"{name} ended at once; see {log}")
    return Detached(name=name, pid=pid, mark=mark)


def end_all(processes: Iterable[Detached], number: signal.Signals, *, seconds: float) -> None:
    """Asks all to end, by that signal; those that have not in so many seconds are killed.

    Raises:
        PlatformError: not even force ended one.
    """
    left = list(processes)
    for how, grace in ((number, seconds), (signal.SIGKILL, _KILL_SECONDS)):
        left = [process for process in left if send_signal(process.pid, process.mark, how)]
        deadline = time.monotonic() + grace
        while (left := [process for process in left if process.runs()]) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    if left:
        told = ", ".join(f"{process.name} (pid {process.pid})" for process in left)
        raise PlatformError(f"{told} does not end, not even killed; its disk may hang")


def read_record(path: Path) -> tuple[dict[str, Any], tuple[Detached, ...]]:
    """What was written down at the last start, and the processes of it; empty where none is, or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content, tuple(Detached(**process) for process in content.pop("processes"))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}, ()


def write_record(path: Path, content: Mapping[str, object], processes: Iterable[Detached]) -> None:
    """Replaces the record, whole or not at all."""
    passing = path.with_name(f"{path.name}.{os.getpid()}")
    passing.write_text(json.dumps({**content, "processes": [asdict(p) for p in processes]}), encoding="utf-8")
    passing.replace(path)


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log, for the message of an error."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]) if log.exists() else ""
