"""The child process that writes SSTables, as a task sees it: requests and answers over pipes.

It ends when its input does, so it does not outlive a task that is killed.
"""

import fcntl
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from features.errors import OnlineStoreError
from features.stores.sstables.routes import ImportRoute, StreamRoute

_CLOSE_SECONDS = 30.0
_TOLD_LINES = 3
_PIPE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """What SSTables are written of.

    Attributes:
        keyspace, name: of the table.
        create: its CREATE TABLE statement.
        id: what the cluster knows it by, a UUID.
        columns: the names of its columns but the keys, in the order in which runs hold them.
        timestamp: the write timestamp of all that is written.
    """

    keyspace: str
    name: str
    create: str
    id: str
    columns: tuple[str, ...]
    timestamp: int


class WriterChild:
    """A running writer, for a `with` block. One request is under way at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0
            )
        except OSError as exc:
            self._errors.close()
            raise OnlineStoreError(f"the writer of SSTables does not start: {exc}; rerun the load") from exc
        # As much as the system lends: runs are large, and each full pipe is a switch between the two processes.
        with suppress(OSError, AttributeError):
            fcntl.fcntl(self._input, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._waiting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it: in peace, or at once where something failed."""
        if kind is not None:
            self._process.kill()
        self._input.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
        self._errors.close()

    def open(self, table: Table, folder: Path) -> None:
        """Say what is written, and where. Raises: OnlineStoreError."""
        words = (table.keyspace, table.create, table.id, str(folder))
        counts = struct.pack(">qi", table.timestamp, len(table.columns))
        self._send([b"O", *map(_text, words), counts, *map(_text, table.columns)])
        self.wait()

    def write(self, run: Iterable[bytes | memoryview]) -> None:
        """Give it a run to write as one SSTable; it is read when this returns, and written when `wait` does."""
        self._send([b"R", *run])

    def wait(self) -> tuple[int, int]:
        """The rows and bytes of the run that is being written; zeros where none is. Raises: OnlineStoreError."""
        if not self._waiting:
            return 0, 0
        self._waiting = False
        if self._read(1) == b"\0":
            rows, size = struct.unpack(">qq", self._read(16))
            return rows, size
        (length,) = struct.unpack(">i", self._read(4))
        raise OnlineStoreError(self._read(length).decode(errors="replace"))

    def hand_over(self, route: ImportRoute | StreamRoute, table: Table, folder: Path) -> None:
        """Bring what was written into Cassandra. Raises: OnlineStoreError: not all of it arrived."""
        if isinstance(route, ImportRoute):
            words = (route.username or "", route.password(), table.keyspace, table.name, str(folder))
            self._send([b"I", _text(route.host), struct.pack(">i", route.port), *map(_text, words)])
        else:
            self._send([b"S", _text(str(folder)), struct.pack(">i", len(route.nodes))])
            for node in route.nodes:
                self._send([_text(node.address), struct.pack(">ii", node.port, len(node.ranges))])
                self._send([struct.pack(">qq", low, high) for low, high in node.ranges])
        self.wait()

    @property
    def _input(self) -> IO[bytes]:
        return self._process.stdin  # type: ignore[return-value]

    @property
    def _output(self) -> IO[bytes]:
        return self._process.stdout  # type: ignore[return-value]

    def _send(self, parts: Iterable[bytes | memoryview]) -> None:
        self._waiting = True
        try:
            for part in parts:
                left = memoryview(part).cast("B")
                while len(left):
                    left = left[self._input.write(left) :]
        except BrokenPipeError:
            raise self._ended() from None

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._output.read(count - len(parts))
            if not part:
                raise self._ended()
            parts += part
        return bytes(parts)

    def _ended(self) -> OnlineStoreError:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        said = " / ".join(line.strip() for line in lines[:_TOLD_LINES]) or "it said nothing"
        return OnlineStoreError(
            f"the writer of SSTables ended with exit code {code}: {said}; rerun the load, with a greater "
            "online.load.heap_mb if it ran out of memory"
        )


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">i", len(data)) + data
