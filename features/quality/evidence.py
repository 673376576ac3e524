"""What failed, counted by the gate itself: rows by interval, a few keys, and the split that quarantines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce
from operator import or_
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.core.applied import AppliedView
from features.core.dtypes import DType
from features.core.profile import Profile
from features.core.times import format_instant, from_micros
from features.errors import FeatureStoreError
from features.quality.conditions import holds
from features.quality.rules import Rule

SHOWN_KEYS = 3
SHOWN_LENGTH = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalEvidence:
    """One interval's rows, and how many of them fail, by number of each rule that failed somewhere.

    withheld: rows that fail any quarantining rule; keys: a few failing ones, of the rules that failed.
    """

    interval_end: str
    rows: int
    withheld: int
    failing: Mapping[int, int]
    keys: Mapping[int, tuple[str, ...]]


def gather_evidence(
    rows: DataFrame, view: AppliedView, rules: Sequence[Rule], profiles: Mapping[datetime, Profile]
) -> tuple[IntervalEvidence, ...]:
    """The evidence of every interval that has rows, in order: one query over the rows that fail.

    Keys are the least failing ones, so that reruns name the same; long ones are cut before they are compared.

    Args:
        rules: those that failed.
        profiles: of the intervals that have rows.
    """
    keys = F.struct(*(_shown(F.col(key), dtype).alias(key) for key, dtype in view.join_keys.items()))
    judged = rows.select(
        F.unix_micros("_interval").alias("_end"),
        keys.alias("_key"),
        *((~holds(rule)).alias(_fails(rule)) for rule in rules),
    ).where(reduce(or_, (F.col(_fails(rule)) for rule in rules)))
    withholding = [F.col(_fails(rule)) for rule in rules if rule.severity == "quarantine"]
    by_key = judged.groupBy("_end", "_key").agg(
        F.count_if(reduce(or_, withholding, F.lit(False))).alias("_withheld"),
        *(F.count_if(_fails(rule)).alias(_fails(rule)) for rule in rules),
    )
    by_interval = by_key.groupBy("_end").agg(
        F.sum("_withheld").alias("_withheld"),
        *(F.sum(_fails(rule)).alias(_fails(rule)) for rule in rules),
        *(_least_keys(rule).alias(_keys(rule)) for rule in rules),
    )
    found = {from_micros(row["_end"]): row for row in by_interval.collect()}
    return tuple(
        IntervalEvidence(
            interval_end=format_instant(end),
            rows=profile.rows,
            withheld=found[end]["_withheld"] if end in found else 0,
            failing={rule.number: found[end][_fails(rule)] if end in found else 0 for rule in rules},
            keys={
                rule.number: tuple(_write_key(key, view) for key in found[end][_keys(rule)] or ())
                for rule in rules
                if end in found
            },
        )
        for end, profile in sorted(profiles.items())
    )


def check_agreement(view: AppliedView, rules: Sequence[Rule], evidence: Sequence[IntervalEvidence]) -> None:
    """Raises FeatureStoreError where Great Expectations finds a rule broken that holds when rows are counted.

    rules: those that it finds broken.
    """
    for rule in rules:
        if not any(interval.failing[rule.number] for interval in evidence):
            raise FeatureStoreError(
                f"{view.reference}: Great Expectations says that {rule} fails, but 0 rows fail it when counted; "
                "nothing was published: check that the transform is deterministic, and report this"
            )


def split_off(rows: DataFrame, rules: Collection[Rule]) -> tuple[DataFrame, DataFrame]:
    """The rows that satisfy all these rules, and those that do not, with `_reasons`.

    A value that occurs twice withholds all rows that hold it, whatever their order.
    """
    reasons = F.array_compact(F.array(*(F.when(~holds(rule), F.lit(str(rule))) for rule in rules)))
    marked = rows.withColumn("_reasons", reasons)
    return marked.where(F.size("_reasons") == 0).drop("_reasons"), marked.where(F.size("_reasons") > 0)


def _fails(rule: Rule) -> str:
    return f"_fails_{rule.number}"


def _keys(rule: Rule) -> str:
    return f"_keys_{rule.number}"


def _least_keys(rule: Rule) -> Column:
    failing = F.when(F.col(_fails(rule)) > 0, F.col("_key"))
    return F.min_by(failing, failing, SHOWN_KEYS)


def _shown(key: Column, dtype: DType) -> Column:
    if dtype.kind == "timestamp":
        return F.unix_micros(key)
    return F.substring(key, 1, SHOWN_LENGTH + 1) if dtype.kind in ("string", "bytes") else key


def _write_key(key: Mapping[str, Any], view: AppliedView) -> str:
    return ", ".join(f"{name}={_write_value(key[name], dtype)}" for name, dtype in view.join_keys.items())


def _write_value(value: Any, dtype: DType) -> str:
    if value is None:
        return "null"
    if dtype.kind == "timestamp":
        return format_instant(from_micros(value))
    if dtype.kind in ("string", "bytes"):
        whole = value if dtype.kind == "string" else bytes(value)
        return repr(whole) if len(whole) <= SHOWN_LENGTH else f"{whole[:SHOWN_LENGTH]!r}..."
    return value.isoformat() if isinstance(value, date) else str(value)
