"""Asking for feature values: beside a spine, the latest of all keys, all rows of a range; and again, by a manifest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView, Selection
from features.core.discovery import Definitions
from features.core.request import compile_request
from features.core.times import format_instant, parse_instant, to_micros
from features.engine.spine import full_frame, read_spine
from features.errors import IntervalError, NotFoundError, SpineError, StorageError, UsageError
from features.registry import Registry, StoredManifest
from features.stores.delta import FeatureLog, micros_literal
from features.stores.log_state import EVENT
from features.training.asked import Asked
from features.training.feature_rows import FeatureRows, visible_keys
from features.training.on_demand import Derivation, check_request_columns
from features.training.pinning import AsOfPoint, Pinner, as_of_json, warn_of_retention
from features.training.rebuilding import Rebuilder
from features.training.saved import Saver
from features.training.training_set import TrainingSet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from features.engine.as_of import Pin

Features = str | Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """What requests of one environment share.

    session: opens Spark, once it is known that the request makes sense. definitions: what the views package, `package`,
    defines in code. reconcile: tells the registry of commits that killed runs left untold.
    """

    session: "Callable[[], SparkSession]"
    registry: Registry
    warehouse: str
    package: str
    definitions: Callable[[], Definitions]
    reconcile: Callable[[Registry, FeatureLog, AppliedView], None]

    def beside(self, entity_df: Any, asked: Asked, as_of: AsOfPoint) -> TrainingSet:
        """Feature values as of the time of each row of a spine; see `FeatureStore.get_historical_features`."""
        compiled = asked.compiled
        spine = read_spine(self._spark, entity_df, keys=compiled.join_keys, columns=compiled.columns)
        if compiled.request_columns:
            frame = full_frame(self._spark, spine, compiled.join_keys, names=tuple(compiled.request_columns))
            check_request_columns(dict(frame.dtypes), compiled)
        pins = self._pinner.pin(compiled.selections, as_of)
        warn_of_retention(pins, spine.survey.first)
        return TrainingSet(spark=self._spark, spine=spine, pins=pins, asked=asked, saver=self._saver)

    def latest(self, asked: Asked, at: datetime | str | None, as_of: AsOfPoint) -> TrainingSet:
        """The latest values of all keys for a reader at a moment; see `FeatureStore.get_latest_features`."""
        moment = datetime.now(UTC) if at is None else parse_instant(at, name="at")
        compiled = asked.compiled
        _check_one_entity(compiled.selections)
        # A key's value is there without a request.
        missing = ", ".join(name for name in compiled.request_columns if name not in compiled.join_keys)
        if missing:
            raise UsageError(f"on-demand features read {missing} of a request, and there is none; give a spine")
        pins = self._pinner.pin(compiled.selections, as_of)
        warn_of_retention(pins, to_micros(moment))
        frame = _all_keys(pins, moment, asked.known_at)
        try:
            spine = read_spine(self._spark, frame, keys=compiled.join_keys, columns=compiled.columns)
        except SpineError as exc:
            # Nobody gave a spine: what cannot be read is a log.
            told = ", ".join(f"{pin.selection.view.reference} at {pin.log.path}" for pin in pins)
            raise StorageError(f"the keys of {told} cannot be read: {exc}; restore the log") from exc
        return TrainingSet(spark=self._spark, spine=spine, pins=pins, asked=asked, saver=self._saver, latest_at=moment)

    def rows(
        self, asked: Asked, start: datetime | str, end: datetime | str, at: datetime | str | None, as_of: AsOfPoint
    ) -> FeatureRows:
        """All rows of one view in a range; see `FeatureStore.get_feature_rows`."""
        since, until = parse_instant(start, name="start"), parse_instant(end, name="end")
        if since >= until:
            raise IntervalError(f"start={format_instant(since)} must lie before end={format_instant(until)}")
        moment = None if at is None else parse_instant(at, name="at")
        selections = asked.compiled.selections
        if asked.compiled.computed or len(selections) != 1:
            raise UsageError("rows are those of one feature view; name one that is stored")
        pins = self._pinner.pin(selections, as_of)
        warn_of_retention(pins, to_micros(since), looks_back=False)
        return FeatureRows(
            spark=self._spark, pins=pins, asked=asked, start=since, end=until, at=moment, saver=self._saver
        )

    def rebuild(self, stored: StoredManifest) -> TrainingSet | FeatureRows:
        """A saved set, computed again; see `Rebuilder.rebuild`."""
        rebuilder = Rebuilder(
            spark=self._spark, registry=self.registry, warehouse=self.warehouse, saver=self._saver, ask=self._ask_again
        )
        return rebuilder.rebuild(stored)

    def ask(
        self,
        features: Features,
        *,
        known_at: str = "created",
        as_of: AsOfPoint = None,
        full_feature_names: bool = False,
    ) -> Asked:
        """What a `features` argument stands for now. Raises: NotFoundError, UsageError, StaleCodeError."""
        # A set has no order, so the columns would stand otherwise in every run.
        if not isinstance(features, str | list | tuple):
            raise UsageError(f"features must be a service's name or a list of references, got {features!r}")
        requested = self.registry.resolve(features)
        compiled = compile_request(requested, full_feature_names=full_feature_names)
        return Asked(
            features=features if isinstance(features, str) else tuple(features),
            service=self._service(features),
            references=tuple(f"{item.view.reference}:{item.feature.name}" for item in requested),
            compiled=compiled,
            derivation=Derivation.of(compiled, self._definitions_for(compiled.computed), package=self.package),
            known_at=known_at,
            as_of=as_of_json(as_of),
            full_feature_names=full_feature_names,
        )

    def _ask_again(self, content: Mapping[str, Any]) -> Asked:
        """What a manifest's request stands for: the versions of then."""
        asked = self.ask(
            content["references"], known_at=content["known_at"], full_feature_names=content["full_feature_names"]
        )
        return Asked(
            features=content["features"],
            service=content["service"],
            references=asked.references,
            compiled=asked.compiled,
            derivation=asked.derivation,
            known_at=asked.known_at,
            as_of=content["as_of"],
            full_feature_names=asked.full_feature_names,
        )

    def _definitions_for(self, computed: Sequence[object]) -> Definitions:
        # The views package is imported only where its functions are to run.
        return self.definitions() if computed else Definitions(views={}, services={})

    def _service(self, features: Features) -> str | None:
        """The version of the service that was asked for, where a service was."""
        if not isinstance(features, str) or ":" in features:
            return None
        try:
            return self.registry.service(features).reference
        except NotFoundError:
            return None

    @cached_property
    def _spark(self) -> "SparkSession":
        return self.session()

    @cached_property
    def _pinner(self) -> Pinner:
        return Pinner(spark=self._spark, registry=self.registry, warehouse=self.warehouse, reconcile=self.reconcile)

    @property
    def _saver(self) -> Saver:
        return Saver(registry=self.registry, warehouse=self.warehouse, package=self.package)


def _check_one_entity(selections: Sequence[Selection]) -> None:
    if not selections:
        raise UsageError("the latest values of what? none of the features is stored; name one of a feature view")
    first = selections[0].view
    for selection in selections[1:]:
        if set(selection.view.join_keys) != set(first.join_keys):
            raise UsageError(
                f"{first.reference} is keyed by {', '.join(first.join_keys)}, {selection.view.reference} by "
                f"{', '.join(selection.view.join_keys)}: no key is common to both. Ask for them apart, or give a spine"
            )


def _all_keys(pins: "Sequence[Pin]", at: datetime, known_at: str) -> "DataFrame":
    """A spine of every key that a reader at a moment sees in some view, at that moment."""
    keys = list(pins[0].selection.view.join_keys)
    frames = [visible_keys(pin, at, known_at).select(*keys) for pin in pins]
    found = frames[0]
    for frame in frames[1:]:
        found = found.unionByName(frame)
    return found.distinct().withColumn(EVENT, micros_literal(at))
