"""Erasing from saved training sets and the spines beside them: their files, and what their manifests tell of rows."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.times import format_instant
from features.erasure.request import ErasureRequest
from features.erasure.results import ErasedSet
from features.erasure.set_files import ANSWER, UNFINISHED, FileEraser, typed_keys
from features.errors import RegistryError, StorageError
from features.registry import Registry, StoredManifest
from features.stores.filesystems import native_uri, open_filesystem
from features.stores.keyed_rows import KeyedRows
from features.stores.log_files import list_files
from features.stores.spark_errors import first_line, spark_errors
from features.stores.vacuum import vacuum_now
from features.training.extraction import arrow_schema
from features.training.splits import SPLIT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SetEraser:
    """Erases from all saved sets of a registry, whether or not somebody holds them."""

    spark: "SparkSession"
    registry: Registry

    def erase(
        self, request: ErasureRequest, views: Sequence[AppliedView], erasure_id: str | None
    ) -> tuple[tuple[ErasedSet, ...], tuple[str, ...]]:
        """Remove the rows from every set that has the entity's join keys among the columns of its spine.

        A set's manifest is marked before its files change: from then on it refuses to be rebuilt. A file is replaced
        whole, so a reader finds all of its old rows or all of its new ones; killed anywhere, it is run again.

        Args:
            views: all registered versions. erasure_id: None: rows are counted alone.

        Returns: the sets that held rows; and, in words, those that could not be looked at.

        Raises: StorageError: a file cannot be read or written.
        """
        erased, unknown = [], []
        for reference in self.registry.manifest_references():
            try:
                stored = self.registry.manifest(reference)
            except RegistryError as exc:
                unknown.append(f"whether {reference} holds rows cannot be told: {exc}")
                continue
            if _concerns(request, stored, views):
                rows = self._erase_set(request, stored, erasure_id)
                if rows:
                    erased.append(ErasedSet(training_set=reference, rows=rows, held=stored.held))
        return tuple(erased), tuple(unknown)

    def _erase_set(self, request: ErasureRequest, stored: StoredManifest, erasure_id: str | None) -> int:
        """Rows erased from a set by this erasure, in this run or an earlier one; of a dry run, those that would be."""
        content = stored.content
        is_delta = content.get("format") == "delta"
        look = FileEraser(request=request, dry=True)
        spines = list(_files(content["spine_path"]))
        files = [] if is_delta else list(_files(content["path"]))
        table = self._table(request, content["path"]) if is_delta else None
        found = self._run(look, [*spines, *files])
        rows = sum(found[path]["erased"] for path in files) + (0 if table is None else table.found[0])
        in_spine = sum(found[path]["erased"] for path in spines)
        if erasure_id is None:
            return int(max(rows, in_spine))
        if not rows and not in_spine and stored.erasure != erasure_id:
            return 0
        before = content["rows"] if stored.erasure != erasure_id else content["erased"]["rows_before"]
        told = {"erasure": erasure_id, "at": format_instant(datetime.now(UTC)), "rows_before": before}
        # Least and greatest values of a column may be the entity's.
        self.registry.change_erased(stored.reference, {"erased": told, "statistics": {}})
        work = FileEraser(request=request, dry=False)
        found |= self._run(work, [path for path in [*spines, *files] if found[path]["erased"]])
        if table is not None:
            if table.found[0]:
                table.erase("{}")
            vacuum_now(content["path"])
        for folder in (content["path"], content["spine_path"]):
            _remove_unfinished(folder)
        now = _listed(content["path"]) if is_delta else {path: found[path] for path in files}
        left = sum(file["rows"] for file in now.values())
        changes: dict[str, Any] = {"rows": left}
        if "files" in content:
            changes["files"] = _told(content["path"], now)
            changes["spine_files"] = _told(content["spine_path"], {path: found[path] for path in spines})
            changes |= _parts(content, changes["files"])
        self.registry.change_erased(stored.reference, changes)
        logger.info("erased from a set", extra={"training_set": stored.reference, "rows": before - left})
        return int(before - left)

    def _run(self, work: FileEraser, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What the tasks answer for each file."""
        if not paths:
            return {}
        context = self.spark.sparkContext
        slices = min(len(paths), 4 * context.defaultParallelism)
        frame = self.spark.createDataFrame(context.parallelize([(path,) for path in paths], slices), "path string")
        try:
            answers: list[Any] = frame.mapInArrow(work, ANSWER).collect()
        except spark_errors() as exc:
            raise StorageError(f"the files of a training set: {first_line(exc)}; resume the erasure") from exc
        return {answer["path"]: answer.asDict() for answer in answers}

    def _table(self, request: ErasureRequest, path: str) -> KeyedRows | None:
        schema = arrow_schema(self.spark.read.format("delta").load(path).schema)
        keys = typed_keys(request, schema) if set(request.columns) <= set(schema.names) else None
        return KeyedRows(self.spark, path, keys) if keys is not None and keys.num_rows else None


