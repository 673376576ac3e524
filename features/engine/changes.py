"""What a run has to append: the difference between its output and the current rows of its own intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.core.definitions import ViewSpec
from features.stores.delta import micros_literal
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, PUT, RETRACT, SEQ

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# Whether an appended put replaces a current one.
CORRECTS = "_corrects"


@dataclass(frozen=True, kw_only=True, slots=True)
class Nominal:
    """When the run of each interval counts as started, by the interval's end: created is that plus the view's delay."""

    starts: Mapping[datetime, datetime]

    def created(self, view: ViewSpec) -> "Column":
        """The created time of rows by their `_interval`."""
        from pyspark.sql import functions as F

        ends = sorted(self.starts)

        def choose(within: Sequence[datetime]) -> "Column":
            if len(within) == 1:
                return micros_literal(self.starts[within[0]] + view.delay)
            middle = len(within) // 2
            before = F.col(INTERVAL) < micros_literal(within[middle])
            return F.when(before, choose(within[:middle])).otherwise(choose(within[middle:]))

        return choose(ends)


def first_rows(rows: "DataFrame", view: ViewSpec, nominal: Nominal) -> "DataFrame":
    """Puts for all rows of intervals that the log holds nothing of, with their created time."""
    from pyspark.sql import functions as F

    created = F.col(CREATED) if view.is_imported else F.greatest(nominal.created(view), F.col(CREATED))
    return rows.select(
        *view.join_keys, EVENT, created.alias(CREATED), F.lit(PUT).alias(OP), INTERVAL, *_names(view)
    ).withColumn(CORRECTS, F.lit(False))


def difference(rows: "DataFrame", logged: "DataFrame", view: ViewSpec, nominal: Nominal) -> "DataFrame":
    """Corrections, new rows and retractions that turn the current rows of these intervals into `rows`.

    Compared by (key, event), an imported log's by (key, event, created) as well; over features alone. What is appended
    is created at least a microsecond later than all that was appended for that (key, event) of the interval before.

    Args:
        rows: the run's output: keys, event, created (null: the run's), features, `_interval`.
        logged: the log's rows of the same intervals, all of them.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    identity = [*view.join_keys, EVENT, INTERVAL, *([CREATED] if view.is_imported else [])]
    newest_first = Window.partitionBy(*identity).orderBy(F.col(CREATED).desc(), F.col(SEQ).desc())
    current = (
        logged.withColumn("_rank", F.row_number().over(newest_first))
        .where(F.col("_rank") == 1)
        .select(
            *identity,
            F.col(CREATED).alias("_last_created"),
            (F.col(OP) == PUT).alias("_is_put"),
            F.struct(*_names(view)).alias("_old"),
        )
    )
    fresh = rows.select(*identity, F.col(CREATED).alias("_asked_created"), F.struct(*_names(view)).alias("_new"))
    both = fresh.withColumn("_returned", F.lit(True)).join(current, identity, "full_outer")
    returned, is_put = F.coalesce("_returned", F.lit(False)), F.coalesce("_is_put", F.lit(False))
    differs = returned & ~(is_put & F.col("_new").eqNullSafe(F.col("_old")))
    gone = ~returned & is_put
    step = F.timestamp_micros(F.unix_micros("_last_created") + 1)
    created = F.greatest(nominal.created(view), F.col("_asked_created"), step)
    return both.where(differs | gone).select(
        *view.join_keys,
        EVENT,
        F.col(CREATED) if view.is_imported else created.alias(CREATED),
        F.when(gone, F.lit(RETRACT)).otherwise(F.lit(PUT)).alias(OP),
        INTERVAL,
        *(F.col(f"_new.{name}").alias(name) for name in _names(view)),
        (returned & is_put).alias(CORRECTS),
    )


def _names(view: ViewSpec) -> list[str]:
    return [f.name for f in view.features]
