"""Contenders against each other: every run in a process of its own, in alternating order, with time and peak memory.

A process of its own means that no run profits or suffers from another's heap, caches or threads. What a contender does
before its measured part (imports, a Spark session, a first small run) is not counted.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.measuring import DONE, STARTED
from benchmarks.memory import PeakMemory, kill_tree

_SHOWN_LINES = 30
# Where a JVM or Python says what went wrong, amid its stacks.
_CAUSE = re.compile(r"(Caused by: )?[\w.$]*(Exception|Error)\b.*: ")


class ContenderFailedError(Exception):
    """A contender's process ended without its measurement."""


class _NoResultError(Exception):
    """A run ended without a result, and its contender may: why, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One way to do the work.

    command: a process that does it inside `measured()`. missing: what this machine lacks for it, in words; None: it
    can run. at_most: repeats, of one that takes minutes; None: as many as asked. limit_seconds: after which a run is
    given up, and the contender skipped. may_fail: a failure skips it, too, and the race goes on without it.
    """

    name: str
    command: Sequence[str]
    missing: str | None = None
    at_most: int | None = None
    limit_seconds: float = 3600
    may_fail: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one run took."""

    seconds: float
    peak_bytes: int
    notes: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """All runs by contender, and why some did not take part."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def seconds(self, name: str) -> float:
        """The median of a contender's times."""
        return statistics.median(run.seconds for run in self.runs[name])

    def figures(self, *, ours: str = "ours") -> dict[str, Any]:
        """Median seconds, their spread as [least, most], speedup as its time / ours, and peak memory, by contender."""
        times = {name: [run.seconds for run in runs] for name, runs in self.runs.items()}
        peaks = {name: max(run.peak_bytes for run in runs) for name, runs in self.runs.items()}
        found: dict[str, Any] = {
            "seconds": {name: round(self.seconds(name), 3) for name in times},
            "spread": {name: [round(min(taken), 3), round(max(taken), 3)] for name, taken in times.items()},
            "repeats": {name: len(taken) for name, taken in times.items()},
            "peak_memory_gb": {name: round(peak / 1e9, 2) for name, peak in peaks.items()},
        }
        if ours in times:
            mine = self.seconds(ours)
            found["speedup"] = {name: round(self.seconds(name) / mine, 2) for name in times if name != ours}
        if self.skipped:
            found["skipped"] = self.skipped
        return found


def race(contenders: Sequence[Contender], *, repeats: int, check: Callable[[Mapping[str, Run]], None]) -> Race:
    """Run every contender `repeats` times, forwards and backwards in turn.

    Args:
        check: called with the runs of each round, by contender, before their times count; it raises where a result is
            wrong, and so ends the race.

    Raises: ContenderFailedError: with the end of what its process wrote.
    """
    result = Race(skipped={c.name: c.missing for c in contenders if c.missing is not None})
    for name, why in result.skipped.items():
        say(f"{name}: skipped, {why}")
    for repeat in range(repeats):
        able = [c for c in contenders if c.name not in result.skipped]
        turn = [c for c in able if c.at_most is None or repeat < c.at_most]
        runs: dict[str, Run] = {}
        for contender in turn if repeat % 2 == 0 else reversed(turn):
            try:
                runs[contender.name] = _run(contender)
            except _NoResultError as exc:
                result.skipped[contender.name] = str(exc)
                say(f"{contender.name}: {result.skipped[contender.name]}")
        check({c.name: runs[c.name] for c in turn if c.name in runs})
        for name, run in runs.items():
            result.runs.setdefault(name, []).append(run)
    return result


def _run(contender: Contender) -> Run:
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        with subprocess.Popen(contender.command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            limit = _Limit(process.pid, contender.limit_seconds)
            try:
                run = _follow(process)
            finally:
                limit.end()
        if limit.passed:
            raise _NoResultError(f"no result after {contender.limit_seconds:.0f} s")
        if run is None or process.returncode != 0:
            errors.seek(0)
            lines = errors.readlines()
            if contender.may_fail:
                causes = [line.strip() for line in lines if _CAUSE.match(line)] or [line.strip() for line in lines[-1:]]
                raise _NoResultError(f"failed after {time.monotonic() - begun:.0f} s: {' '.join(causes[-1:])}")
            tail = "".join(lines[-_SHOWN_LINES:])
            raise ContenderFailedError(f"{contender.name} ended with exit code {process.returncode}:\n{tail}")
    say(f"{contender.name}: {run.seconds:.2f} s, {run.peak_bytes / 1e9:.2f} GB at most")
    return run


def _follow(process: "subprocess.Popen[str]") -> Run | None:
    """What the process told, or None where it ended before it had told all. A failure here ends the process."""
    replies: IO[str] = process.stdout  # type: ignore[assignment]
    try:
        if _reply(replies, STARTED) is None:
            return None
        with PeakMemory(process.pid) as peak:
            done = _reply(replies, DONE)
        for _ in replies:  # a process that is left writing into a full pipe never ends
            pass
    except BaseException:
        kill_tree(process.pid)
        raise
    return None if done is None else Run(seconds=done["seconds"], peak_bytes=peak.bytes, notes=done["notes"])


class _Limit:
    """Kills a process and what it started when its time is over."""

    def __init__(self, pid: int, seconds: float) -> None:
        self.passed = False
        self._pid = pid
        self._timer = threading.Timer(seconds, self._kill)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """The process has ended, or is being ended."""
        self._timer.cancel()
        self._timer.join()

    def _kill(self) -> None:
        self.passed = True
        kill_tree(self._pid)


def _reply(replies: IO[str], event: str) -> dict[str, Any] | None:
    for line in replies:
        if line.startswith('{"event"'):
            message: dict[str, Any] = json.loads(line)
            if message["event"] == event:
                return message
    return None


def paired_ratio(result: Race, wanted: Mapping[str, tuple[str, str, float]]) -> dict[str, dict[str, Any]]:
    """Ratios of contenders' times, each of the runs of one round: the median over rounds, and [least, most].

    Args:
        wanted: by the ratio's name: the contender, the one it is compared with, and how many times its work it does.
    """
    medians, spread = {}, {}
    for name, (one, other, times) in wanted.items():
        if one not in result.runs or other not in result.runs:
            continue
        pairs = zip(result.runs[one], result.runs[other], strict=False)
        found = [run.seconds / base.seconds / times for run, base in pairs]
        medians[name] = round(statistics.median(found), 3)
        spread[name] = [round(min(found), 3), round(max(found), 3)]
    return {"ratios": medians, "ratios_spread": spread}


def module_command(module: str, *arguments: str | Path, python: str | Path = sys.executable) -> tuple[str, ...]:
    """The command of a module of this checkout, quiet about warnings of libraries."""
    return (str(python), "-W", "ignore", "-m", module, *map(str, arguments))


def say(message: str) -> None:
    """Tell of progress."""
    print(message, file=sys.stderr, flush=True)
