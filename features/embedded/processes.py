"""Processes that outlive the one that started them: told apart from strangers that later got the same pid."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"


def birth_mark(pid: int) -> str | None:
    """What tells this process from every other that ever had its pid: when it was started, in which boot.

    Returns:
        None where no such process exists.
    """
    return _look(pid)[1]


def is_running(pid: int, mark: str) -> bool:
    """Whether the process with this mark runs. One that ended, and that nobody waited for yet, does not."""
    ended, found = _look(pid)
    if found != mark:
        return False
    if ended:
        # If it is a child of this process, nobody else will.
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return not ended


def send_signal(pid: int, mark: str, number: signal.Signals) -> bool:
    """Signals the process with this mark, and no other. False where it no longer runs."""
    if not hasattr(os, "pidfd_open"):
        if not is_running(pid, mark):
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return True
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Read after the descriptor was opened, so the pid cannot change hands before the signal.
        if not is_running(pid, mark):
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        return True
    finally:
        os.close(descriptor)


def spawn_detached(command: Sequence[str], *, environment: Mapping[str, str], output: Path, inherit: int) -> int:
    """Starts a program in a session of its own, so that no terminal's signal reaches it, and returns its pid.

    Args:
        command: an absolute path and the arguments.
        environment: all of it.
        output: the file that its stdout and stderr overwrite.
        inherit: a descriptor that it keeps open as long as it lives.
    """
    # Copying a descriptor onto itself would leave it closed in the child on some systems.
    copy = os.dup(inherit)
    try:
        return os.posix_spawn(
            command[0],
            list(command),
            dict(environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, copy, inherit),
            ],
            setsid=True,
        )
    finally:
        os.close(copy)


def pids_with_open(targets: set[str]) -> list[int]:
    """The processes that hold one of these open ("socket:[4711]", or a path). Those of other users stay unseen."""
    found = []
    for folder in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            if any(_link(entry) in targets for entry in (folder / "fd").iterdir()):
                found.append(int(folder.name))
    return sorted(found)


def _link(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except OSError:
        return ""


def _look(pid: int) -> tuple[bool, str | None]:
    """Whether the process has ended, and its mark; None where there is none."""
    if not _PROC.joinpath("self/stat").exists():
        return _look_by_ps(pid)
    try:
        # The name of the program, in brackets, may itself hold brackets and spaces.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True, None
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    state, started_ticks = fields[0], fields[19]
    return state in "ZX", f"{boot}:{started_ticks}"


def _look_by_ps(pid: int) -> tuple[bool, str | None]:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    state, _, started = answer.partition(" ")
    return state.startswith("Z"), started.strip() or None
