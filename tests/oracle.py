"""The rules of docs/time.md in slow, obvious, plain Python: what the engine is checked against. Times are integers."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row of an offline log."""

    key: Hashable
    event: int
    created: int
    interval: int
    seq: int
    is_put: bool
    value: Any = None


def as_of(log: Sequence[Row], key: Hashable, t: int, *, lookback: int | None, known_at: str) -> Any:
    """The value that a reader at `t` gets: the as-of rule, word by word."""
    winner = _as_of_row(log, key, t, known_at=known_at)
    if winner is None or (lookback is not None and t - winner.event > lookback):
        return None
    return winner.value


def status_of(log: Sequence[Row], key: Hashable, t: int, *, lookback: int | None, known_at: str) -> int:
    """0: no row was visible; 1: one that is older than the lookback; 2: one that counts, whatever its value."""
    winner = _as_of_row(log, key, t, known_at=known_at)
    if winner is None:
        return 0
    return 1 if lookback is not None and t - winner.event > lookback else 2


def _as_of_row(log: Sequence[Row], key: Hashable, t: int, *, known_at: str) -> Row | None:
    if key is None or (isinstance(key, tuple) and None in key):
        return None
    return _winner([r for r in log if r.key == key and r.event <= t and (known_at == "event" or r.created <= t)])


def online(log: Sequence[Row], key: Hashable) -> Row | None:
    """The row that the online store holds of a key, created times aside."""
    return _winner([r for r in log if r.key == key])


def _winner(visible: Sequence[Row]) -> Row | None:
    counting: dict[tuple[int, int], Row] = {}
    for row in visible:
        held = counting.get((row.event, row.interval))
        if held is None or (row.created, row.seq) > (held.created, held.seq):
            counting[(row.event, row.interval)] = row
    remaining = [row for row in counting.values() if row.is_put]
    return max(remaining, key=lambda r: (r.event, r.interval, r.created), default=None)


def rerun(
    log: Sequence[Row], output: Mapping[tuple[Hashable, int], Any], *, interval: int, created: int, seq: int
) -> list[Row]:
    """What a run of one interval appends: {(key, event): value} compared with the interval's current rows."""
    mine = [r for r in log if r.interval == interval]
    appended = []
    for key, event in sorted({*output, *((r.key, r.event) for r in mine)}, key=repr):
        group = [r for r in mine if (r.key, r.event) == (key, event)]
        last = max(group, key=lambda r: (r.created, r.seq), default=None)
        current = last.value if last is not None and last.is_put else _ABSENT
        wanted = output.get((key, event), _ABSENT)
        if wanted == current:
            continue
        later = max([created, *(r.created + 1 for r in group)])
        put = wanted is not _ABSENT
        appended.append(Row(key, event, later, interval, seq, put, wanted if put else None))
    return appended


class _Absent:
    pass


_ABSENT = _Absent()
