"""What building intervals costs, by the runs that have built some."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
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
    """The pace of some runs: what the median one costs beyond its intervals, and what each of these adds.

    What an interval adds is the median slope between runs of different numbers of intervals (Theil and Sen: one slow
    run in four does not move it), no less than nothing; where that is nothing, since longer runs were the quicker ones,
    it is at most what an interval of the quickest took. Runs of equal numbers say nothing of it: there the quickest
    tells what a run costs by itself, nearly all of a run of one interval.
    """
    if not samples:
        return None
    per_interval = _slope(samples)
    if per_interval is None:
        per_run = min(sample.seconds / sample.intervals for sample in samples)
        per_interval = median(max(0.0, s.seconds - per_run) / s.intervals for s in samples)
    else:
        per_run = median(max(0.0, s.seconds - per_interval * s.intervals) for s in samples)
    return Pace(
        seconds_per_run=per_run,
        seconds_per_interval=per_interval,
        rows_per_interval=median(s.rows / s.intervals for s in samples),
    )


def _slope(samples: Sequence[Sample]) -> float | None:
    """Seconds that an interval adds; None: all runs are of as many."""
    slopes = [
        (a.seconds - b.seconds) / (a.intervals - b.intervals)
        for a, b in combinations(samples, 2)
        if a.intervals != b.intervals
    ]
    if not slopes:
        return None
    most = min(sample.seconds / sample.intervals for sample in samples)
    slope = median(slopes)
    return most if slope <= 0 else min(slope, most)


def _count(schedule: str | None, start: datetime, end: datetime) -> int:
    return len(cover(schedule, start, end))
