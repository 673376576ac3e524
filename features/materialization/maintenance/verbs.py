"""The verbs of a feature store that look after its logs, and say what is wrong with it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.times import parse_instant
from features.errors import UsageError
from features.materialization.maintenance.results import PARTS, Maintained
from features.registry import Registry

if TYPE_CHECKING:
    from features.materialization.findings.examiner import Examiner
    from features.materialization.findings.finding import Finding
    from features.materialization.maintenance.maintain import Maintainer


class MaintenanceVerbs(ABC):
    """Part of `FeatureStore`."""

    @property
    @abstractmethod
    def _maintainer(self) -> "Maintainer":
        """What maintenance of this store shares."""

    def maintain(
        self,
        view: str | None = None,
        *,
        parts: Sequence[str] = PARTS,
        now: datetime | str | None = None,
        dry_run: bool = False,
    ) -> tuple[Maintained, ...]:
        """Retain, compact and VACUUM the logs of a view, or of all views; twice does nothing more.

        Args:
            view: `name`, all of its versions, or `name@version`; None: all versions of all views.
            parts: which of "retain", "compact" and "vacuum" to do; they are done in this order.
            now: what retention is judged at, not later than the present; None: the present. Recorded with the run.
            dry_run: tell what would be done, and change nothing.

        Returns: what was done to each version, by name and number. One that failed carries its `error`; the others
            were maintained all the same.

        Raises: NotFoundError: no such view; UsageError: the parts, or a time that has not come.
        """
        present = datetime.now(UTC)
        moment = present if now is None else parse_instant(now, name="now")
        if moment > present:
            raise UsageError(f"now={moment.isoformat()} has not come: rows that are not past retention would go")
        maintainer = self._maintainer
        views = choose_versions(maintainer.registry, view)
        return maintainer.maintain(views, now=moment, present=present, parts=parts, dry_run=dry_run)

    @property
    @abstractmethod
    def _examiner(self) -> "Examiner":
        """What is looked over of this store."""

    def examine(self, *, fix: bool = False, dead_runs: Collection[str] = ()) -> "tuple[Finding, ...]":
        """What is wrong with logs, online tables, runs and installation; see `Examiner.examine`. Without Spark."""
        return self._examiner.examine(now=datetime.now(UTC), fix=fix, dead_runs=dead_runs)


def choose_versions(registry: Registry, view: str | None) -> tuple[AppliedView, ...]:
    """All versions of all views, those of one by `name`, or one by `name@version`. Raises: NotFoundError."""
    if view is not None and "@" in view:
        return (registry.view(view),)
    every = registry.view_versions()
    if view is None:
        return every
    found = tuple(version for version in every if version.name == view)
    # One that was never applied: told with the nearest name.
    return found or (registry.view(view),)
