"""The verbs of a feature store that look after what the gate withheld."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.schedule import cover
from features.core.times import from_micros, parse_instant
from features.registry import Registry
from features.registry.audit import name_actor
from features.stores.log_state import EVENT, INTERVAL
from features.stores.quarantine_reading import REASONS, RELEASED_AT, RUN_ID, Chosen, QuarantineTable

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from features.materialization.results import ReleaseResult


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantinedInterval:
    """What the quarantine of a view version holds of one interval.

    start: None where the ledger does not know the interval: the run that withheld its rows was not completed.
    withheld, released: rows. reasons: how many rows each rule withheld, most first. run_ids: of the runs that did.
    released_at: of the last release.
    """

    view: str
    start: datetime | None
    end: datetime
    withheld: int
    released: int
    reasons: Mapping[str, int]
    run_ids: tuple[str, ...]
    released_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Quarantines:
    """What the quarantines of one environment share. session: the Spark session, started when it is asked for."""

    registry: Registry
    warehouse: str
    session: "Callable[[], SparkSession]"

    def summarize(self, view: AppliedView, chosen: Chosen) -> tuple[QuarantinedInterval, ...]:
        """What is held of each interval that has such rows, by time. Raises: StorageError."""
        table = QuarantineTable.of(self.warehouse, view)
        found = table.read(chosen, [INTERVAL, RUN_ID, RELEASED_AT, REASONS])
        starts = {e.interval.end: e.interval.start for e in self.registry.ledger(view)} if len(found) else {}
        return tuple(_summarize(view, found, starts))


@dataclass
class _Tally:
    """Of one interval. marks: when its released rows were, in microseconds."""

    rows: int = 0
    marks: list[int] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    run_ids: set[str] = field(default_factory=set)


class QuarantineVerbs(ABC):
    """Part of `FeatureStore`. Only releases and drops need Spark."""

    @property
    @abstractmethod
    def _quarantines(self) -> Quarantines:
        """What the quarantines of this store share."""

    def quarantined(
        self, view: str | None = None, *, start: datetime | str | None = None, end: datetime | str | None = None
    ) -> tuple[QuarantinedInterval, ...]:
        """What is withheld, by view and interval.

        Args:
            view: a name, or `name@version`; None: the current versions of all views.
            start, end: only intervals that end in (start, end]; None: no bound.

        Raises: NotFoundError, UsageError, StorageError.
        """
        shared = self._quarantines
        views = shared.registry.views() if view is None else (shared.registry.view(view),)
        chosen = _choose(start, end, None)
        return tuple(entry for each in views for entry in shared.summarize(each, chosen))

    def quarantined_rows(
        self,
        view: str,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        keys: Sequence[Mapping[str, Any]] | None = None,
        limit: int | None = None,
    ) -> "pa.Table":
        """The withheld rows, by interval, event and key: join keys, times, `_interval`, run, marks, reasons, features.

        Args:
            view: a name, or `name@version`.
            start, end: only of intervals that end in (start, end]; None: no bound.
            keys: only rows of these, each naming join keys, all or some of them; None: all rows.
            limit: the first so many; None: all.

        Raises: NotFoundError, UsageError, StorageError.
        """
        applied = self._quarantines.registry.view(view)
        table = QuarantineTable.of(self._quarantines.warehouse, applied)
        found = table.read(_choose(start, end, keys))
        order = [(name, "ascending") for name in (INTERVAL, EVENT, *applied.join_keys)]
        return found.sort_by(order).slice(0, limit) if len(found) else found

    def release_quarantined(
        self,
        view: str,
        start: datetime | str,
        end: datetime | str,
        *,
        keys: Sequence[Mapping[str, Any]] | None = None,
        now: datetime | str | None = None,
    ) -> "ReleaseResult":
        """Publish withheld rows of the intervals of [start, end) as corrections; see `Releaser.release`.

        Loads bring them online. Raises: NotFoundError, IntervalError, UsageError, RefusedError, StorageError.
        """
        from features.materialization.quarantine import Releaser

        since, until = parse_instant(start, name="start"), parse_instant(end, name="end")
        clock = None if now is None else parse_instant(now, name="now")
        shared = self._quarantines
        applied = shared.registry.view(view)
        cover(applied.schedule, since, until)
        releaser = Releaser(spark=shared.session(), registry=shared.registry, warehouse=shared.warehouse)
        return releaser.release(applied, since, until, keys=keys, now=clock, actor=name_actor(None))

    def drop_quarantined(
        self,
        view: str,
        start: datetime | str,
        end: datetime | str,
        *,
        keys: Sequence[Mapping[str, Any]] | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove withheld rows of the intervals of [start, end), save released ones, for good; how many.

        dry_run: only count them. Raises: NotFoundError, IntervalError, UsageError, StorageError.
        """
        from features.materialization.quarantine import Releaser

        since, until = parse_instant(start, name="start"), parse_instant(end, name="end")
        shared = self._quarantines
        applied = shared.registry.view(view)
        cover(applied.schedule, since, until)
        if dry_run:
            table = QuarantineTable.of(shared.warehouse, applied)
            return table.count_unreleased(Chosen(start=since, end=until, keys=keys))
        releaser = Releaser(spark=shared.session(), registry=shared.registry, warehouse=shared.warehouse)
        return releaser.drop(applied, since, until, keys=keys, actor=name_actor(None))


def _choose(
    start: datetime | str | None, end: datetime | str | None, keys: Sequence[Mapping[str, Any]] | None
) -> Chosen:
    return Chosen(
        start=None if start is None else parse_instant(start, name="start"),
        end=None if end is None else parse_instant(end, name="end"),
        keys=keys,
    )


def _summarize(
    view: AppliedView, found: "pa.Table", starts: Mapping[datetime, datetime]
) -> Iterator[QuarantinedInterval]:
    import pyarrow as pa

    tallies: dict[int, _Tally] = {}
    columns = (found[INTERVAL].cast(pa.int64()), found[RUN_ID], found[RELEASED_AT].cast(pa.int64()), found[REASONS])
    for end, run_id, mark, reasons in zip(*(column.to_pylist() for column in columns), strict=True):
        tally = tallies.setdefault(end, _Tally())
        tally.rows += 1
        tally.run_ids.add(run_id)
        tally.reasons.update(reasons)
        if mark is not None:
            tally.marks.append(mark)
    for end, tally in sorted(tallies.items()):
        ends_at = from_micros(end)
        yield QuarantinedInterval(
            view=view.reference,
            start=starts.get(ends_at),
            end=ends_at,
            withheld=tally.rows - len(tally.marks),
            released=len(tally.marks),
            reasons=dict(tally.reasons.most_common()),
            run_ids=tuple(sorted(tally.run_ids)),
            released_at=from_micros(max(tally.marks)) if tally.marks else None,
        )
