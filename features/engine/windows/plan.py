"""What a run computes over windows: which columns and filters it needs of the rows, and where its windows end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.core.aggregations import Aggregation
from features.core.definitions import ViewSpec
from features.core.dtypes import DType
from features.core.schedule import Interval
from features.core.times import duration_micros, to_micros
from features.engine.windows.arrays import WindowSpec
from features.stores.log_state import AVAILABLE, CREATED, EVENT

if TYPE_CHECKING:
    import pyarrow as pa

# How the columns that travel to the kernel are called: neither an author's name nor a reserved one.
TIMES = ("_event_us", "_available_us")
_COLUMN, _FILTER = "_column", "_filter"


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowPlan:
    """Windows of one run, in plain values that tasks can be sent.

    keys, own: the join keys, and what rows pass on as it is (at events only): column to type.
    columns: what is aggregated, by the name it travels under: column of the rows, and its type.
    filters: SQL conditions over the rows' columns, by the name they travel under.
    specs: what is computed, by feature.
    features: the order of the features, own ones and computed ones.
    since: windows end only at rows that were available at or after this, in microseconds; None: at all of them.
    ticks: where windows end instead, in microseconds, ascending; the first one is the tick before the run's first, at
        which nothing is computed. Empty: at the rows' events.
    """

    keys: Mapping[str, DType]
    own: Mapping[str, DType]
    columns: Mapping[str, tuple[str, DType]]
    filters: Mapping[str, str]
    specs: Mapping[str, WindowSpec]
    features: tuple[str, ...]
    since: int | None = None
    ticks: tuple[int, ...] = ()

    @property
    def longest_us(self) -> int:
        """The longest window, in microseconds."""
        return max(spec.width_us for spec in self.specs.values())

    @property
    def output(self) -> Mapping[str, DType]:
        """What comes out: keys, event, available and created time, and the features; column to type, in order."""
        times = dict.fromkeys((EVENT, AVAILABLE, CREATED), DType.TIMESTAMP)
        features = {**self.own, **{name: spec.output_dtype for name, spec in self.specs.items()}}
        return {**self.keys, **times, **{name: features[name] for name in self.features}}

    @property
    def ddl(self) -> str:
        """What comes out, in Spark's words."""
        return ", ".join(f"`{name}` {dtype.spark}" for name, dtype in self.output.items())

    @property
    def arrow_schema(self) -> "pa.Schema":
        """What comes out, in Arrow's types."""
        import pyarrow as pa

        from features.core.arrow_types import arrow_type

        return pa.schema([(name, arrow_type(dtype)) for name, dtype in self.output.items()])


def plan_view(view: ViewSpec, intervals: Sequence[Interval]) -> WindowPlan:
    """The windows of a view that a run over these intervals has to compute."""
    first = to_micros(intervals[0].start)
    return plan_windows(
        keys=view.join_keys,
        aggregations=view.aggregations,
        own={f.name: f.dtype for f in view.own_features},
        features=[f.name for f in view.features],
        since=first,
        ticks=[first, *(to_micros(i.end) for i in intervals)] if view.values_at == "tick" else (),
    )


def plan_windows(
    *,
    keys: Mapping[str, DType],
    aggregations: Sequence[Aggregation],
    own: Mapping[str, DType] | None = None,
    features: Sequence[str] | None = None,
    since: int | None = None,
    ticks: Sequence[int] = (),
) -> WindowPlan:
    """The windows of some aggregations; a column and a filter that several of them share travel once.

    Args: as the fields of `WindowPlan`; features: None is the own ones, then those of the aggregations.
    """
    columns: dict[tuple[str, DType], str] = {}
    filters: dict[str, str] = {}
    specs: dict[str, WindowSpec] = {}
    for single in (single for aggregation in aggregations for single in aggregation.single):
        source = None
        if single.column is not None and single.dtype is not None:
            source = columns.setdefault((single.column, single.dtype), f"{_COLUMN}{len(columns)}")
        where = None
        if single.where is not None:
            where = filters.setdefault(single.where, f"{_FILTER}{len(filters)}")
        specs[single.names[0]] = WindowSpec(
            function=single.function,
            width_us=duration_micros(single.windows[0]),
            column=source,
            dtype=single.dtype,
            where=where,
            n=single.n,
            q=single.q,
        )
    return WindowPlan(
        keys=dict(keys),
        own=dict(own or {}),
        columns={name: wanted for wanted, name in columns.items()},
        filters={name: where for where, name in filters.items()},
        specs=specs,
        features=tuple(features if features is not None else (*(own or {}), *specs)),
        since=since,
        ticks=tuple(ticks),
    )
