"""A training set: lazy until it is turned into a frame or saved, pinned from the moment it was asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from features.core.times import format_instant
from features.engine.as_of import AsOf, Estimate, Pin, plan_join
from features.engine.as_of.requests import NOT_FOUND
from features.engine.spine import ROW, Spine, full_frame, local_table
from features.training.arrow_frames import to_pandas
from features.training.asked import Asked
from features.training.leakage import LeakageReport, measure_leakage
from features.training.row_plans import Ordered, RowPlan, Stepped, to_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from features.training.manifest import Manifest
    from features.training.saved import Saver
    from features.training.splits import Splits


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Feature values beside the rows of a spine, as of each row's event_timestamp.

    asked: features, and how they are read. pins: where each view is read. latest_at: of latest features, the moment;
    rows of keys for which nothing was visible then are left out. content_hash: of a rebuilt set; None otherwise.
    """

    spark: "SparkSession"
    spine: Spine
    pins: Sequence[Pin]
    asked: Asked
    saver: "Saver"
    latest_at: datetime | None = None
    content_hash: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The features' columns, in the order asked."""
        return self.asked.columns

    @property
    def known_at(self) -> str:
        """By which rule: "created", or "event" to see what leaks."""
        return self.asked.known_at

    def to_spark(self) -> "DataFrame":
        """The spine's columns, then the features; rows in no particular order."""
        return self.plan().to_frame()

    def to_arrow(self) -> "pa.Table":
        """The same as an Arrow table; of a local spine in its order, its own columns untouched.

        Raises: SpineError: a column of a pandas spine holds what Arrow has no type for; `to_pandas` keeps it.
        """
        if not self.spine.is_local:
            return to_table(self.to_spark())
        table = local_table(self.spine.local)
        for name in self.columns:
            table = table.append_column(self._features.schema.field(name), self._features[name])
        return table

    def to_pandas(self) -> "pd.DataFrame":
        """The same as a pandas frame; features have nullable dtypes, a pandas spine keeps its index and dtypes."""
        import pandas as pd
        import pyarrow as pa

        if not self.spine.is_local:
            return to_pandas(to_table(self.to_spark()))
        local = self.spine.local
        features = to_pandas(self._features)
        frame = local.to_pandas() if isinstance(local, pa.Table) else local
        features.index = frame.index
        return pd.concat([frame, features], axis=1)

    def save(
        self, name: str, hold: bool = True, *, format: str = "parquet", splits: "Splits | None" = None
    ) -> "Manifest":
        """Write the set and its spine from the executors, and a numbered manifest that can rebuild it.

        Args:
            name: of the training set; each save of one name gets the next number.
            hold: keep what a rebuild needs from retention and drops.
            format: "parquet" or "delta", of the set; its spine is Parquet.
            splits: a TimeSplit or KeyHashSplit: each part is a folder, `split=<part>`; the manifest counts its rows.

        Raises: UsageError: the name, format, splits, or a column of a type that has no place in Parquet.
            StorageError: the files cannot be written. Nothing is saved then.
        """
        return self.saver.save(self, name, hold=hold, format=format, splits=splits)

    def explain(self) -> str:
        """How the set is computed, in words: which views at which positions, and by which join."""
        lines = [f"known_at={self.known_at}", *self.plan().explain()]
        for computed in self.asked.compiled.computed:
            lines.append(f"{computed.view.reference}: computed in the tasks: {', '.join(computed.columns.values())}")
        return "\n".join(lines)

    def estimate(self) -> Estimate:
        """What the join will read at most, before it reads: files, bytes and rows of each view, and tasks."""
        return self.plan().estimate()

    def leakage_report(self) -> LeakageReport:
        """How many values would differ if everything were known when it was true, and where the spine found nothing."""
        return measure_leakage(self.spine, self._full, self.pins, self.asked)

    def plan(self) -> RowPlan:
        """How the rows are computed: the spine's columns, then the features."""
        return self._plan(self._full)

    @property
    def spine_columns(self) -> tuple[str, ...]:
        """The spine's own columns, which stand first."""
        return tuple(self._full.columns)

    def to_json(self) -> Mapping[str, Any]:
        """What was asked, as a manifest holds it."""
        at = None if self.latest_at is None else format_instant(self.latest_at)
        return {"kind": "join", **self.asked.to_json(), "latest_at": at}

    @cached_property
    def _full(self) -> "DataFrame":
        return full_frame(self.spark, self.spine, self.asked.compiled.join_keys)

    @cached_property
    def _features(self) -> "pa.Table":
        """The features of a local spine, one row per row of it, in its order."""
        import pyarrow.compute as pc

        # Columns of the spine travel only where a function reads them.
        frame = self._with_request_columns() if self.asked.derivation.is_needed else self.spine.frame
        table = to_table(self._plan(frame).to_frame())
        return table.take(pc.sort_indices(table[ROW])).select(list(self.columns))

    def _with_request_columns(self) -> "DataFrame":
        import pyarrow as pa

        local = self.spine.local
        numbers = range(len(local))
        if isinstance(local, pa.Table):
            numbered: Any = local.append_column(ROW, pa.array(numbers, pa.int64()))
        else:
            numbered = local.assign(**{ROW: numbers})
        keys = self.asked.compiled.join_keys
        spine = Spine(frame=self.spine.frame, survey=self.spine.survey, local=numbered)
        return full_frame(self.spark, spine, keys, names=(*self.asked.compiled.request_columns, ROW))

    def _plan(self, frame: "DataFrame") -> RowPlan:
        statuses = [] if self.latest_at is None else [f"_status_{place}" for place in range(len(self.pins))]
        requests = [
            AsOf(pin=pin, known_at=self.known_at, status=statuses[place] if statuses else None)
            for place, pin in enumerate(self.pins)
        ]
        plan: RowPlan = plan_join(self.spine, requests, frame=frame)
        if statuses:
            joined = plan.to_frame()
            kept = [name for name in joined.columns if name not in statuses]
            plan = Stepped(plan, _Found(tuple(statuses)), joined.schema, kept)
        return derived(plan, self.asked, [*frame.columns, *self.columns])


def derived(plan: RowPlan, asked: Asked, names: Sequence[str]) -> RowPlan:
    """What was joined, with the on-demand features that were asked for; these columns, in this order."""
    if not asked.derivation.is_needed:
        return Ordered(plan, names)
    return Stepped(plan, asked.derivation.batches, asked.derivation.schema(plan.to_frame().schema), names)


@dataclass(frozen=True)
class _Found:
    """Keeps the rows that found something in some view."""

    statuses: tuple[str, ...]

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow.compute as pc

        for batch in batches:
            found = None
            for name in self.statuses:
                one = pc.not_equal(batch.column(name), NOT_FOUND)
                found = one if found is None else pc.or_(found, one)
            yield batch.filter(found)
