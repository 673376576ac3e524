"""The access log: one JSON object per request and line. Who asked for what, and how it went; never keys' values."""

import sys
import threading
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from features.errors import ConfigError

_FLUSH_SECONDS = 0.2
_MOST_LINES = 20_000


class AccessLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is told of a request. Times are UTC; fields that a request did not come to are left out.

    caller: the name of its API key. features: a service or references, as they were asked for. ms: from its headers'
    arrival to the end of the answer. arms: view to arm to rows, of views in canary. unavailable: versions of views that
    a partial answer lacks.
    """

    time: datetime
    request_id: str
    method: str
    path: str
    status: int
    ms: float
    caller: str | None = None
    features: str | list[str] | None = None
    rows: int | None = None
    arms: dict[str, dict[str, int]] | None = None
    unavailable: list[str] | None = None


class AccessLog:
    """Writes lines from a thread of its own, so that a full disk or pipe keeps no request waiting.

    target: a path, "stderr" or "off". What cannot be written in time is dropped, and counted.

    Raises: ConfigError: the file cannot be opened.
    """

    def __init__(self, target: str) -> None:
        self.dropped = 0
        self._lines: deque[bytes] = deque()
        self._ended = threading.Event()
        self._encode = msgspec.json.Encoder().encode
        self._out = _open(target)
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Begin to write."""
        if self._out is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(self._out,), name="access-log", daemon=True)
            self._thread.start()
        return self

    def write(self, line: AccessLine) -> None:
        """Take a line, to be written within a moment."""
        if self._out is None:
            return
        if len(self._lines) >= _MOST_LINES:
            self.dropped += 1
            return
        self._lines.append(self._encode(line))

    def close(self) -> None:
        """Write what is left. Waits a second at most."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(1.0)
        if self._out is not None and self._out is not sys.stderr.buffer:
            self._out.close()

    def _run(self, out: BinaryIO) -> None:
        while not self._ended.wait(_FLUSH_SECONDS):
            self._flush(out)
        self._flush(out)

    def _flush(self, out: BinaryIO) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return
        try:
            # One write, so that lines of several workers do not mix.
            out.write(b"\n".join(lines) + b"\n")
            out.flush()
        except (OSError, ValueError):
            self.dropped += len(lines)


def now() -> datetime:
    """The time of a line."""
    return datetime.now(UTC)


def _open(target: str) -> BinaryIO | None:
    if target == "off":
        return None
    if target == "stderr":
        return sys.stderr.buffer
    try:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        return Path(target).open("ab", buffering=0)
    except OSError as exc:
        raise ConfigError(f"serving.access_log {target} cannot be opened: {exc.strerror}") from exc
