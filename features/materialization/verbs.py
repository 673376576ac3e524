"""The verbs of a feature store that fill a range of intervals, and that keep and bring back all that it holds."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.config import BackfillSettings
from features.core.applied import AppliedView
from features.core.definitions import FeatureView
from features.core.times import parse_instant
from features.registry import Registry

if TYPE_CHECKING:
    from features.materialization.backfill import Backfill, BackfillPlan
    from features.materialization.build import Builder
    from features.materialization.load import Loader
    from features.materialization.results import ChunkResult


@dataclass(frozen=True, kw_only=True)
class Ledgered:
    """What these verbs share. current: the code of a view and its applied version; builder, loader: start Spark."""

    registry: Registry
    warehouse: str
    settings: BackfillSettings
    current: Callable[[str], tuple[FeatureView, AppliedView]]
    builder: "Callable[[], Builder]"
    loader: "Callable[[], Loader]"


class LedgerVerbs(ABC):
    """Part of `FeatureStore`."""

    @property
    @abstractmethod
    def _ledgered(self) -> Ledgered:
        """What these verbs share."""

    def backfill(
        self,
        view: str,
        start: datetime | str,
        end: datetime | str,
        *,
        every: bool = False,
        load: bool = True,
        chunk: int | None = None,
        parallel: int | None = None,
    ) -> "tuple[ChunkResult, ...]":
        """Build the intervals of [start, end) that are missing or stale, then load; see `Backfill.run`.

        Args:
            every: build all of them again, not just those. load: bring the online table up to the log afterwards.
            chunk: intervals of one build, at most; None: by the rows that they had so far.
            parallel: builds at once, of intervals that were never built; None: as `backfill.parallel` says.

        Returns: what each build did, by the range that it was of.

        Raises: BackfillError: chunks were refused or failed; what was built stays, and is not loaded yet.
        """
        shared = self._ledgered
        code, applied = shared.current(view)
        wanted = self._wanted(applied, start, end, every=every, chunk=chunk, parallel=parallel)
        results = wanted.run(shared.builder(), code)
        if load:
            shared.loader().load(applied)
        return results

    def plan_backfill(
        self,
        view: str,
        start: datetime | str,
        end: datetime | str,
        *,
        every: bool = False,
        chunk: int | None = None,
        parallel: int | None = None,
    ) -> "BackfillPlan":
        """What `backfill` would build now, and what that may take; nothing is computed. Arguments: as there."""
        applied = self._ledgered.registry.view(view)
        return self._wanted(applied, start, end, every=every, chunk=chunk, parallel=parallel).plan()

    def _wanted(
        self,
        applied: AppliedView,
        start: datetime | str,
        end: datetime | str,
        *,
        every: bool,
        chunk: int | None,
        parallel: int | None,
    ) -> "Backfill":
        from features.materialization.backfill import Backfill

        settings = self._ledgered.settings
        return Backfill(
            registry=self._ledgered.registry,
            applied=applied,
            start=parse_instant(start, name="start"),
            end=parse_instant(end, name="end"),
            every=every,
            chunk=chunk,
            parallel=settings.parallel if parallel is None else parallel,
            most_parallel=settings.max_parallel,
        )
