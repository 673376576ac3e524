"""All rows of a view in a range of time, as a reader would find them: without a spine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from features.core.times import format_instant, to_micros
from features.engine.as_of import Estimate, Pin, ViewEstimate
from features.stores.delta import micros_literal
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, PUT, SEQ
from features.training.arrow_frames import to_pandas
from features.training.asked import Asked
from features.training.row_plans import FramePlan, RowPlan, to_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from features.training.manifest import Manifest
    from features.training.saved import Saver
    from features.training.splits import Splits


@dataclass(frozen=True, kw_only=True)
class FeatureRows:
    """The rows of one view with start <= event_timestamp < end that count for a reader at `at`.

    Columns: join keys, event_timestamp, created_timestamp, features; one row per key and event. at: None: a reader for
    whom all that the log holds is visible. content_hash: of rebuilt rows; None otherwise.
    """

    spark: "SparkSession"
    pins: Sequence[Pin]
    asked: Asked
    start: datetime
    end: datetime
    at: datetime | None
    saver: "Saver"
    content_hash: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The features' columns, in the order asked."""
        return self.asked.columns

    @property
    def known_at(self) -> str:
        """By which rule: "created", or "event" to see what leaks."""
        return self.asked.known_at

    @property
    def spine_columns(self) -> tuple[str, ...]:
        """Keys and times, which stand first."""
        (pin,) = self.pins
        return (*pin.selection.view.join_keys, EVENT, CREATED)

    def to_spark(self) -> "DataFrame":
        """The rows, in no particular order."""
        return self._frame

    def to_arrow(self) -> "pa.Table":
        """The same as an Arrow table."""
        return to_table(self._frame)

    def to_pandas(self) -> "pd.DataFrame":
        """The same as a pandas frame with nullable dtypes."""
        return to_pandas(self.to_arrow())

    def save(
        self, name: str, hold: bool = True, *, format: str = "parquet", splits: "Splits | None" = None
    ) -> "Manifest":
        """Write the rows, and a numbered manifest that can rebuild them; see `TrainingSet.save`."""
        return self.saver.save(self, name, hold=hold, format=format, splits=splits)

    def explain(self) -> str:
        """How the rows are computed, in words."""
        return "\n".join(self.plan().explain())

    def estimate(self) -> Estimate:
        """What will be read at most: the files whose statistics allow for the range."""
        return self.plan().estimate()

    def plan(self) -> RowPlan:
        """How the rows are computed."""
        (pin,) = self.pins
        version = "no commit yet" if pin.snapshot is None else f"Delta version {pin.snapshot.version}"
        names = ", ".join(f.name for f in pin.selection.features)
        told = [
            f"{pin.selection.view.reference}: {names}; {self._range}",
            f"  read at {version}, log position {pin.position}; by Spark, the row that counts of each key and event",
        ]
        return FramePlan(frame=self._frame, told=told, figures=self._estimate)

    def to_json(self) -> Mapping[str, Any]:
        """What was asked, as a manifest holds it."""
        at = None if self.at is None else format_instant(self.at)
        bounds = {"start": format_instant(self.start), "end": format_instant(self.end), "at": at}
        return {"kind": "rows", **self.asked.to_json(), **bounds}

    @property
    def _range(self) -> str:
        seen = "" if self.at is None else f", as a reader at {format_instant(self.at)} finds them"
        return f"{format_instant(self.start)} <= {EVENT} < {format_instant(self.end)}{seen}"

    @cached_property
    def _estimate(self) -> Estimate:
        (pin,) = self.pins
        found = () if pin.snapshot is None else pin.log.files(pin.snapshot).files
        files = [f for f in found if f.may_hold(EVENT, low=to_micros(self.start), high=to_micros(self.end))]
        tasks = int(self.spark.conf.get("spark.sql.shuffle.partitions") or 1)
        view = ViewEstimate(
            view=pin.selection.view.reference,
            engine="spark",
            files=len(files),
            bytes=sum(file.size for file in files),
            rows=sum(file.rows or 0 for file in files),
            partitions=tasks,
        )
        return Estimate(spine_rows=0, views=(view,))

    @cached_property
    def _frame(self) -> "DataFrame":
        (pin,) = self.pins
        return _counting(self._visible(pin), pin, self.columns)

    def _visible(self, pin: Pin) -> "DataFrame":
        from pyspark.sql import functions as F

        rows = pin.rows().where(
            (F.col(EVENT) >= micros_literal(self.start)) & (F.col(EVENT) < micros_literal(self.end))
        )
        if self.at is not None:
            rows = rows.where(F.col(EVENT) <= micros_literal(self.at))
            if self.known_at == "created":
                rows = rows.where(F.col(CREATED) <= micros_literal(self.at))
        return rows


def visible_keys(pin: Pin, at: datetime, known_at: str) -> "DataFrame":
    """The distinct keys of a log that a reader at `at` sees any row of, retracted or not."""
    from pyspark.sql import functions as F

    rows = pin.rows().where(F.col(EVENT) <= micros_literal(at))
    if known_at == "created":
        rows = rows.where(F.col(CREATED) <= micros_literal(at))
    return rows.select(*pin.selection.view.join_keys).distinct()


def _counting(rows: "DataFrame", pin: Pin, columns: Sequence[str]) -> "DataFrame":
    """Of each key and event the row that the as-of rule takes: of an interval the last created, of these the last."""
    from pyspark.sql import functions as F

    selection = pin.selection
    keys = list(selection.view.join_keys)
    # A name that no feature has, since a view may well have features named like columns of the answer.
    values = F.struct(
        *(F.col(f.name).alias(f"v{place}") for place, f in enumerate(selection.features)), F.lit(0).alias("_")
    )
    # The order of a struct is that of its fields, so the greatest struct is the row that counts.
    last = F.max(F.struct(CREATED, SEQ, OP, values.alias("values"))).alias("_last")
    counting = rows.groupBy(*keys, EVENT, INTERVAL).agg(last).where(F.col(f"_last.{OP}") == PUT)
    ranked = F.struct(INTERVAL, F.col(f"_last.{CREATED}").alias("created"), F.col("_last.values").alias("values"))
    best = counting.groupBy(*keys, EVENT).agg(F.max(ranked).alias("_best"))
    places = {column: place for place, column in enumerate(selection.columns)}
    return best.select(
        *keys,
        EVENT,
        F.col("_best.created").alias(CREATED),
        *(F.col(f"_best.values.v{places[column]}").alias(column) for column in columns),
    )
