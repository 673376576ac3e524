"""A process and all its descendants, a driver with its JVM and its Python workers: their peak memory, and their end."""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_EVERY_SECONDS = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """The greatest resident memory of a process tree inside a `with` block, at most 50 ms of growth missed.

    Pages that processes share, such as libraries, count in each of them, so the figure is rather too high: counting
    them once means walking page tables, which would slow down what is measured. Read from /proc, on Linux, by a thread
    of another process than those that are measured.
    """

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, sum(map(_resident, descendants(self._pid))))
            if self._over.wait(_EVERY_SECONDS):
                return


def descendants(pid: int) -> list[int]:
    """The process and all that it, and they, have started and that still run."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            parent = _parent(folder)
            if parent is not None:
                children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for process in found:
        found += children.get(process, [])
    return found


def kill_tree(pid: int) -> None:
    """End the process and all that it has started, at once."""
    for process in descendants(pid):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _parent(folder: Path) -> int | None:
    try:
        # The name of a program stands in parentheses and may hold anything, spaces and parentheses too.
        after_name = (folder / "stat").read_text(errors="replace").rpartition(")")[2]
    except OSError:
        return None
    return int(after_name.split()[1])


def _resident(pid: int) -> int:
    """Bytes of a process in memory; 0 where it has ended."""
    try:
        pages = (Path("/proc") / str(pid) / "statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * _PAGE
