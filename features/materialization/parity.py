"""Parity: how two versions of a view compare, key by key, before one takes the other's place online.

What is compared is what the online store holds once both are loaded: the row of each key that counts. One aggregation
over one join of the two; only its single row comes to the driver.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.dtypes import DType
from features.core.rollout import shared_features
from features.engine.winners import winners
from features.errors import SpineError, StorageError, UsageError
from features.materialization.parity_result import QUANTILES, Distribution, FeatureParity, Parity
from features.stores.delta import FeatureLog
from features.stores.log_state import EVENT, Snapshot
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from features.core.definitions import Feature

logger = logging.getLogger(__name__)

# Spark's sketch keeps ranks within 1/accuracy.
_ACCURACY = 1000
_FOUND = "_found"


@dataclass(frozen=True, kw_only=True)
class ParityCheck:
    """Compares versions whose logs are in one warehouse."""

    spark: "SparkSession"
    warehouse: str

    def compare(
        self,
        first: AppliedView,
        second: AppliedView,
        *,
        sample: int | None = None,
        keys: str | None = None,
        rtol: float = 0.0,
        max_different: float = 0.01,
        max_missing: float = 0.01,
    ) -> Parity:
        """Compare the latest rows of two versions, at the ends of their logs.

        Args:
            first: the version that is there, as a rule the live one.
            second: the version that is to take its place.
            sample: compare so many keys, the same ones whenever it is asked; None: all.
            keys: compare the keys in a file, Parquet or CSV with a header, that has the join keys as columns.
            rtol: floats are equal when they differ by at most this share of the larger; 0: when they are the same.
            max_different: past this share of the keys in both that differ in a feature, the comparison fails.
            max_missing: likewise of the keys of `first` that are not in `second`.

        Raises:
            UsageError: the versions are one, their join keys differ, or an argument makes no sense.
            SpineError: the file of keys cannot be read, or lacks a join key.
            StorageError: a log is empty or cannot be read.
        """
        _check(first, second, sample=sample, keys=keys, shares=(rtol, max_different, max_missing))
        logs = [FeatureLog(self.spark, self.warehouse, view) for view in (first, second)]
        snapshots = [_snapshot(log, view) for log, view in zip(logs, (first, second), strict=True)]
        frames = [log.read(s, position=s.position) for log, s in zip(logs, snapshots, strict=True)]
        chosen = self._choose(frames, first, sample=sample, keys=keys)
        if chosen is not None:
            frames = [frame.join(chosen, list(first.join_keys), "left_semi") for frame in frames]
        common = shared_features(first.features, second)
        logger.info("comparing", extra={"first": first.reference, "second": second.reference, "features": len(common)})
        try:
            (row,) = _joined(frames, first, second, common).agg(*_measures(common, rtol)).collect()
        except spark_errors() as exc:
            raise StorageError(
                f"{first.reference} and {second.reference} cannot be compared: {first_line(exc)}"
            ) from exc
        found = row.asDict(recursive=True)
        return Parity(
            first=first.reference,
            second=second.reference,
            position_first=snapshots[0].position,
            position_second=snapshots[1].position,
            keys_first=found["keys_first"],
            keys_second=found["keys_second"],
            keys_both=found["keys_both"],
            events_different=found["events_different"],
            features=tuple(_feature(feature, at, found) for at, feature in enumerate(common)),
            max_different=max_different,
            max_missing=max_missing,
            sampled=chosen is not None,
            **_uncommon(first, second),
        )

    def _choose(
        self, frames: "Sequence[DataFrame]", view: AppliedView, *, sample: int | None, keys: str | None
    ) -> "DataFrame | None":
        """The keys to compare, distinct; None: all."""
        from pyspark.sql import functions as F

        names = list(view.join_keys)
        if keys is not None:
            return F.broadcast(self._read_keys(keys, view).distinct())
        if sample is None:
            return None
        every = reduce(lambda one, other: one.union(other), [frame.select(*names) for frame in frames]).distinct()
        # By hash: a sample of all keys, the same each time, of which no more than itself is ever held.
        return F.broadcast(every.orderBy(F.xxhash64(*names), *names).limit(sample))

    def _read_keys(self, path: str, view: AppliedView) -> "DataFrame":
        from pyspark.sql import functions as F

        is_text = path.lower().endswith(".csv")
        try:
            frame = self.spark.read.csv(path, header=True) if is_text else self.spark.read.parquet(path)
        except spark_errors() as exc:
            raise SpineError(f"--keys {path!r} cannot be read: {first_line(exc)}") from exc
        lacking = [name for name in view.join_keys if name not in frame.columns]
        if lacking:
            raise SpineError(f"--keys {path!r} lacks {', '.join(lacking)}; it has {', '.join(frame.columns)}")
        typed = [F.col(name).try_cast(dtype.spark).alias(name) for name, dtype in view.join_keys.items()]
        found = frame.select(*typed)
        unusable = reduce(lambda one, other: one | other, [F.col(name).isNull() for name in view.join_keys])
        if bad := found.where(unusable).count():
            raise SpineError(f"--keys {path!r}: {bad} rows hold a null, or a value that is not of its key's type")
        return found


def _check(
    first: AppliedView, second: AppliedView, *, sample: int | None, keys: str | None, shares: Sequence[float]
) -> None:
    if first.reference == second.reference:
        raise UsageError(f"{first.reference} would be compared with itself; name two versions")
    if list(first.join_keys.items()) != list(second.join_keys.items()):
        raise UsageError(
            f"{first.reference} and {second.reference} have other join keys, so no row of one is the other's"
        )
    if sample is not None and keys is not None:
        raise UsageError("give a sample or a file of keys, not both")
    if sample is not None and sample < 1:
        raise UsageError(f"a sample of {sample} keys; give at least 1")
    if any(not 0 <= share <= 1 for share in shares):
        raise UsageError("the tolerance and the limits are shares: at least 0, and at most 1 (100%)")


def _snapshot(log: FeatureLog, view: AppliedView) -> Snapshot:
    snapshot = log.snapshot()
    if snapshot is None:
        raise StorageError(f"{view.reference} was never built: {log.path} is empty; run `features backfill`")
    return snapshot


def _joined(
    frames: "Sequence[DataFrame]", first: AppliedView, second: AppliedView, common: "Sequence[Feature]"
) -> "DataFrame":
    """One row per key of either: `in_0`, `in_1` (bool), event times `event_0`, `event_1`, and values `v0_i`, `v1_i`."""
    from pyspark.sql import functions as F

    sides = []
    for side, (frame, view) in enumerate(zip(frames, (first, second), strict=True)):
        sides.append(
            winners(frame, view)
            .where(_FOUND)
            .select(
                *(F.col(name).alias(f"k_{at}") for at, name in enumerate(view.join_keys)),
                F.lit(True).alias(f"in_{side}"),
                F.col(EVENT).alias(f"event_{side}"),
                *(F.col(feature.name).alias(f"v{side}_{at}") for at, feature in enumerate(common)),
            )
        )
    one, other = sides
    joined = one.join(other, [f"k_{at}" for at in range(len(first.join_keys))], "full_outer")
    return joined.withColumns({name: F.coalesce(name, F.lit(False)) for name in ("in_0", "in_1")})


def _measures(common: "Sequence[Feature]", rtol: float) -> "list[Column]":
    """The aggregates of the whole comparison, named by feature's place."""
    from pyspark.sql import functions as F

    both = F.col("in_0") & F.col("in_1")
    measures = [
        F.count_if(F.col("in_0")).alias("keys_first"),
        F.count_if(F.col("in_1")).alias("keys_second"),
        F.count_if(both).alias("keys_both"),
        F.count_if(both & (F.col("event_0") != F.col("event_1"))).alias("events_different"),
    ]
    for at, feature in enumerate(common):
        one, other = F.col(f"v0_{at}"), F.col(f"v1_{at}")
        measures.append(F.count_if(both & ~_equal(one, other, feature.dtype, rtol)).alias(f"different_{at}"))
        for side, value in enumerate((one, other)):
            measures.append(F.count_if(F.col(f"in_{side}") & value.isNull()).alias(f"null_{side}_{at}"))
            if feature.dtype.is_numeric:
                measures.append(_distribution(value).alias(f"distribution_{side}_{at}"))
    return measures


