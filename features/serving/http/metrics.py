"""What a worker counts, and how several workers' counts become one answer of /metrics.

Counting is on the path of every request, so a count is a plain number in a dict of this process: no lock, no file. Once
a second a worker writes its counts to a file of its own; the worker that is asked for metrics adds those of the others.
A worker that takes a dead one's place goes on from its file, so that no counter ever falls.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

# Seconds: from a lookup in a cache to the longest deadline.
BOUNDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
# Older gauges are of a worker that is gone.
_FRESH_SECONDS = 10.0

_Family = dict[str, dict[str, float]]


class Histogram(msgspec.Struct):
    """Durations: how many fell below each bound and above the one before, the last being beyond all; and their sum."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total_seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total_seconds += seconds

    def merge(self, other: "Histogram") -> None:
        """Add another's."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total_seconds += other.total_seconds


class Counts(msgspec.Struct):
    """What only grows. requests: service to HTTP status. values: view to status. refused: why, to how many.

    client: whatever the online client counts by itself, such as hits of a cache.
    """

    requests: _Family = msgspec.field(default_factory=dict)
    seconds: dict[str, Histogram] = msgspec.field(default_factory=dict)
    rows: dict[str, float] = msgspec.field(default_factory=dict)
    values: _Family = msgspec.field(default_factory=dict)
    refused: dict[str, float] = msgspec.field(default_factory=dict)
    client: dict[str, float] = msgspec.field(default_factory=dict)
    log_lines_dropped: float = 0

    def merge(self, other: "Counts") -> None:
        """Add another worker's."""
        for mine, theirs in ((self.requests, other.requests), (self.values, other.values)):
            for label, family in theirs.items():
                _add(mine.setdefault(label, {}), family)
        for label, histogram in other.seconds.items():
            self.seconds.setdefault(label, Histogram()).merge(histogram)
        for one, another in ((self.rows, other.rows), (self.refused, other.refused), (self.client, other.client)):
            _add(one, another)
        self.log_lines_dropped += other.log_lines_dropped


class Gauges(msgspec.Struct):
    """How a worker is now. up: what it needs, and whether that was reached lately. loaded: view to seconds since 1970.

    at: when it was so, in seconds since 1970.
    """

    at: float = 0.0
    in_flight: int = 0
    limit: int = 0
    wait_seconds: float = 0.0
    cache_rows: float = 0
    up: dict[str, bool] = msgspec.field(default_factory=dict)
    loaded: dict[str, float] = msgspec.field(default_factory=dict)


class Snapshot(msgspec.Struct):
    """A worker's counts and gauges, as it writes them."""

    counts: Counts
    gauges: Gauges


class Metrics:
    """The counts of one worker. folder: where workers find each other's; None: there is one alone."""

    def __init__(
        self,
        *,
        folder: Path | None = None,
        worker: int = 0,
        gauges: Callable[[], Gauges] = Gauges,
        client: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self.worker = worker
        self.counts = Counts()
        self._folder = folder
        self._gauges = gauges
        self._client = client
        before = self._read(self._path(worker)) if folder is not None else None
        if before is not None:
            self.counts = before.counts
        # The client of a new process counts from zero.
        self._client_before = dict(self.counts.client)

    def count_request(self, service: str, status: int, seconds: float, rows: int) -> None:
        """Count an answer. service: a name that the registry knows, or one of few words: each is kept for ever."""
        counts = self.counts
        statuses = counts.requests.setdefault(service, {})
        code = _CODES.get(status) or str(status)
        statuses[code] = statuses.get(code, 0) + 1
        histogram = counts.seconds.get(service)
        if histogram is None:
            histogram = counts.seconds[service] = Histogram()
        histogram.add(seconds)
        counts.rows[service] = counts.rows.get(service, 0) + rows

    def count_values(self, view: str, statuses: Sequence[str], *, columns: int = 1) -> None:
        """Count the statuses of so many columns of a view, which are the same in each."""
        family = self.counts.values.setdefault(view, {})
        for status in set(statuses):
            family[status] = family.get(status, 0) + statuses.count(status) * columns

    def count_refused(self, reason: str) -> None:
        """Count a request that was not taken on."""
        self.counts.refused[reason] = self.counts.refused.get(reason, 0) + 1

    def snapshot(self) -> Snapshot:
        """What there is to tell now."""
        client = dict(self._client_before)
        _add(client, self._client())
        self.counts.client = client
        return Snapshot(self.counts, self._gauges())

    def share(self) -> None:
        """Write the snapshot for other workers, whole or not at all."""
        if self._folder is None:
            return
        path = self._path(self.worker)
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(self.snapshot()))
        os.replace(part, path)

    def all_workers(self) -> tuple[Counts, dict[int, Gauges]]:
        """The sum of all workers' counts, and the gauges of those that run, by worker."""
        own = self.snapshot()
        total, gauges = Counts(), {self.worker: own.gauges}
        total.merge(own.counts)
        for path in sorted(self._folder.glob("worker-*.json")) if self._folder is not None else ():
            number = int(path.stem.removeprefix("worker-"))
            other = self._read(path) if number != self.worker else None
            if other is not None:
                total.merge(other.counts)
                if time.time() - other.gauges.at < _FRESH_SECONDS:
                    gauges[number] = other.gauges
        return total, gauges

    def _path(self, worker: int) -> Path:
        return (self._folder or Path()) / f"worker-{worker}.json"

    def _read(self, path: Path) -> Snapshot | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Snapshot)
        except FileNotFoundError:
            return None


_CODES = {status: str(status) for status in range(100, 600)}


def _add(mine: dict[str, float], theirs: Mapping[str, float]) -> None:
    for name, count in theirs.items():
        mine[name] = mine.get(name, 0) + count
