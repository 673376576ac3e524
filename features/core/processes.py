"""Which process that is: told apart from strangers that later got the same pid, and from those of other machines."""

import os
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessId:
    """A process of some machine. mark: tells it from every other that ever had its pid there, see `birth_mark`."""

    host: str
    pid: int
    mark: str

    @classmethod
    def own(cls) -> Self:
        """Of this process."""
        return cls(host=socket.gethostname(), pid=os.getpid(), mark=birth_mark(os.getpid()) or "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of what `str` made. Raises: ValueError: it is none."""
        host, pid, mark = text.split(" ", 2)
        return cls(host=host, pid=int(pid), mark=mark)

    def __str__(self) -> str:
        return f"{self.host} {self.pid} {self.mark}"

    def runs(self) -> bool | None:
        """Whether it still runs; None: it is of another machine, or container, and nobody here can tell."""
        if self.host != socket.gethostname() or not self.mark:
            return None
        return is_running(self.pid, self.mark)


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
