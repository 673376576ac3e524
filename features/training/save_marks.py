"""Marks on the folders of running saves, by which the next save of a name finds what a killed one left, and removes it.

A folder without a manifest may be that of a save that still runs, here or elsewhere, or of another registry. So a save
holds the lock of a file in its folder, and the kernel drops that lock when the process dies. The file tells the boot of
the kernel, and the registry that the manifest goes to. Only what is certain is removed: folders whose mark was made
under this very kernel for this very registry, is held by nobody, and which no manifest of this registry names. Marks of
other registries and machines, of a boot before this one, and on object stores, which know no such locks, say nothing;
these folders stay.

The mark goes after the manifest is there. A save that was killed between the two leaves a saved set with a mark: its
own registry's next save removes the mark alone, and nobody else judges it.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from features.embedded.locking import try_lock
from features.errors import RegistryError
from features.stores.filesystems import is_local, open_filesystem

logger = logging.getLogger(__name__)

MARK = "_saving"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def marked(folder: str, *, registry: str) -> Iterator[None]:
    """Mark the folder of a save, until it has its manifest, for as long as the block runs, or its process lives.

    Where the block fails the mark stays, held by nobody; so does one that cannot be removed.

    Args:
        folder: of the save, which nobody else has.
        registry: the identity of the one that the manifest goes to.
    """
    descriptor = _mark(folder, registry)
    try:
        yield
        if descriptor is not None:
            # What stays, the next save removes: by then the registry names the folder.
            with suppress(OSError):
                _local(folder).joinpath(MARK).unlink()
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_leftovers(folder: str, *, registry: str, is_saved: Callable[[str], bool]) -> None:
    """Remove the folders below this one that killed saves of this machine and registry left. What cannot be stays.

    Args:
        folder: of all saves of a name.
        registry: its identity.
        is_saved: whether a manifest of the registry names a folder, by the folder's own name; it may raise
            RegistryError. Asked only of saves that are dead.
    """
    text = _text(registry)
    if text is None or not is_local(folder):
        return
    for mark in _local(folder).glob(f"*/{MARK}"):
        # Whoever cannot read, lock or remove it leaves it to the next save: it only takes space.
        try:
            if mark.read_text() == text and _remove(mark, text, is_saved):
                logger.info("removed what a killed save left", extra={"folder": str(mark.parent)})
        except (OSError, RegistryError) as exc:
            logger.warning("what a killed save left stays", extra={"folder": str(mark.parent), "reason": str(exc)})


def _mark(folder: str, registry: str) -> int | None:
    """The descriptor that holds the mark's lock; None: this disk, or system, has none, and the folder no mark."""
    text = _text(registry)
    if text is None or not is_local(folder):
        return None
    path = _local(folder) / MARK
    # A disk without locks gets no mark. One that cannot be written is told by the tasks, which say more.
    with suppress(OSError):
        path.parent.mkdir(parents=True)
        descriptor = try_lock(path)
        if descriptor is None:
            return None
        try:
            # Written under the lock: a mark that says nothing is nobody's to judge.
            path.write_text(text)
        except OSError:
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)
            return None
        return descriptor
    return None


def _remove(mark: Path, text: str, is_saved: Callable[[str], bool]) -> bool:
    """Remove a folder whose save is dead; False: it lives, or has ended by now, or has its manifest."""
    descriptor = try_lock(mark)
    if descriptor is None:
        return False
    try:
        # Asked under the lock: nobody is left who could still send a manifest.
        if mark.read_text() != text or is_saved(mark.parent.name):
            # Killed before it could remove the mark; or ended after the first look, and taking the lock made it anew.
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


def _text(registry: str) -> str | None:
    """What a mark says, made now for this registry; None: the system does not tell which start of its kernel it is."""
    try:
        return f"{_BOOT.read_text().strip()} {registry}\n"
    except OSError:
        return None