def _concerns(request: ErasureRequest, stored: StoredManifest, views: Sequence[AppliedView]) -> bool:
    """Whether a set's rows are told apart by the entity's join keys."""
    content = stored.content
    if set(request.columns) & set(content.get("columns", ())):
        return False
    if not set(request.columns) <= set(content.get("spine_columns", request.columns)):
        return False
    known = {view.reference: view for view in views}
    read = [known[v["view"]] for v in content.get("views", ()) if v.get("view") in known]
    keyed = [view for view in read if set(request.columns) <= set(view.join_keys)]
    # Where all views that are read by these columns mean another entity, so does the spine.
    return not keyed or bool(request.concerned(keyed))


def _files(folder: str) -> Iterator[str]:
    """The Parquet files below a folder that readers of it see. Raises: StorageError."""
    from pyarrow.fs import FileSelector, FileType

    filesystem, root = open_filesystem(folder)
    try:
        listed = filesystem.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
    except OSError as exc:
        raise StorageError(f"cannot list the files of a training set at {folder}: {exc}; resume the erasure") from exc
    for info in sorted(listed, key=lambda info: info.path):
        if info.type == FileType.File and info.extension == "parquet" and not info.base_name.startswith(("_", ".")):
            yield f"{folder}{info.path.removeprefix(root.rstrip('/'))}"


def _remove_unfinished(folder: str) -> None:
    """Remove what killed attempts have left. Raises: StorageError."""
    from pyarrow.fs import FileSelector

    filesystem, root = open_filesystem(folder)
    try:
        for info in filesystem.get_file_info(FileSelector(root, recursive=True, allow_not_found=True)):
            if info.base_name.startswith(UNFINISHED):
                filesystem.delete_file(info.path)
    except OSError as exc:
        raise StorageError(f"cannot tidy the files of a training set at {folder}: {exc}; resume the erasure") from exc


def _listed(path: str) -> dict[str, dict[str, Any]]:
    """The files of a set's Delta table."""
    return {file.path: {"rows": file.rows or 0, "bytes": file.size} for file in list_files(path, []).files}


def _told(folder: str, files: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Files as a manifest lists them."""
    told = []
    for path, file in sorted(files.items()):
        below = path.removeprefix(f"{folder}/").removeprefix(f"{native_uri(folder)}/")
        entry = {"path": below, "rows": file["rows"], "bytes": file["bytes"]}
        first = below.partition("/")[0]
        if first.startswith(f"{SPLIT}=") and not first.endswith("__"):
            entry["part"] = first.removeprefix(f"{SPLIT}=")
        told.append(entry)
    return told


def _parts(content: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    splits = content.get("splits")
    if not splits:
        return {}
    rows = {part: sum(f["rows"] for f in files if f.get("part") == part) for part in splits["rows"]}
    return {"splits": {**splits, "rows": rows}}
