"""Pinning views: which position of each log a request reads, today or as of an earlier moment or Delta version."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView, Selection
from features.core.times import duration_micros, format_instant, parse_instant, to_micros
from features.engine.as_of import Pin
from features.errors import NotFoundError, UsageError
from features.registry import Registry
from features.stores.delta import FeatureLog

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

# A moment, or the Delta version of the one view that is read, or of each by name; None: the newest.
AsOfPoint = datetime | str | int | Mapping[str, int] | None


@dataclass(frozen=True, kw_only=True)
class Pinner:
    """What pins of one environment share.

    reconcile: tells the registry of commits that killed runs left untold.
    """

    spark: "SparkSession"
    registry: Registry
    warehouse: str
    reconcile: Callable[[Registry, FeatureLog, AppliedView], None]

    def pin(self, selections: Sequence[Selection], as_of: AsOfPoint) -> tuple[Pin, ...]:
        """Where each view is read.

        Args:
            selections: what is read.
            as_of: a moment, an aware datetime or an ISO string with an offset: what was committed by then; or a Delta
                version, of the one view that is read, or by view, where views that it does not name are read as they
                are now.

        Raises: UsageError: as_of is none of these, or names a version that its log has not. NotFoundError: it names a
            view that is not read. StorageError: a log cannot be read, or is gone.
        """
        point = parse_as_of(as_of)
        if isinstance(point, int):
            if len(selections) != 1:
                raise UsageError(
                    f"as_of={point} is the Delta version of one view, but the request reads {len(selections)}; give a "
                    f"mapping, such as {{{selections[0].view.name!r}: {point}}}, or a moment"
                    if selections
                    else f"as_of={point} is the Delta version of a view, but the request reads none"
                )
            point = {selections[0].view.reference: point}
        versions = _versions(point, selections) if isinstance(point, Mapping) else {}
        moment = point if isinstance(point, datetime) else None
        return tuple(
            self._pin(selection, moment=moment, version=versions.get(selection.view.reference))
            for selection in selections
        )

    def _pin(self, selection: Selection, *, moment: datetime | None, version: int | None) -> Pin:
        view = selection.view
        log = FeatureLog(self.spark, self.warehouse, view)
        # Without its log, or from an older copy of it, values would be null that are known.
        snapshot = log.snapshot(at_least=self.registry.position_at(view, datetime.max.replace(tzinfo=UTC)))
        position = snapshot.position if snapshot is not None else 0
        if moment is not None or version is not None:
            self.reconcile(self.registry, log, view)
        if moment is not None:
            position = min(position, self.registry.position_at(view, moment))
        if version is not None:
            newest = -1 if snapshot is None else snapshot.version
            if not 0 <= version <= newest:
                held = f"versions 0 to {newest}" if newest >= 0 else "no version yet"
                raise UsageError(f"as_of: the log of {view.reference} has {held}, not {version}")
            commits = self.registry.commits(view)
            position = max((c.position for c in commits if c.delta_version <= version), default=0)
        kept_from = self.registry.retained_from(view)
        return Pin(selection=selection, log=log, snapshot=snapshot, position=position, kept_from=kept_from)


def warn_of_retention(pins: Sequence[Pin], first: int | None, *, looks_back: bool = True) -> None:
    """Log a warning for each view whose rows may have been there for a reader, and are gone by its retention.

    Args:
        first: the earliest time that is read at, or event that is read, microseconds; None: nothing is.
        looks_back: whether it is a time that is read at: then events of a lookback before it are read too.
    """
    for pin in pins:
        view = pin.selection.view
        if pin.kept_from is None or first is None:
            continue
        reach = duration_micros(view.lookback) if looks_back and view.lookback is not None else 0
        if first - reach < to_micros(pin.kept_from):
            logger.warning(
                "rows may be missing: retention has removed earlier events, save those that held sets need",
                extra={"view": view.reference, "before": format_instant(pin.kept_from)},
            )


def parse_as_of(as_of: AsOfPoint) -> datetime | int | Mapping[str, int] | None:
    """The moment in UTC, the version, or the versions by view. Raises: UsageError: it is none."""
    if as_of is None or (isinstance(as_of, int) and not isinstance(as_of, bool)):
        return as_of
    if isinstance(as_of, Mapping):
        for view, version in as_of.items():
            if not isinstance(view, str) or not isinstance(version, int) or isinstance(version, bool):
                raise UsageError(f"as_of must give Delta versions by view, got {view!r}: {version!r}")
        return as_of
    if isinstance(as_of, datetime | str):
        return parse_instant(as_of, name="as_of")
    raise UsageError(f"as_of must be a moment, a Delta version, or Delta versions by view, got {type(as_of).__name__}")


def as_of_json(as_of: AsOfPoint) -> Any:
    """As a manifest holds it."""
    point = parse_as_of(as_of)
    if isinstance(point, datetime):
        return format_instant(point)
    return dict(point) if isinstance(point, Mapping) else point


def _versions(given: Mapping[str, int], selections: Sequence[Selection]) -> dict[str, int]:
    """Delta versions by the references of views."""
    names = {name: s.view.reference for s in selections for name in (s.view.name, s.view.reference)}
    for name in given:
        if name not in names:
            raise NotFoundError(f"as_of: {NotFoundError.of('view in the request', name, names)}")
    versions = {names[name]: version for name, version in given.items()}
    if len(versions) < len(given):
        raise UsageError(f"as_of names one view twice, by {' and '.join(map(repr, given))}; give each view one version")
    return versions
