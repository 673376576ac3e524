"""Schedules: a 5-field cron in UTC or a shorthand, and the half-open intervals between its ticks."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from features.core.times import EPOCH, MICROSECOND, format_instant
from features.errors import DefinitionError, IntervalError

# An R that is no part of a month or a day, such as MAR and FRI.
_RANDOM = re.compile(r"(?<![a-z])r(?![a-z])", re.IGNORECASE)
# A leap year and those after it: months and years of every length.
_FIRST_TICK = datetime(2000, 1, 1, tzinfo=UTC)
_SAMPLED_TICKS = 400
SHORTHANDS = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0"}
# In UTC these ticks lie evenly; years of them are counted often.
_STEPS = {"0 * * * *": timedelta(hours=1), "0 0 * * *": timedelta(days=1), "0 0 * * 0": timedelta(days=7)}


@dataclass(frozen=True, order=True, slots=True)
class Interval:
    """The instants t with start <= t < end."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"[{format_instant(self.start)}, {format_instant(self.end)})"


def parse_schedule(text: str) -> str:
    """The 5-field cron of a schedule. Raises: DefinitionError: it is none, or it never ticks."""
    cron = SHORTHANDS.get(text, text) if isinstance(text, str) else ""
    _check_cron(cron, repr(text))
    return cron


def previous_tick(schedule: str, at: datetime) -> datetime:
    """The latest tick at or before an instant."""
    from croniter import croniter

    cron = parse_schedule(schedule)
    # croniter works in whole seconds and, of an instant that is a tick, gives the tick before.
    whole = at.astimezone(UTC).replace(microsecond=0)
    if croniter.match(cron, whole) and whole.second == 0:
        return whole
    return _utc(croniter(cron, whole).get_prev(datetime))


def next_tick(schedule: str, after: datetime) -> datetime:
    """The first tick after an instant, never the instant itself."""
    from croniter import croniter

    return _utc(croniter(parse_schedule(schedule), after.astimezone(UTC).replace(microsecond=0)).get_next(datetime))


def iterate_intervals(schedule: str, start: datetime, end: datetime) -> Iterator[Interval]:
    """The schedule's intervals from a tick to a later tick, in order."""
    from croniter import croniter

    cron = parse_schedule(schedule)
    step = _STEPS.get(cron)
    start = _utc(start)
    ticks = croniter(cron, start)
    while start < end:
        tick = _utc(ticks.get_next(datetime)) if step is None else start + step
        yield Interval(start, tick)
        start = tick


def split(intervals: Sequence[Interval], size: int) -> Iterator[tuple[Interval, ...]]:
    """Neighbours together, in their order, at most so many."""
    found: list[Interval] = []
    for interval in intervals:
        if found and (found[-1].end != interval.start or len(found) == size):
            yield tuple(found)
            found = []
        found.append(interval)
    if found:
        yield tuple(found)


def join(intervals: Sequence[Interval]) -> list[Interval]:
    """The ranges that neighbours make up."""
    return [Interval(part[0].start, part[-1].end) for part in split(intervals, max(1, len(intervals)))]


@lru_cache(maxsize=256)
def longest_interval(schedule: str) -> timedelta:
    """The longest of the schedule's next few hundred intervals from 2000 on: of a month 31 days, of workdays 3 days."""
    ticks = [_FIRST_TICK]
    while len(ticks) < _SAMPLED_TICKS:
        ticks.append(next_tick(schedule, ticks[-1]))
    return max(later - earlier for earlier, later in pairwise(ticks[1:]))


def previous_intervals(schedule: str, before: datetime, count: int) -> list[Interval]:
    """The last `count` intervals that end at or before a tick, oldest first."""
    found: list[Interval] = []
    while len(found) < count:
        tick = previous_tick(schedule, before - MICROSECOND)
        found.append(Interval(tick, before))
        before = tick
    return found[::-1]


def cover(schedule: str | None, start: datetime, end: datetime) -> tuple[Interval, ...]:
    """The whole intervals that make up [start, end): at least one.

    Without a schedule the range itself is the interval.

    Raises:
        IntervalError: the range is empty or reversed, or an end of it lies inside an interval of the schedule;
            the message names the nearest range that would do.
    """
    if end <= start:
        raise IntervalError(f"the range {Interval(start, end)} ends at or before its start; swap or widen it")
    if schedule is None:
        return (Interval(start, end),)
    outer = Interval(
        previous_tick(schedule, start), end if previous_tick(schedule, end) == end else next_tick(schedule, end)
    )
    if outer != Interval(start, end):
        raise IntervalError(
            f"{Interval(start, end)} does not cover whole intervals of schedule {schedule!r}; "
            f"the nearest that does is {outer}"
        )
    return tuple(iterate_intervals(schedule, start, end))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


@lru_cache(maxsize=256)
def _check_cron(cron: str, shown: str) -> None:
    from croniter import CroniterBadDateError, croniter

    # croniter draws a random time for an R, another one at each call.
    if len(cron.split()) != 5 or _RANDOM.search(cron) or not croniter.is_valid(cron):
        raise DefinitionError(f"schedule {shown} is neither a 5-field cron nor one of {', '.join(SHORTHANDS)}")
    try:
        croniter(cron, EPOCH).get_next(datetime)
    except CroniterBadDateError as exc:
        raise DefinitionError(f"schedule {shown} never ticks: there is no such day") from exc