def _equal(one: "Column", other: "Column", dtype: DType, rtol: float) -> "Column":
    """Whether two values are equal, never null; NaN equals NaN, and null null."""
    from pyspark.sql import functions as F

    same = one.eqNullSafe(other)
    if rtol and dtype.is_float:
        return same | F.coalesce(_near(one, other, rtol), F.lit(False))
    if rtol and (dtype.kind == "vector" or (dtype.element is not None and dtype.element.is_float)):
        pairs = F.zip_with(one, other, lambda a, b: F.coalesce(a.eqNullSafe(b) | _near(a, b, rtol), F.lit(False)))
        return same | F.coalesce((F.size(one) == F.size(other)) & F.forall(pairs, lambda pair: pair), F.lit(False))
    return same


def _near(one: "Column", other: "Column", rtol: float) -> "Column":
    from pyspark.sql import functions as F

    a, b = one.cast("double"), other.cast("double")
    larger = F.greatest(F.abs(a), F.abs(b))
    # Nothing is near to an infinity, nor to NaN, which Spark takes for greater than all.
    return (larger < float("inf")) & (F.abs(a - b) <= rtol * larger)


def _distribution(value: "Column") -> "Column":
    from pyspark.sql import functions as F

    number = value.cast("double")
    finite = F.when(F.abs(number) < float("inf"), number)
    return F.struct(
        F.mean(finite).alias("mean"),
        F.stddev(finite).alias("stddev"),
        F.min(finite).alias("min"),
        F.max(finite).alias("max"),
        F.percentile_approx(finite, list(QUANTILES), _ACCURACY).alias("quantiles"),
    )


def _feature(feature: "Feature", at: int, found: dict[str, Any]) -> FeatureParity:
    sides = [found.get(f"distribution_{side}_{at}") for side in (0, 1)]
    first, second = (None if d is None else Distribution(**{**d, "quantiles": _tuple(d["quantiles"])}) for d in sides)
    return FeatureParity(
        name=feature.name,
        dtype=str(feature.dtype),
        different=found[f"different_{at}"],
        null_first=found[f"null_0_{at}"],
        null_second=found[f"null_1_{at}"],
        first=first,
        second=second,
    )


def _tuple(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


def _uncommon(first: AppliedView, second: AppliedView) -> dict[str, tuple[str, ...]]:
    """The features that only one version has, and those whose types differ."""
    types = [{f.name: f.dtype for f in view.features} for view in (first, second)]
    return {
        "only_first": tuple(name for name in types[0] if name not in types[1]),
        "only_second": tuple(name for name in types[1] if name not in types[0]),
        "other_types": tuple(
            f"{name}: {dtype} -> {types[1][name]}"
            for name, dtype in types[0].items()
            if name in types[1] and types[1][name] != dtype
        ),
    }
