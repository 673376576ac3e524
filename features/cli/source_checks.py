"""What `features doctor` asks of sources: paths that exist, connections that conf has and that answer."""

import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from features.config import Settings
from features.core.sources import BatchSource, FunctionSource, JdbcSource
from features.errors import NotFoundError, SourceError

if TYPE_CHECKING:
    from features.core.definitions import Source

_TIMEOUT_SECONDS = 3
_HOST = re.compile(r"jdbc:postgresql://(?P<host>\[[^\]]+\]|[^/:,?]+)(?::(?P<port>\d+))?(?:[/?]|$)")
_PORT = "5432"


def check_sources(sources: "Iterable[Source]", settings: Settings) -> str:
    """What is there. Raises: SourceError: what is not, and what to do."""
    found = list(sources)
    paths = {s.path: s.name for s in found if isinstance(s, BatchSource)}
    local = {path: name for path, name in paths.items() if "://" not in path}
    missing = [f"{name}: {Path(path).absolute()}" for path, name in local.items() if not Path(path).exists()]
    problems = []
    if missing:
        problems.append(f"nothing at {'; '.join(missing)}; land the data, run from the project's root, or repair path=")
    connections = {s.connection: s.name for s in found if isinstance(s, JdbcSource)}
    problems += _check_connections(connections, settings)
    if problems:
        raise SourceError("; ".join(problems))
    told = [f"{len(local)} local paths exist"]
    if local != paths:
        told.append(f"{len(paths) - len(local)} remote not checked")
    if connections:
        told.append(f"{len(connections)} connections answer")
    if functions := {s.name for s in found if isinstance(s, FunctionSource)}:
        told.append(f"{len(functions)} functions not called")
    return ", ".join(told)


def _check_connections(connections: dict[str, str], settings: Settings) -> Iterator[str]:
    for connection, source in connections.items():
        if connection not in settings.connections:
            missing = NotFoundError.of("connection", connection, settings.connections, hint="conf has none")
            yield f"source {source!r}: {missing}; add it to `connections` in conf"
            continue
        known = settings.connections[connection]
        known.password(connection)
        place = _HOST.match(known.url)
        if place is None:
            continue
        try:
            address = place["host"].strip("[]"), int(place["port"] or _PORT)
            socket.create_connection(address, timeout=_TIMEOUT_SECONDS).close()
        except OSError as exc:
            yield f"connection {connection!r}: {known.url} does not answer: {exc}; check that it is up, and its url"
