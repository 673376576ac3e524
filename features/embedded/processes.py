"""Processes that outlive the one that started them: told apart from strangers that later got the same pid."""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from features.core.processes import birth_mark as birth_mark
from features.core.processes import is_running as is_running

_PROC = Path("/proc")


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
