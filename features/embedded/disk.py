"""What a full or read-only disk means, said once: before long work starts, and where it fails after all."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.errors import PlatformError

NEEDED_BYTES = 512 * 2**20


def require_space(folder: Path, purpose: str, advice: str) -> None:
    """Refuses to begin where an existing folder's disk has under 512 MiB left.

    Raises:
        PlatformError: it has.
    """
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise PlatformError(
            f"{folder} has {free // 2**20} MiB free, and {purpose} needs {NEEDED_BYTES // 2**20}: "
            f"free some, or {advice}"
        )


@contextmanager
def explained(folder: Path, purpose: str, advice: str) -> Iterator[None]:
    """Turns what the operating system says about files into an error that says what to do."""
    try:
        yield
    except OSError as exc:
        where = exc.filename or folder
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PlatformError(f"no space left for {purpose} at {where}: free 512 MiB, or {advice}") from exc
        raise PlatformError(
            f"no place for {purpose} at {where}: {exc.strerror or exc}; make it writable, or {advice}"
        ) from exc
