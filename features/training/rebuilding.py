"""Rebuilding a saved training set from its manifest."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView, Selection
from features.engine.spine import read_spine
from features.errors import StorageError
from features.registry import Registry, StoredManifest
from features.stores.delta import FeatureLog
from features.training.saved import Manifest, check_rebuilt
from features.training.training_set import Pin, TrainingSet, join_keys

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def rebuild(
    stored: StoredManifest,
    spark: "SparkSession",
    registry: Registry,
    warehouse: str,
    saver: Callable[[TrainingSet, str, bool], Manifest],
) -> TrainingSet:
    """The set that the manifest pins, computed from the logs as they were.

    Raises: StorageError: a log or the spine is gone, a view is not the one that was read, or the content differs.
    """
    content = stored.content
    pins = tuple(_pin(pinned, stored, spark, registry, warehouse) for pinned in content["views"])
    keys = join_keys(pin.selection.view for pin in pins)
    spine = read_spine(spark, content["spine_path"], keys=keys)
    rebuilt = TrainingSet(
        spark=spark,
        spine=spine,
        pins=pins,
        columns=tuple(content["columns"]),
        known_at=content["known_at"],
        saver=saver,
    )
    return check_rebuilt(rebuilt, stored)


def _pin(
    pinned: dict[str, Any], stored: StoredManifest, spark: "SparkSession", registry: Registry, warehouse: str
) -> Pin:
    view = registry.view(pinned["view"])
    if view.definition_hash != pinned["definition_hash"]:
        raise StorageError(f"{stored.reference} was made from another {view.reference}; it cannot be rebuilt here")
    log = FeatureLog(spark, warehouse, view)
    snapshot = log.snapshot()
    if pinned["position"] and (snapshot is None or snapshot.position < pinned["position"]):
        raise StorageError(
            f"{stored.reference} needs the log of {view.reference} up to position {pinned['position']}, but {log.path} "
            f"ends at {snapshot.position if snapshot is not None else 0}; restore the log"
        )
    return Pin(selection=_selection(view, pinned), log=log, snapshot=snapshot, position=pinned["position"])


def _selection(view: AppliedView, pinned: dict[str, Any]) -> Selection:
    features = tuple(view.feature(name) for name in pinned["features"])
    return Selection(view=view, features=features, columns=tuple(pinned["columns"]))
