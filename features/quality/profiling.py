"""The figures of each interval, counted in the first look that the gate takes at the rows."""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.core.definitions import ViewSpec
from features.core.profile import Profile
from features.core.times import from_micros

# Sums of floats differ in their last bits with the order of rows: that must not show.
_DIGITS = 9


def profile_intervals(rows: DataFrame, view: ViewSpec) -> dict[datetime, Profile]:
    """The profile of each interval that has rows, by its end: one query over the columns that checks name."""
    nulls = sorted({check.column for check in view.checks if check.rule == "null_share"})
    means = sorted({check.column for check in view.checks if check.rule == "mean"})
    counted = rows.groupBy(F.unix_micros("_interval").alias("_end")).agg(
        F.count(F.lit(1)).alias("_rows"),
        *(F.count_if(F.col(name).isNull()).alias(f"_nulls_{name}") for name in nulls),
        *(_mean(name).alias(f"_mean_{name}") for name in means),
    )
    return {
        from_micros(row["_end"]): Profile(
            rows=row["_rows"],
            nulls={name: row[f"_nulls_{name}"] for name in nulls},
            means={name: _round(row[f"_mean_{name}"]) for name in means},
        )
        for row in counted.collect()
    }


def empty_profile(view: ViewSpec) -> Profile:
    """The profile of an interval without rows."""
    named: Mapping[str, list[str]] = {
        rule: [check.column for check in view.checks if check.rule == rule] for rule in ("null_share", "mean")
    }
    return Profile(rows=0, nulls=dict.fromkeys(named["null_share"], 0), means=dict.fromkeys(named["mean"]))


def _mean(name: str) -> Column:
    """Mean, and mean magnitude, of the values that are finite numbers."""
    number = F.col(name).cast("double")
    finite = F.when(F.abs(number) < F.lit(float("inf")), number)
    return F.struct(F.avg(finite).alias("mean"), F.avg(F.abs(finite)).alias("magnitude"))


def _round(found: Mapping[str, float | None]) -> float | None:
    """The mean to a digit that the order of rows cannot reach; None where no value is a number."""
    mean, magnitude = found["mean"], found["magnitude"]
    if mean is None or magnitude is None:
        return None
    return float(f"{mean:.{max(0, _exponent(mean) - _exponent(magnitude) + _DIGITS)}e}") if mean else 0.0


def _exponent(number: float) -> int:
    return int(f"{number:e}".partition("e")[2])
