"""Locks between processes: the kernel drops them when their holder dies, so none is ever left behind."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.errors import PlatformError


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock of this file until it, and every copy that a child inherited, is closed.

    Returns:
        None where another holder has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def exclusive(path: Path, *, timeout_seconds: float) -> Iterator[None]:
    """Holds the lock of this file for a block.

    Raises:
        PlatformError: another process kept it for longer than the timeout.
    """
    deadline = time.monotonic() + timeout_seconds
    while (descriptor := try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise PlatformError(f"another process has held {path} for {timeout_seconds:.0f} s; wait for it or stop it")
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(descriptor)
