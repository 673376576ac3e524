"""The rows that the gate judges, the view whose rules they must satisfy, and what its intervals were before."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from features import BatchSource, Check, DType, Entity, Expect, Feature, FeatureView
from features.core.applied import AppliedView
from features.core.canonical import applied_view, view_definition, view_metadata
from features.core.profile import Profile
from features.quality import Span
from features.stores.delta import micros_literal

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

END = datetime(2024, 1, 2, tzinfo=UTC)
FLOATS, INTS, TEXTS, UNIQUES = range(36), range(36, 44), range(44, 48), range(48, 50)
WRONG = ("warn", "quarantine", "refuse")
_EVERY = 1_000


def make_view() -> AppliedView:
    """50 features with 60 expectations, those that the schema asks for among them, and three checks that look back."""
    features = [
        *(Feature(f"f{i}", DType.FLOAT64, expect=[Expect.between(0, 100), *_not_null(i)]) for i in FLOATS),
        *(Feature(f"f{i}", DType.INT64, expect=[Expect.between(0, 1000, severity=_severity(i))]) for i in INTS),
        *(Feature(f"f{i}", DType.STRING, expect=[Expect.matches("^c[0-9]$")]) for i in TEXTS),
        Feature("f48", DType.INT64, expect=[Expect.unique()]),
        Feature("f49", DType.STRING, expect=[Expect.unique()]),
    ]
    view = FeatureView(
        name="wide",
        entities=[Entity(name="customer", join_keys={"customer": DType.STRING})],
        sources=[BatchSource(name="rows", path="rows", format="parquet", timestamp_field="event_timestamp")],
        features=features,
        transform=_as_they_are,
        lookback=None,
        schedule="@daily",
        delay=timedelta(0),
        description="what the gate judges",
        owner="bench",
        checks=[
            Check.row_count(min_ratio=0.5, max_ratio=2.0),
            Check.null_share("f0", max_increase=0.1),
            Check.mean("f1", max_deviations=4),
        ],
    )
    return applied_view(view_definition(view), view_metadata(view), version=1)


def make_rows(spark: "SparkSession", rows: int, *, wrong: bool) -> "DataFrame":
    """One interval. wrong: every thousandth row breaks a rule of each severity; else all hold."""
    from pyspark.sql import functions as F

    row = F.col("id")
    broken = (row % _EVERY == 0) if wrong else F.lit(False)

    def value(i: int) -> "Column":
        drawn = (F.xxhash64(row, F.lit(i)) % 100_000 + 100_000) % 100_000
        if i in FLOATS:
            return drawn.cast("double") / 1000
        if i in INTS:
            return F.when(broken & F.lit(_severity(i) != "refuse" or i == INTS[0]), F.lit(-1)).otherwise(drawn % 1000)
        return F.concat(F.lit("c"), drawn % 10) if i in TEXTS else row if i == UNIQUES[0] else F.concat(F.lit("u"), row)

    return spark.range(0, rows, 1, 4).select(
        F.concat(F.lit("k"), row).alias("customer"),
        micros_literal(END - timedelta(hours=1)).alias("event_timestamp"),
        micros_literal(END).alias("created_timestamp"),
        micros_literal(END).alias("_interval"),
        *(value(i).alias(f"f{i}") for i in range(50)),
    )


def earlier(rows: int) -> Span:
    """Seven intervals before, as many rows each."""
    means = [49.9, 50.0, 50.1, 49.95, 50.05, 49.9, 50.1]
    return Span(ends=[END], earlier=[Profile(rows=rows, nulls={"f0": 0}, means={"f1": mean}) for mean in means])


def _severity(i: int) -> str:
    return WRONG[(INTS[0] - i) % len(WRONG) - 1]


def _not_null(i: int) -> list[Any]:
    return [Expect.not_null()] if i < 7 else []


def _as_they_are(rows: Any) -> Any:
    return rows
