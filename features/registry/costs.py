"""What building intervals costs, by the runs that have built some."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from sqlalchemy import Connection, select

from features.core.schedule import cover
from features.registry.audit import Part
from features.registry.schema import runs

# Runs of long ago tell of other sources and machines.
_LATEST = 50
_DONE = ("built", "unchanged", "empty")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A run that ended well: over how many intervals, how long it took, and how many rows it appended."""

    intervals: int
    seconds: float
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How long builds of a view version take: so many seconds each, and so many more for each of their intervals."""

    seconds_per_run: float
    seconds_per_interval: float
    rows_per_interval: float

    def seconds(self, intervals: int, *, runs: int) -> float:
        """An estimate of building so many intervals in so many runs, one after the other."""
        return runs * self.seconds_per_run + intervals * self.seconds_per_interval


class Costs(Part):
    """Estimates from past runs."""

    def pace(self, *, view: str, version: int, schedule: str | None) -> Pace | None:
        """How long builds of a view version take; None: none has ended well."""
        with self._database.read() as connection:
            return fit(read_samples(connection, view=view, version=version, schedule=schedule))


def read_samples(connection: Connection, *, view: str, version: int, schedule: str | None) -> tuple[Sample, ...]:
    """The latest builds of a view version that ended well."""
    query = (
        select(runs)
        .where(runs.c.view == view, runs.c.version == version, runs.c.kind == "build", runs.c.status.in_(_DONE))
        .order_by(runs.c.started_at.desc())
        .limit(_LATEST)
    )
    return tuple(
        Sample(
            intervals=_count(schedule, row.range_start, row.range_end),
            seconds=(row.finished_at - row.started_at).total_seconds(),
            rows=row.counts.get("rows", 0),
        )
        for row in connection.execute(query)
        if row.range_start is not None and row.range_end is not None and row.finished_at is not None
    )


def fit(samples: Sequence[Sample]) -> Pace | None:
    """The pace of some runs: the quickest tells what a run costs by itself, the median one what intervals add."""
    if not samples:
        return None
    least = min(sample.seconds for sample in samples)
    quickest = min(sample.intervals for sample in samples if sample.seconds == least)
    # A run of one interval is nearly all overhead; one of many is not.
    per_run = least / quickest
    return Pace(
        seconds_per_run=per_run,
        seconds_per_interval=_middle(max(0.0, s.seconds - per_run) / s.intervals for s in samples),
        rows_per_interval=_middle(s.rows / s.intervals for s in samples),
    )


def _middle(values: Iterable[float]) -> float:
    return median(values)


def _count(schedule: str | None, start: datetime, end: datetime) -> int:
    return len(cover(schedule, start, end))
