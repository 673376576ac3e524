"""Our server: CASSANDRA_PORT PORT WORKERS ENTITIES VIEWS FEATURES."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.online.shape import Shape
from benchmarks.online.store import FOLDER, open_client, open_registry
from features.config import ServingSettings
from features.serving.http.app import Serving
from features.serving.http.running import listen, serve

_SHUTDOWN_SECONDS = 5


@contextmanager
def open_serving(cassandra: int, shape: Shape) -> Iterator[Serving]:
    """What one worker serves, with the limits that everybody gets, and the access log that everybody writes."""
    registry = open_registry(shape)
    client, store = open_client(registry, cassandra)
    for view in registry.views():
        registry.move_checkpoint(view, target=store.target, position=1)
    settings = ServingSettings(access_log=str(FOLDER / "access.log"))
    yield Serving(client=client, registry=registry, store=store, settings=settings)
    client.close()
    store.close()
    registry.close()


def main() -> None:
    """Serve until told to stop."""
    cassandra, port, workers, entities, views, features = map(int, sys.argv[1:])
    shape = Shape(entities=entities, views=views, features=features)
    listeners = listen("127.0.0.1", port, sockets=workers)
    serve(partial(open_serving, cassandra, shape), listeners=listeners, shutdown_seconds=_SHUTDOWN_SECONDS)


if __name__ == "__main__":
    main()
