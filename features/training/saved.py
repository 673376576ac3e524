"""Saving a training set with its manifest, and rebuilding it: the same rows, or an error."""

import logging
import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from features.core.checks import check_name
from features.core.times import format_instant
from features.errors import DefinitionError, StorageError, UsageError
from features.registry import Registry, StoredManifest
from features.stores.spark_errors import first_line, spark_errors
from features.training.content_hash import content_hash
from features.training.training_set import TrainingSet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What pins a saved training set.

    path: of the Parquet files of the set. spine_path: of the spine's. rows: of both. held: whether what a rebuild
    needs is kept from retention and drops.
    """

    name: str
    number: int
    content_hash: str
    rows: int
    path: str
    spine_path: str
    known_at: str
    columns: tuple[str, ...]
    held: bool
    created_at: str

    @property
    def reference(self) -> str:
        """`name@number`."""
        return f"{self.name}@{self.number}"


def manifest_of(stored: StoredManifest) -> Manifest:
    """The manifest in a registry's entry."""
    content = stored.content
    return Manifest(
        name=stored.name,
        number=stored.number,
        content_hash=content["content_hash"],
        rows=content["rows"],
        path=content["path"],
        spine_path=content["spine_path"],
        known_at=content["known_at"],
        columns=tuple(content["columns"]),
        held=stored.held,
        created_at=format_instant(stored.created_at),
    )


def save_training_set(
    training_set: TrainingSet, name: str, hold: bool, *, registry: Registry, warehouse: str
) -> Manifest:
    """Write set and spine from the executors, then the manifest: a save that is killed leaves no manifest.

    Raises: UsageError: the name; StorageError: the files cannot be written.
    """
    try:
        check_name(name, owner="training set")
    except DefinitionError as exc:
        raise UsageError(str(exc)) from exc
    folder = f"{warehouse.rstrip('/')}/training_sets/{name}/{uuid4().hex}"
    spark = training_set.spark
    frame = training_set.to_spark()
    _write(frame, f"{folder}/data")
    # What lies on disk is what is hashed and rebuilt: a spine that Spark computes twice need not be the same twice.
    written = read_saved(spark, f"{folder}/data")
    _write(written.drop(*training_set.columns), f"{folder}/spine")
    content = {
        "content_hash": content_hash(written),
        "rows": written.count(),
        "path": f"{folder}/data",
        "spine_path": f"{folder}/spine",
        "known_at": training_set.known_at,
        "columns": list(training_set.columns),
        "views": [_pinned(training_set, place) for place in range(len(training_set.pins))],
        "versions": {"python": platform.python_version(), "pyspark": version("pyspark")},
    }
    number = registry.save_manifest(name, content, hold=hold)
    logger.info("saved", extra={"training_set": f"{name}@{number}", "rows": content["rows"]})
    return manifest_of(registry.manifest(f"{name}@{number}"))


def check_rebuilt(training_set: TrainingSet, stored: StoredManifest) -> TrainingSet:
    """The rebuilt set with its content hash. Raises: StorageError: it is not what was saved."""
    found = content_hash(training_set.to_spark())
    wanted = stored.content["content_hash"]
    if found != wanted:
        raise StorageError(
            f"{stored.reference} cannot be rebuilt: content hash {found[:12]} instead of {wanted[:12]}; rows that it "
            f"needs were removed or rewritten. The saved files are at {stored.content['path']}"
        )
    return replace(training_set, content_hash=found)


def _pinned(training_set: TrainingSet, place: int) -> dict[str, Any]:
    pin = training_set.pins[place]
    return {
        "view": pin.selection.view.reference,
        "definition_hash": pin.selection.view.definition_hash,
        "position": pin.position,
        "features": [f.name for f in pin.selection.features],
        "columns": list(pin.selection.columns),
    }


def _write(frame: "DataFrame", path: str) -> None:
    try:
        frame.write.parquet(path)
    except spark_errors() as exc:
        raise StorageError(f"cannot write a training set to {path}: {first_line(exc)}") from exc


def read_saved(spark: "SparkSession", path: str) -> "DataFrame":
    """The Parquet files of a saved set. Raises: StorageError: they are gone."""
    try:
        return spark.read.parquet(path)
    except spark_errors() as exc:
        raise StorageError(f"the saved files at {path} cannot be read: {first_line(exc)}") from exc
