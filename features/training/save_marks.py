"""Marks on the folders of running saves, by which the next save of a name finds what a killed one left, and removes it.

A folder without a manifest may be that of a save that still runs, here or elsewhere, or of another registry. So a save
holds the lock of a file in its folder, and the kernel drops that lock when the process dies. Only what is certain is
removed: folders whose mark was made under this very kernel, and is held by nobody. Marks of other machines, of a boot
before this one, and on object stores, which know no such locks, say nothing; these folders stay.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from features.embedded.locking import try_lock
from features.errors import StorageError
from features.stores.filesystems import is_local, open_filesystem

logger = logging.getLogger(__name__)

MARK = "_saving"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def marked(folder: str) -> Iterator[None]:
    """Mark the folder of a save for as long as the block runs, or its process lives.

    Where the block fails the mark stays, held by nobody. It is gone before a manifest can name the folder, so that a
    folder with a mark is never that of a saved set.

    Raises: StorageError: the mark cannot be removed.
    """
    descriptor = _mark(folder)
    try:
        yield
        if descriptor is not None:
            _unmark(folder)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_leftovers(folder: str) -> None:
    """Remove the folders below this one that killed saves of this machine left. What cannot be removed stays."""
    boot = _boot()
    if boot is None or not is_local(folder):
        return
    for mark in _local(folder).glob(f"*/{MARK}"):
        # Whoever cannot read, lock or remove it leaves it to the next save: it only takes space.
        try:
            if mark.read_text() == boot and _remove(mark, boot):
                logger.info("removed what a killed save left", extra={"folder": str(mark.parent)})
        except OSError as exc:
            logger.warning("what a killed save left stays", extra={"folder": str(mark.parent), "reason": str(exc)})


def _mark(folder: str) -> int | None:
    boot = _boot()
    if boot is None or not is_local(folder):
        return None
    path = _local(folder) / MARK
    # A disk without locks gets no mark. One that cannot be written is told by the tasks, which say more.
    with suppress(OSError):
        path.parent.mkdir(parents=True)
        descriptor = try_lock(path)
        # Written under the lock: a mark without a boot is nobody's to judge.
        path.write_text(boot)
        return descriptor
    return None


def _unmark(folder: str) -> None:
    try:
        _local(folder).joinpath(MARK).unlink()
    except OSError as exc:
        raise StorageError(f"cannot tidy the files of a training set at {folder}: {exc}; save it again") from exc


def _remove(mark: Path, boot: str) -> bool:
    """Remove a folder whose save is dead; False: it lives, or has ended by now."""
    descriptor = try_lock(mark)
    if descriptor is None:
        return False
    try:
        if mark.read_text() != boot:
            # The save ended after the first look, and taking the lock made its file anew.
            mark.unlink()
            return False
        # The mark goes last: if this is killed too, the next save goes on.
        for inner in mark.parent.iterdir():
            if inner.is_dir():
                shutil.rmtree(inner)
        shutil.rmtree(mark.parent)
    finally:
        os.close(descriptor)
    return True


def _local(folder: str) -> Path:
    return Path(open_filesystem(folder)[1])


def _boot() -> str | None:
    """Which start of which kernel this is; None: the system does not tell."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return None
