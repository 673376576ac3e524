"""What failed, counted by the gate itself: rows by interval, a few keys, and the split that quarantines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.core.applied import AppliedView
from features.core.dtypes import DType
from features.core.times import format_instant, from_micros
from features.errors import FeatureStoreError
from features.quality.conditions import holds
from features.quality.rules import Rule

SHOWN_KEYS = 3
SHOWN_LENGTH = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalEvidence:
    """One interval's rows, and by rule number how many of them fail.

    withheld: rows that fail any quarantining rule; keys: a few failing ones, of the rules that failed.
    """

    interval_end: str
    rows: int
    withheld: int
    failing: Mapping[int, int]
    keys: Mapping[int, tuple[str, ...]]


def gather_evidence(
    rows: DataFrame, view: AppliedView, rules: Sequence[Rule], failed: Collection[int]
) -> tuple[IntervalEvidence, ...]:
    """The evidence of every interval that has rows, in order: one query. Counts for all rules, keys for the failed.

    Keys are the least failing ones, so that reruns name the same; long ones are cut before they are compared.
    """
    withholding = [_fails(rule) for rule in rules if rule.severity == "quarantine"]
    keys = F.struct(*(_shown(F.col(key), dtype).alias(key) for key, dtype in view.join_keys.items()))
    judged = rows.select(
        F.unix_micros("_interval").alias("_end"),
        keys.alias("_key"),
        *((~holds(rule)).alias(_fails(rule)) for rule in rules),
    )
    withheld = F.greatest(F.lit(False), F.lit(False), *withholding)
    by_key = judged.groupBy("_end", "_key").agg(
        F.count(F.lit(1)).alias("_rows"),
        F.count_if(withheld).alias("_withheld"),
        *(F.count_if(_fails(rule)).alias(_fails(rule)) for rule in rules),
    )
    by_interval = by_key.groupBy("_end").agg(
        F.sum("_rows").alias("_rows"),
        F.sum("_withheld").alias("_withheld"),
        *(F.sum(_fails(rule)).alias(_fails(rule)) for rule in rules),
        *(_least_keys(rule).alias(_keys(rule)) for rule in rules if rule.number in failed),
    )
    return tuple(
        IntervalEvidence(
            interval_end=format_instant(from_micros(row["_end"])),
            rows=row["_rows"],
            withheld=row["_withheld"],
            failing={rule.number: row[_fails(rule)] for rule in rules},
            keys={
                rule.number: tuple(_write_key(key, view) for key in row[_keys(rule)] or ())
                for rule in rules
                if rule.number in failed
            },
        )
        for row in by_interval.orderBy("_end").collect()
    )


def check_agreement(
    view: AppliedView, rules: Sequence[Rule], failed: Collection[int], evidence: Sequence[IntervalEvidence]
) -> None:
    """Raises FeatureStoreError where Great Expectations and the evidence differ on whether a rule holds.

    failed: numbers of the rules that Great Expectations finds broken.
    """
    for rule in rules:
        counted = sum(interval.failing[rule.number] for interval in evidence)
        if (rule.number in failed) != (counted > 0):
            said = "fails" if rule.number in failed else "holds"
            raise FeatureStoreError(
                f"{view.reference}: Great Expectations says that {rule} {said}, but {counted} rows fail it "
                "when counted; nothing was published: check that the transform is deterministic, and report this"
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
