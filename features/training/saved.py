"""Saving a set of rows: files from the executors, then its manifest, one entry in the registry, which is the save."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from features.core.checks import check_name
from features.engine.as_of import Pin
from features.engine.progress import progress
from features.errors import DefinitionError, RegistryError, StorageError, UsageError
from features.registry import Registry
from features.stores.filesystems import anywhere, open_filesystem
from features.training.asked import Asked
from features.training.manifest import (
    CONTENT_VERSION,
    Manifest,
    code_version,
    library_versions,
    manifest_of,
    pinned_view,
)
from features.training.row_plans import RowPlan
from features.training.save_marks import marked, remove_leftovers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.training.extraction import Extraction
    from features.training.part_files import WrittenFile
    from features.training.splits import Splits

logger = logging.getLogger(__name__)

FORMATS = ("parquet", "delta")
# Spark refuses Delta tables with these in the name of a column.
_NOT_IN_DELTA = set(" ,;{}()\n\t=")


class RowSet(Protocol):
    """Rows that can be saved: a training set, or all feature rows of a range."""

    @property
    def spark(self) -> "SparkSession":
        """The session that computes them."""

    @property
    def pins(self) -> Sequence[Pin]:
        """Where each view is read."""

    @property
    def asked(self) -> Asked:
        """What was asked for."""

    @property
    def spine_columns(self) -> tuple[str, ...]:
        """Columns that are no features, which stand first."""

    def plan(self) -> RowPlan:
        """How they are computed."""

    def to_json(self) -> Mapping[str, Any]:
        """What was asked for, as a manifest holds it."""


@dataclass(frozen=True, kw_only=True)
class Saver:
    """What saves of one environment share. package: the views package's name."""

    registry: Registry
    warehouse: str
    package: str

    def save(
        self, rows: RowSet, name: str, *, hold: bool, format: str = "parquet", splits: "Splits | None" = None
    ) -> Manifest:
        """Write rows and spine, then the manifest; a save that is killed before leaves none, and is run again.

        What killed saves of the name left is removed first, as far as it is certain that they are dead: `save_marks`.

        Raises: UsageError: the name, hold, format or splits; a column's type. StorageError: the files cannot be
            written. RegistryError: the registry does not take the manifest; what it says tells where the files are, if
            they are left.
        """
        from features.training.extraction import arrow_schema, extract
        from features.training.part_files import RowSink
        from features.training.splits import check_splits

        _check(name, hold, format)
        plan = rows.plan()
        schema = arrow_schema(plan.to_frame().schema)
        _check_columns(schema.names, format)
        if splits is not None:
            splits = check_splits(splits, schema.names, tuple(rows.asked.compiled.join_keys))
        saves = f"{self.warehouse.rstrip('/')}/training_sets/{name}"
        registry = self.registry.identity()
        remove_leftovers(saves, registry=registry, is_saved=lambda left: bool(self.registry.find_manifests([left])))
        folder = f"{saves}/{uuid4().hex}"
        sink = RowSink(schema=schema, spine_width=len(rows.spine_columns), folder=anywhere(folder), splits=splits)
        with marked(folder, registry=registry):
            with _removed_on_failure(folder):
                with progress(rows.spark, f"saving {name}"):
                    found = extract(plan, sink, doing=f"writing the set to {folder}")
                _remove_strays(f"{folder}/data", found.files)
                _remove_strays(f"{folder}/spine", found.spine_files)
                if format == "delta":
                    _make_delta_table(f"{folder}/data", found, splits)
                content = self._content(rows, found, folder=folder, format=format, splits=splits)
            reference = register(self.registry, name, content, folder=folder, hold=hold)
        logger.info("saved", extra={"training_set": reference, "rows": found.rows})
        try:
            return manifest_of(self.registry.manifest(reference))
        except RegistryError as exc:
            raise RegistryError(f"{reference} was saved, but its manifest cannot be read back: {exc}") from exc

    def _content(
        self, rows: RowSet, found: "Extraction", *, folder: str, format: str, splits: "Splits | None"
    ) -> dict[str, Any]:
        from features.training.content_hash import named_types

        parts = {part: count for part, count in found.parts.items() if part is not None}
        return {
            "version": CONTENT_VERSION,
            **rows.to_json(),
            "content_hash": found.content_hash,
            "spine_hash": found.spine_hash,
            "rows": found.rows,
            "format": format,
            "path": f"{folder}/data",
            "spine_path": f"{folder}/spine",
            "views": [pinned_view(pin) for pin in rows.pins],
            "schema": named_types(found.schema),
            "spine_columns": list(rows.spine_columns),
            "statistics": {column: s.to_json() for column, s in found.statistics.items()},
            "splits": None if splits is None else {**splits.to_json(), "rows": parts},
            "files": [_plain(file) for file in found.files],
            "spine_files": [_plain(file) for file in found.spine_files],
            "code": code_version(self.package),
            "versions": library_versions(),
        }


