"""Folders for SSTables on their way: each belongs to a running task, and what killed ones left is removed.

A folder's name holds the host, the namespace of pids (a container has its own) and the pid of its owner, and when that
was started, so that neither a later process with the same pid nor one of another machine or container is taken for it.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from features.errors import OnlineStoreError

_ROOT = "feature-platform-sstables"


@contextmanager
def staged(directory: str | None, keyspace: str, table: str) -> Iterator[Path]:
    """A folder of this process for SSTables of a table, removed afterwards; what dead processes left goes first.

    Args:
        directory: where; None: the folder for temporary files. Best on the disk that holds Cassandra's data: files are
            linked there, and copied from anywhere else.
        keyspace, table: Cassandra takes the names of a file's table from the last two parts of its path.

    Raises: OnlineStoreError: the folder cannot be made.
    """
    root = Path(directory or tempfile.gettempdir(), _ROOT).absolute()
    own = root / f"{_name_of(os.getpid())}-{uuid4().hex[:8]}"
    folder = own / keyspace / table
    try:
        remove_leftovers(root)
        folder.mkdir(parents=True)
    except OSError as exc:
        raise OnlineStoreError(
            f"SSTables cannot be written below {root}: {exc.strerror}; set online.load.directory to another folder"
        ) from exc
    try:
        yield folder
    finally:
        shutil.rmtree(own, ignore_errors=True)


def remove_leftovers(root: Path) -> None:
    """Delete the folders of processes of this machine, or container, that no longer run.

    Several processes may do it at once.
    """
    if not root.is_dir():
        return
    here = _name_of_pids()
    for folder in root.iterdir():
        pids, _, rest = folder.name.rpartition("~")
        pid, _, _ = rest.partition("-")
        if pids == here and pid.isdecimal() and not folder.name.startswith(f"{_name_of(int(pid))}-"):
            shutil.rmtree(folder, ignore_errors=True)


def _name_of_pids() -> str:
    """Host, and the namespace in which a pid names one process; "0" where the system has none."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = "0"
    return f"{socket.gethostname()}~{''.join(filter(str.isdecimal, namespace))}"


def _name_of(pid: int) -> str:
    """Whose pids, pid, and start of the process that has it now, in ticks since the machine's; "ended": none has it."""
    name = f"{_name_of_pids()}~{pid}"
    try:
        # A program's name stands in parentheses and may hold anything, spaces and parentheses too.
        after_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
    except OSError:
        return f"{name}-ended"
    return f"{name}-{after_name.split()[19]}"
