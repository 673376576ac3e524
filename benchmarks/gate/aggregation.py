"""The contender: the same checks as one Spark aggregation and two queries for what is unique, as one writes by hand."""

from typing import TYPE_CHECKING

from benchmarks.gate.data import FLOATS, INTS, TEXTS, UNIQUES

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def aggregate(rows: "DataFrame") -> dict[str, float]:
    """How many rows fail each check, by its name, and the figures of the interval."""
    from pyspark.sql import functions as F

    def failing(condition: "Column") -> "Column":
        return F.count(F.when(condition, 1))

    size = F.octet_length("customer")
    checks = {
        "customer: not_null()": failing(F.col("customer").isNull()),
        "customer: key_bytes(1, 65535)": failing((size < 1) | (size > 65_535)),
        "event_timestamp: not_null()": failing(F.col("event_timestamp").isNull()),
        **{f"f{i}: between(0, 100)": failing(~F.col(f"f{i}").between(0, 100)) for i in FLOATS},
        **{f"f{i}: not_null()": failing(F.col(f"f{i}").isNull()) for i in FLOATS if i < 7},
        **{f"f{i}: between(0, 1000)": failing(~F.col(f"f{i}").between(0, 1000)) for i in INTS},
        **{f"f{i}: matches('^c[0-9]$')": failing(~F.col(f"f{i}").rlike("^c[0-9]$")) for i in TEXTS},
        "rows": F.count(F.lit(1)),
        "nulls of f0": failing(F.col("f0").isNull()),
        "mean of f1": F.avg("f1"),
    }
    row = rows.agg(*(column.alias(str(place)) for place, column in enumerate(checks.values()))).first()
    found: dict[str, float] = dict(zip(checks, row or (), strict=True))
    for i in UNIQUES:
        alike = rows.where(F.col(f"f{i}").isNotNull()).groupBy(f"f{i}").count().where("count > 1")
        told = alike.agg(F.coalesce(F.sum("count"), F.lit(0))).first()
        found[f"f{i}: unique()"] = told[0] if told is not None else 0
    return found