def register(registry: Registry, name: str, content: Mapping[str, Any], *, folder: str, hold: bool) -> str:
    """Save the manifest of the files in a folder, which are removed where the registry has not taken it; `name@number`.

    Raises: RegistryError: it has not; or nobody can tell, and the files stay: the message says where.
    """
    try:
        return f"{name}@{registry.save_manifest(name, content, hold=hold)}"
    except RegistryError as exc:
        own_name = folder.rpartition("/")[2]
        try:
            # The answer may be what was lost, not the manifest.
            saved = registry.find_manifests([own_name]).get(own_name)
        except RegistryError:
            raise RegistryError(
                f"{exc}. Whether {name} was saved is not known: its files stay at {folder}. Once the registry is back, "
                "look with `features training-set list`; if it is not there, save it again"
            ) from exc
        if saved is None:
            _remove(folder)
            raise
        return saved


def _check(name: str, hold: bool, format: str) -> None:
    if not isinstance(hold, bool):
        raise UsageError(f"hold must be True or False, got {hold!r}")
    try:
        check_name(name, owner="training set")
    except DefinitionError as exc:
        raise UsageError(str(exc)) from exc
    if format not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")


def _check_columns(names: Sequence[str], format: str) -> None:
    for name in names if format == "delta" else ():
        if _NOT_IN_DELTA & set(name):
            raise UsageError(f"a Delta table cannot have a column named {name!r}; rename it, or save as Parquet")


def _plain(file: "WrittenFile") -> dict[str, Any]:
    return {name: value for name, value in asdict(file).items() if value is not None}


def _make_delta_table(path: str, found: "Extraction", splits: "Splits | None") -> None:
    from features.stores.delta_files import DataFile, create_table
    from features.training.splits import SPLIT

    partition_by = () if splits is None else (SPLIT,)
    files = [
        DataFile(path=f.path, rows=f.rows, bytes=f.bytes, partition=dict.fromkeys(partition_by, f.part))
        for f in found.files
    ]
    create_table(path, found.schema, files, partition_by=partition_by)


@contextmanager
def _removed_on_failure(folder: str) -> Iterator[None]:
    """Remove what a failed save has written. It has no manifest, so nobody reads it; it only takes space."""
    try:
        yield
    except BaseException:
        _remove(folder)
        raise


def _remove(folder: str) -> None:
    with suppress(OSError, StorageError):
        filesystem, path = open_filesystem(folder)
        filesystem.delete_dir(path)


def _remove_strays(folder: str, files: "Sequence[WrittenFile]") -> None:
    """Remove what attempts of tasks left that did not succeed: whoever reads the folder reads the set."""
    from pyarrow.fs import FileSelector, FileType

    filesystem, root = open_filesystem(folder)
    wanted = {f"{root.rstrip('/')}/{file.path}" for file in files}
    try:
        for found in filesystem.get_file_info(FileSelector(root, recursive=True)):
            if found.type == FileType.File and found.path not in wanted:
                filesystem.delete_file(found.path)
    except OSError as exc:
        raise StorageError(f"cannot tidy the files of a training set at {folder}: {exc}; save it again") from exc
