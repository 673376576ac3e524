"""A training set: lazy until it is turned into a frame or saved, pinned from the moment it was asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView, Selection
from features.core.dtypes import DType
from features.engine.point_in_time import as_of_join, explain_join
from features.engine.spine import ROW, Spine, full_frame
from features.stores.delta import FeatureLog, Snapshot
from features.training.leakage import LeakageReport, compare

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from features.training.saved import Manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """Where a view is read: a Delta version, and a log position up to which rows count. No snapshot: no rows yet."""

    selection: Selection
    log: FeatureLog
    snapshot: Snapshot | None
    position: int

    def rows(self) -> "DataFrame":
        """The rows of the log that count."""
        if self.snapshot is None:
            return self.log.empty()
        return self.log.read(self.snapshot, position=self.position)


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Feature values beside the rows of a spine, as of each row's event_timestamp.

    columns: the features' columns, in the order asked. known_at: "created", or "event" to see what leaks.
    content_hash: of a saved or rebuilt set; None before.
    """

    spark: "SparkSession"
    spine: Spine
    pins: Sequence[Pin]
    columns: Sequence[str]
    known_at: str
    content_hash: str | None = None
    saver: "Callable[[TrainingSet, str, bool], Manifest]"

    @property
    def keys(self) -> Mapping[str, DType]:
        """The join keys of all views that are read."""
        return join_keys(pin.selection.view for pin in self.pins)

    def to_spark(self) -> "DataFrame":
        """The spine's columns, then the features."""
        frame = full_frame(self.spark, self.spine, self.keys)
        return self._join(frame).select(*(f"`{name}`" for name in (*frame.columns, *self.columns)))

    def to_arrow(self) -> "pa.Table":
        """The same as an Arrow table; of a local spine in its order, its own columns untouched."""
        import pyarrow as pa

        if not self.spine.is_local:
            return self.to_spark().toArrow()
        local = self.spine.local
        table = local if isinstance(local, pa.Table) else pa.Table.from_pandas(local, preserve_index=False)
        for name in self.columns:
            table = table.append_column(self._features.schema.field(name), self._features[name])
        return table

    def to_pandas(self) -> "pd.DataFrame":
        """The same as a pandas frame; features have nullable dtypes, a pandas spine keeps its index and dtypes."""
        import pandas as pd
        import pyarrow as pa

        if not self.spine.is_local:
            return to_pandas(self.to_spark().toArrow())
        local = self.spine.local
        features = to_pandas(self._features)
        frame = local.to_pandas() if isinstance(local, pa.Table) else local
        features.index = frame.index
        return pd.concat([frame, features], axis=1)

    def save(self, name: str, hold: bool = True) -> "Manifest":
        """Write the set and its spine as Parquet, and a numbered manifest that can rebuild it.

        Args:
            name: of the training set; each save of one name gets the next number.
            hold: keep what a rebuild needs from retention and drops.
        """
        return self.saver(self, name, hold)

    def explain(self) -> str:
        """How the set is computed, in words: which views at which positions, and by which join."""
        lines = [f"known_at={self.known_at}"]
        for pin in self.pins:
            lines += explain_join(pin.selection)
            version = "no commit yet" if pin.snapshot is None else f"Delta version {pin.snapshot.version}"
            lines.append(f"  read at {version}, log position {pin.position}")
        return "\n".join(lines)

    def leakage_report(self) -> LeakageReport:
        """How many values would differ if everything were known the moment it was true."""
        return compare(
            replace(self, known_at="created").joined(), replace(self, known_at="event").joined(), self.columns
        )

    def joined(self) -> "DataFrame":
        """The spine as it is in Spark, keys and row numbers of a local one, with the features."""
        return self._join(self.spine.frame)

    @cached_property
    def _features(self) -> "pa.Table":
        """The features of a local spine, one row per row of it, in its order."""
        return self._join(self.spine.frame).orderBy(ROW).select(*(f"`{name}`" for name in self.columns)).toArrow()

    def _join(self, frame: "DataFrame") -> "DataFrame":
        for pin in self.pins:
            frame = as_of_join(frame, pin.rows(), pin.selection, known_at=self.known_at)
        return frame


def join_keys(views: "Any") -> dict[str, DType]:
    """The join keys of several views, in order."""
    found: dict[str, DType] = {}
    view: AppliedView
    for view in views:
        found.update(view.join_keys)
    return found


def to_pandas(table: "pa.Table") -> "pd.DataFrame":
    """A pandas frame with nullable dtypes where pandas has them."""
    import pandas as pd
    import pyarrow as pa

    nullable = {
        pa.bool_(): pd.BooleanDtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.float32(): pd.Float32Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.string(): pd.StringDtype(),
    }
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    return frame
