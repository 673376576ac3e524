"""Rebuilding a saved set from its manifest: the same rows, or an error that says why they cannot be had."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from features.core.applied import Selection
from features.core.times import parse_instant
from features.engine.as_of import Pin
from features.engine.progress import progress
from features.engine.spine import read_spine
from features.errors import NotFoundError, SpineError, StaleCodeError, StorageError, UsageError
from features.registry import Registry, StoredManifest
from features.stores.delta import FeatureLog
from features.stores.spark_errors import first_line, spark_errors
from features.training.asked import Asked
from features.training.differing import explain_difference
from features.training.feature_rows import FeatureRows
from features.training.manifest import CONTENT_VERSION, check_complete, code_version, library_versions, manifest_of
from features.training.saved import RowSet, Saver
from features.training.training_set import TrainingSet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, kw_only=True)
class Rebuilder:
    """What rebuilds of one environment share. ask: what a manifest's request stands for, in registry and code."""

    spark: "SparkSession"
    registry: Registry
    warehouse: str
    saver: Saver
    ask: Callable[[Mapping[str, Any]], Asked]

    def rebuild(self, stored: StoredManifest) -> TrainingSet | FeatureRows:
        """The set that the manifest pins, computed from the logs as they were, and found equal to what was saved.

        Raises: StorageError: a log or the spine is gone, a definition is not the one that was read, or the content
            differs, or rows were erased from it. RegistryError: the manifest was damaged.
        """
        content = stored.content
        if stored.erasure is not None:
            raise StorageError(
                f"{stored.reference} cannot be rebuilt: erasure {stored.erasure} removed rows of an entity from it; "
                f"what is left is at {manifest_of(stored).path}. Save a set of a new spine to have one that rebuilds"
            )
        if content.get("version") != CONTENT_VERSION:
            raise StorageError(
                f"{stored.reference} was saved by another release, whose content hash this one cannot compute; its "
                f"files are at {manifest_of(stored).path}"
            )
        check_complete(stored)
        asked = self._ask(stored)
        pins = tuple(self._pin(selection, stored) for selection in asked.compiled.selections)
        if content["kind"] == "rows":
            rows = FeatureRows(
                spark=self.spark,
                pins=pins,
                asked=asked,
                start=parse_instant(content["start"]),
                end=parse_instant(content["end"]),
                at=None if content["at"] is None else parse_instant(content["at"]),
                saver=self.saver,
            )
            return replace(rows, content_hash=self._check(rows, stored))
        frame = self._spine_frame(stored)
        try:
            spine = read_spine(self.spark, frame, keys=asked.compiled.join_keys)
        except SpineError as exc:
            raise StorageError(f"{stored.reference} cannot be rebuilt: its spine: {exc}") from exc
        training_set = TrainingSet(spark=self.spark, spine=spine, pins=pins, asked=asked, saver=self.saver)
        return replace(training_set, content_hash=self._check(training_set, stored))

    def _ask(self, stored: StoredManifest) -> Asked:
        content = stored.content
        try:
            asked = self.ask(content)
        except (NotFoundError, StaleCodeError) as exc:
            raise StorageError(f"{stored.reference} cannot be rebuilt: {exc}") from exc
        views = {c.view.reference: c.view.definition_hash for c in asked.compiled.computed}
        views |= {s.view.reference: s.view.definition_hash for s in asked.compiled.selections}
        for pinned in (*content["views"], *content["on_demand"]):
            if views.get(pinned["view"]) != pinned["definition_hash"]:
                raise StorageError(
                    f"{stored.reference} was made from another {pinned['view']} than the registry has; it cannot be "
                    "rebuilt here"
                )
        return asked

    def _pin(self, selection: Selection, stored: StoredManifest) -> Pin:
        view = selection.view
        position = next(p["position"] for p in stored.content["views"] if p["view"] == view.reference)
        log = FeatureLog(self.spark, self.warehouse, view)
        snapshot = log.snapshot()
        if position and (snapshot is None or snapshot.position < position):
            raise StorageError(
                f"{stored.reference} needs the log of {view.reference} up to position {position}, but {log.path} ends "
                f"at {snapshot.position if snapshot is not None else 0}; restore the log"
            )
        return Pin(selection=selection, log=log, snapshot=snapshot, position=position)

    def _spine_frame(self, stored: StoredManifest) -> "DataFrame":
        """The spine as it was saved, of the files that the manifest lists alone."""
        content = stored.content
        paths = [f"{content['spine_path']}/{file['path']}" for file in content["spine_files"]]
        try:
            return self.spark.read.parquet(*paths)
        except spark_errors() as exc:
            raise StorageError(
                f"{stored.reference} cannot be rebuilt: its spine at {content['spine_path']} cannot be read: "
                f"{first_line(exc)}; restore it"
            ) from exc

    def _check(self, rows: RowSet, stored: StoredManifest) -> str:
        """The content hash of what is computed now. Raises: StorageError: it is not what was saved."""
        from features.training.extraction import arrow_schema, extract
        from features.training.part_files import RowSink

        content = stored.content
        plan = rows.plan()
        try:
            schema = arrow_schema(plan.to_frame().schema)
        except UsageError as exc:
            raise StorageError(f"{stored.reference} cannot be rebuilt: {first_line(exc)}") from exc
        doing = f"rebuilding {stored.reference}"
        with progress(self.spark, doing):
            found = extract(plan, RowSink(schema=schema, spine_width=len(rows.spine_columns)), doing=doing)
        if found.content_hash == content["content_hash"]:
            return found.content_hash
        if content["kind"] != "rows" and found.spine_hash != content["spine_hash"]:
            raise StorageError(
                f"{stored.reference} cannot be rebuilt: its spine at {content['spine_path']} is not what was saved; "
                "restore it"
            )
        why = explain_difference(
            content,
            rows=found.rows,
            statistics={column: s.to_json() for column, s in found.statistics.items()},
            computed={column for c in rows.asked.compiled.computed for column in c.columns.values()},
            code=code_version(self.saver.package),
            versions=library_versions(),
        )
        raise StorageError(
            f"{stored.reference} cannot be rebuilt: content hash {found.content_hash[:12]} instead of "
            f"{content['content_hash'][:12]}{why}. The saved files are at {content['path']}"
        )
