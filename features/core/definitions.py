"""What authors write: entities, features, feature views and services. Frozen, and validated at birth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import UnionType
from typing import Any

from features.core.aggregations import VALUES_AT, Aggregation, longest_window
from features.core.checks import (
    MAX_VIEW_NAME,
    RESERVED_COLUMNS,
    check_choice,
    check_duration,
    check_name,
    check_share,
    check_tags,
    check_text,
    check_unique,
    fail,
    freeze_items,
    freeze_mapping,
)
from features.core.dtypes import DType
from features.core.feature import Feature as Feature
from features.core.references import Reference, parse_reference
from features.core.schedule import parse_schedule
from features.core.sources import BatchSource as BatchSource
from features.core.sources import FunctionSource, JdbcSource
from features.core.view_source import ViewSource
from features.errors import DefinitionError

Source = BatchSource | JdbcSource | FunctionSource | ViewSource
DEFINITIONS = frozenset(
    {"Entity", "BatchSource", "JdbcSource", "FunctionSource", "ViewSource", "Feature", "Aggregation", "FeatureView",
     "FeatureService"}
)  # fmt: skip
# The fields of definitions that may change without a new version of a view.
IN_PLACE = frozenset(
    {"description", "owner", "tags", "unit", "expect", "quarantine_limit", "retention", "reprocess", "partition_field",
     "partition_column", "num_partitions"}
)  # fmt: skip

# The share of an interval's rows that may be withheld: all of them.
NO_LIMIT = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Entity:
    """A thing that features describe, and the columns that identify one of it.

    join_keys: column to type, in order; a composite key has several. Types are never floats or lists.
    """

    name: str
    join_keys: Mapping[str, DType]
    description: str = ""
    owner: str = ""

    def __post_init__(self) -> None:
        me = f"Entity {self.name!r}"
        check_name(self.name, owner=me)
        object.__setattr__(self, "join_keys", freeze_mapping(self.join_keys, owner=me, field="join_keys"))
        if not self.join_keys:
            raise fail(me, "join_keys", "must hold at least one column")
        for key, dtype in self.join_keys.items():
            check_name(key, owner=me, field="join_keys")
            if key in RESERVED_COLUMNS:
                raise fail(me, "join_keys", f"{key!r} is a column of the feature store itself")
            if not isinstance(dtype, DType) or dtype.is_float or dtype.is_list:
                raise fail(me, "join_keys", f"[{key!r}] must be a DType that is no float and no list, got {dtype}")
        check_text(self.description, owner=me, field="description")
        check_text(self.owner, owner=me, field="owner")


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewSpec:
    """All that is said of a feature view, save the code that computes it: what jobs, DAGs and serving need.

    lookback: how old a value may be when it is read; past it a join gives null. None: no limit.
    schedule: 5-field cron in UTC, @hourly, @daily, @weekly, or None (each range that is built is its interval).
    delay: the time allowed from an interval's end until its values are online, which training assumes.
    retention: when rows may be physically removed; None: never. At least lookback plus the sources' longest history.
    reprocess: how many past intervals each scheduled run computes again, for late data.
    quarantine_limit: the greatest share of an interval's rows, 0 to 1, that may be withheld; above it, the interval is
        refused.
    available: "schedule": created at the interval's end plus delay; "source": an imported log, whose rows keep the
        created time of their source.
    aggregations: what is computed over sliding windows. Each of their features is one of `features`.
    values_at: where windows end. "event": at each row's event; "tick": at each tick of the schedule. See
        docs/windows.md.
    """

    name: str
    entities: Sequence[Entity]
    sources: Sequence[Source]
    features: Sequence[Feature] = ()
    lookback: timedelta | None
    schedule: str | None
    delay: timedelta
    description: str
    owner: str
    retention: timedelta | None = None
    reprocess: int = 0
    quarantine_limit: float = NO_LIMIT
    available: str = "schedule"
    tags: Mapping[str, str] = field(default_factory=dict)
    aggregations: Sequence[Aggregation] = ()
    values_at: str = "event"

    def __post_init__(self) -> None:
        me = f"FeatureView {self.name!r}"
        check_name(self.name, owner=me, limit=MAX_VIEW_NAME)
        kinds: tuple[tuple[str, type | UnionType], ...] = (
            ("entities", Entity), ("sources", Source), ("features", Feature)
        )  # fmt: skip
        for name, kind in kinds:
            object.__setattr__(self, name, freeze_items(getattr(self, name), kind, owner=me, field=name))
            check_unique((item.name for item in getattr(self, name)), owner=me, field=name)
        check_unique(
            (key for entity in self.entities for key in entity.join_keys), owner=me, field="join keys of entities"
        )
        check_unique([*self.join_keys, *(f.name for f in self.features)], owner=me, field="join keys and features")
        self._check_windows(me)
        self._check_times(me)
        limit = check_share(self.quarantine_limit, owner=me, field="quarantine_limit")
        object.__setattr__(self, "quarantine_limit", limit)
        check_choice(self.available, ("schedule", "source"), owner=me, field="available")
        if self.available == "source" and self.upstreams:
            raise fail(me, "available", '="source" imports what was served elsewhere: it reads no other view')
        if self.available == "source" and any(s.created_timestamp_field is None for s in self.sources):
            raise fail(
                me, "available", '="source" keeps created times, so every source needs a created_timestamp_field'
            )
        check_text(self.description, owner=me, field="description", required=True)
        check_text(self.owner, owner=me, field="owner", required=True)
        object.__setattr__(self, "tags", check_tags(self.tags, owner=me))

    def _check_windows(self, me: str) -> None:
        given = freeze_items(self.aggregations, Aggregation, owner=me, field="aggregations", required=False)
        object.__setattr__(self, "aggregations", given)
        check_choice(self.values_at, VALUES_AT, owner=me, field="values_at")
        if given and self.available == "source":
            raise fail(me, "available", '="source" imports what was served: it has no aggregations of its own')
        if self.values_at == "tick":
            if not given or self.schedule is None:
                raise fail(me, "values_at", '="tick" needs aggregations, and a schedule that ticks')
            if own := self.own_features:
                raise fail(me, "values_at", f'="tick" has no row whose {own[0].name!r} a tick could take; aggregate it')

    def _check_times(self, me: str) -> None:
        if self.schedule is not None:
            try:
                parse_schedule(self.schedule)
            except DefinitionError as exc:
                raise DefinitionError(f"{me}: {exc}") from exc
        check_duration(self.delay, owner=me, field="delay")
        if self.lookback is not None:
            check_duration(self.lookback, owner=me, field="lookback", positive=True)
        if self.retention is not None:
            check_duration(self.retention, owner=me, field="retention", positive=True)
            if self.lookback is None:
                raise fail(me, "retention", "needs a lookback: rows that can still be read must not be removed")
            if self.retention < self.lookback + self.history:
                raise fail(me, "retention", f"must be at least lookback + history = {self.lookback + self.history}")
        if not isinstance(self.reprocess, int) or isinstance(self.reprocess, bool) or self.reprocess < 0:
            raise fail(me, "reprocess", f"must be a whole number of intervals, zero or more, got {self.reprocess!r}")
        if self.reprocess and self.schedule is None:
            raise fail(me, "reprocess", "needs a schedule: without one there are no past intervals")

    @property
    def join_keys(self) -> Mapping[str, DType]:
        """All join keys of all entities, in order."""
        return {key: dtype for entity in self.entities for key, dtype in entity.join_keys.items()}

    @property
    def history(self) -> timedelta:
        """How far before an interval sources are read: the longest history of any, and the longest window beyond it."""
        return max(source.history for source in self.sources) + longest_window(self.aggregations)

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The views that this one reads, in order: of an applied view `name@version`, of code as it names them."""
        return tuple(dict.fromkeys(source.view for source in self.sources if isinstance(source, ViewSource)))

    @property
    def own_features(self) -> tuple[Feature, ...]:
        """The features that the transform itself returns: all that are not of an aggregation."""
        derived = {name for aggregation in self.aggregations for name in aggregation.names}
        return tuple(f for f in self.features if f.name not in derived)

    @property
    def is_imported(self) -> bool:
        """Whether rows keep the created time of their source, instead of their run's."""
        return self.available == "source"

    @property
    def has_created_source(self) -> bool:
        """Whether any source says when its rows could first be read."""
        return any(source.created_timestamp_field is not None for source in self.sources)

    def feature(self, name: str) -> Feature:
        """The feature of that name. Raises: KeyError."""
        return {f.name: f for f in self.features}[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureView(ViewSpec):
    """A table of features: where its rows come from, how they are computed, and what is promised of them.

    transform: a function of one DataFrame per source, named as the source, that returns join keys, event_timestamp,
        the features and the columns that are aggregated; see docs/time.md for available_timestamp and
        created_timestamp. None, where there are aggregations and one source: its rows as they are.
    features: those that the transform itself returns. Those of the aggregations are added behind them.
    """

    transform: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        me = f"FeatureView {self.name!r}"
        aggregations = freeze_items(self.aggregations, Aggregation, owner=me, field="aggregations", required=False)
        given = freeze_items(self.features, Feature, owner=me, field="features", required=not aggregations)
        derived = [feature for aggregation in aggregations for feature in aggregation.features]
        check_unique((f.name for f in derived), owner=me, field="aggregations")
        # A copy of a view is given all features of the original.
        own = [feature for feature in given if feature not in derived]
        object.__setattr__(self, "features", (*own, *derived))
        ViewSpec.__post_init__(self)
        if self.transform is None and aggregations:
            if len(self.sources) > 1:
                raise fail(me, "transform", "may be None where there is one source: write one that joins them")
        elif not callable(self.transform):
            raise fail(me, "transform", f"must be a function, got {type(self.transform).__name__}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureService:
    """The features that one model reads.

    features: whole views (`"plane"`) or single features (`"weather:temp"`), of the current version or of one
        (`"plane@2:age"`).
    """

    name: str
    features: Sequence[str]
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        me = f"FeatureService {self.name!r}"
        check_name(self.name, owner=me)
        object.__setattr__(self, "features", freeze_items(self.features, str, owner=me, field="features"))
        check_unique(self.features, owner=me, field="features")
        for text in self.features:
            try:
                parse_reference(text)
            except DefinitionError as exc:
                raise DefinitionError(f"{me}: {exc}") from exc
        check_text(self.description, owner=me, field="description")
        check_text(self.owner, owner=me, field="owner")
        object.__setattr__(self, "tags", check_tags(self.tags, owner=me))

    @property
    def references(self) -> tuple[Reference, ...]:
        """The parsed features."""
        return tuple(parse_reference(text) for text in self.features)
