"""Folders that saves of training sets have left, on whatever store the warehouse is."""

from features.errors import StorageError
from features.registry import Registry
from features.stores.filesystems import open_filesystem


def find_leftovers(registry: Registry, warehouse: str) -> tuple[str, ...]:
    """The folders among a warehouse's training sets that no manifest of the registry names, sorted.

    Each is of a save that was killed, or still runs, or of another registry on the same warehouse. Nothing is changed.

    Raises: StorageError: the warehouse cannot be listed.
    """
    from pyarrow.fs import FileSelector, FileType

    sets = f"{warehouse.rstrip('/')}/training_sets"
    filesystem, root = open_filesystem(sets)

    def folders(below: str) -> list[str]:
        found = filesystem.get_file_info(FileSelector(below, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == FileType.Directory)

    try:
        # Listed before the registry is asked: what is saved meanwhile is named by then.
        found = [(name, folder) for name in folders(root) for folder in folders(f"{root.rstrip('/')}/{name}")]
    except OSError as exc:
        raise StorageError(f"cannot list the training sets at {sets}: {exc}; check the setting `warehouse`") from exc
    # By the folder's own name, which is random: paths can be written in many ways.
    saved = registry.find_manifests({folder for _, folder in found})
    return tuple(f"{sets}/{name}/{folder}" for name, folder in found if folder not in saved)
