"""The files of a Delta table at its newest version, and the commit with which a copy of it goes on."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from features.errors import StorageError
from features.stores.filesystems import OpenFolder, native_uri
from features.stores.spark_errors import first_line

LOG_FOLDER = "_delta_log"
# Of a version: its commit, or a checkpoint of it. What else lies there only saves readers time.
_OF_A_VERSION = re.compile(r"(\d{20})\.(json|checkpoint(\.\d+\.\d+)?\.parquet)")


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFiles:
    """The files of a Delta table at a version, as paths below its own.

    data: files of its rows at that version; the rows of earlier ones that are no longer in it are left out.
    log: commits and checkpoints up to it, the oldest first.
    positions: the last transaction that each application has recorded, by its name.
    """

    version: int
    data: tuple[str, ...]
    log: tuple[str, ...]
    positions: Mapping[str, int]


def list_table(path: str, *, applications: tuple[str, ...] = ()) -> TableFiles | None:
    """The files of the table at `path`; None: there is none.

    Raises: StorageError: it cannot be read, or has rows that copying its files does not copy.
    """
    import pyarrow as pa
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        table = DeltaTable(native_uri(path))
        names = [unquote(name) for name in pa.table(table.get_add_actions(flatten=True))["path"].to_pylist()]
        features = table.protocol().reader_features or []
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as exc:
        raise StorageError(f"cannot read the table at {path}: {first_line(exc)}") from exc
    if "deletionVectors" in features or any("://" in name or name.startswith("/") for name in names):
        raise StorageError(
            f"the table at {path} has deletion vectors, or files elsewhere, which a backup does not take; rewrite it "
            "(REORG TABLE ... APPLY (PURGE)) and switch them off"
        )
    return TableFiles(
        version=table.version(),
        data=tuple(names),
        log=tuple(f"{LOG_FOLDER}/{name}" for name in list_log(path) if int(name[:20]) <= table.version()),
        positions={name: table.transaction_version(name) or 0 for name in applications},
    )


def list_log(path: str) -> list[str]:
    """The names of a table's commits and checkpoints, the oldest first; none where there is no table."""
    from pyarrow.fs import FileSelector

    folder = OpenFolder.open(path)
    selector = FileSelector(f"{folder.inner}/{LOG_FOLDER}", allow_not_found=True)
    names = (info.base_name for info in folder.filesystem.get_file_info(selector))
    return sorted(name for name in names if _OF_A_VERSION.fullmatch(name))


def advance_table(path: str, *, version: int, application: str, position: int, metadata: Mapping[str, Any]) -> int:
    """Have an application's transactions go on behind `position`: one commit behind `version`, without rows.

    Again is fine: where an earlier call has made it, nothing happens.

    Returns: the position from which they go on.

    Raises: StorageError: somebody else has changed the table since that version.
    """
    from deltalake import CommitProperties, DeltaTable, Transaction
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(native_uri(path))
        if table.version() == version:
            properties = CommitProperties(
                custom_metadata={"userMetadata": json.dumps({**metadata, "position": position})},
                app_transactions=[Transaction(application, position)],
                max_commit_retries=0,
            )
            table.create_write_transaction([], "append", table.schema(), commit_properties=properties)
            return position
        made = json.loads(table.history(1)[0].get("userMetadata") or "{}")
    except (DeltaError, OSError) as exc:
        raise StorageError(f"cannot write the table at {path}: {first_line(exc)}") from exc
    # As JSON has it: a tuple comes back as a list.
    asked = json.loads(json.dumps({**metadata, "position": made.get("position")}))
    if table.version() != version + 1 or made != asked:
        raise StorageError(
            f"the table at {path} is at version {table.version()}, not at {version}: something writes it"
        )
    return int(made["position"])
