"""TCP ports on a loopback address: which are free, and who has one."""

import errno
import random
import socket
from pathlib import Path

from features.embedded.processes import pids_with_open

_LISTENING = "0A"
# Systems give out ports from 32768 on, or later: a server that starts takes seconds until it listens.
_BELOW_EPHEMERAL = (15_000, 32_768)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as server:
        # As servers do: connections of the last one that are still closing are no obstacle.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, port))
            server.listen(1)
        except OSError as exc:
            if exc.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def choose_free(host: str, *, avoid: tuple[int, ...] = ()) -> int:
    """A free port that is none of those to avoid, and that no outgoing connection is given meanwhile."""
    while True:
        port = random.randrange(*_BELOW_EPHEMERAL)
        if port not in avoid and is_free(host, port):
            return port


def holder(port: int) -> int | None:
    """The pid of a process that listens on this port, as far as this user may see."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    pids = pids_with_open(inodes) if inodes else []
    return pids[0] if pids else None
