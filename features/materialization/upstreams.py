"""The views that a build reads: at which commit of their logs."""

from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.engine.upstream import Upstream
from features.registry import Registry
from features.stores.delta import FeatureLog

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def open_upstreams(spark: "SparkSession", registry: Registry, warehouse: str, view: AppliedView) -> dict[str, Upstream]:
    """The views that a view reads, by `name@version`, at the newest commits of their logs.

    Raises: StorageError: a log cannot be read.
    """
    found: dict[str, Upstream] = {}
    for reference in view.upstreams:
        upstream = registry.view(reference)
        log = FeatureLog(spark, warehouse, upstream)
        snapshot = log.snapshot()
        found[reference] = Upstream(
            view=upstream,
            log=log,
            snapshot=snapshot,
            position=0 if snapshot is None else snapshot.position,
            delta_version=None if snapshot is None else snapshot.version,
        )
    return found
