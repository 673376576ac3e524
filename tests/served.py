"""What the HTTP server serves in tests: real definitions in a registry, rows in memory; here, or in processes.

`python -m tests.served FOLDER SETTINGS WORKERS DELAY` serves it on a free port, which is the first thing it prints.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from features import DType, Entity, Feature, FeatureService, FeatureView
from features.config import ServingSettings
from features.core.discovery import Definitions
from features.core.times import to_micros
from features.registry import Registry
from features.serving.client import OnlineClient
from features.serving.http.app import Application, Serving
from features.serving.http.running import listen, serve
from features.stores.base import Read
from features.stores.memory import MemoryRow, MemoryStore
from tests.builders import make_view

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
LATER = "2024-01-01T13:00:00+00:00"

EVERY_KEY: Mapping[str, DType] = {
    "at": DType.TIMESTAMP, "day": DType.DATE, "price": DType.DECIMAL(5, 2), "blob": DType.BYTES, "big": DType.INT64,
    "flag": DType.BOOL,
}  # fmt: skip
EVERY_FEATURE: Mapping[str, DType] = {
    "a_bool": DType.BOOL, "an_int32": DType.INT32, "an_int64": DType.INT64, "a_float32": DType.FLOAT32,
    "a_float64": DType.FLOAT64, "a_decimal": DType.DECIMAL(20, 4), "a_string": DType.STRING, "some_bytes": DType.BYTES,
    "a_date": DType.DATE, "a_timestamp": DType.TIMESTAMP, "instants": DType.ARRAY(DType.TIMESTAMP),
    "words": DType.ARRAY(DType.STRING), "a_vector": DType.VECTOR(3),
}  # fmt: skip
A_KEY = (datetime(2024, 1, 1, 0, 0, 0, 1, UTC), date(2024, 1, 1), Decimal("1.50"), b"\x00\xff", 2**63 - 1, True)


def _view(
    name: str, keys: Mapping[str, DType], features: Mapping[str, DType], lookback: timedelta | None
) -> FeatureView:
    return make_view(
        name=name,
        entities=[Entity(name=f"{name}_key", join_keys=keys)],
        features=[Feature(feature, dtype) for feature, dtype in features.items()],
        lookback=lookback,
    )


DEFINITIONS = Definitions(
    views={
        view.name: view
        for view in (
            _view(
                "spend", {"customer": DType.STRING}, {"amount": DType.FLOAT64, "visits": DType.INT64}, timedelta(days=1)
            ),
            _view("route", {"origin": DType.STRING, "stop": DType.INT32}, {"minutes": DType.FLOAT32}, None),
            _view("every", EVERY_KEY, EVERY_FEATURE, None),
        )
    },
    services={
        "model": FeatureService(name="model", features=["spend", "route"], owner="team@example.com"),
        "spending": FeatureService(name="spending", features=["spend:amount"], owner="team@example.com"),
    },
)
ROWS: Sequence[tuple[str, tuple[Any, ...], Mapping[str, Any]]] = (
    ("spend", ("a",), {"amount": 1.5, "visits": None}),
    ("spend", ("nan",), {"amount": float("nan"), "visits": 2}),
    ("route", ("JFK", 3), {"minutes": 12.5}),
)


class SlowStore(MemoryStore):
    """A store whose async reads of the key "slow" take their time."""

    def __init__(self, delay_seconds: float) -> None:
        super().__init__()
        self._delay_seconds = delay_seconds

    async def read_async(self, requests: Sequence[Read], **options: Any) -> Any:
        """After the delay, the same."""
        if any(("slow",) in read.keys for read in requests):
            await asyncio.sleep(self._delay_seconds)
        return await super().read_async(requests, **options)


@contextmanager
def open_served(folder: str, settings: Mapping[str, Any], delay_seconds: float = 0.0) -> Iterator[Serving]:
    """Three views, two services, and a few rows, all told to be loaded."""
    with Registry.open(f"sqlite:///{folder}/registry.db") as registry:
        registry.apply(DEFINITIONS)
        store = SlowStore(delay_seconds)
        for view in registry.views():
            store.create(view)
            registry.move_checkpoint(view, target=store.target, position=1)
        for name, key, values in ROWS:
            put(store, registry, name, key, values)
        chosen = ServingSettings.model_validate({"access_log": "off", **settings})
        yield Serving(client=OnlineClient(registry, store), registry=registry, store=store, settings=chosen)


def put(
    store: MemoryStore,
    registry: Registry,
    view: str,
    key: tuple[Any, ...],
    values: Mapping[str, Any],
    at: datetime = NOON,
) -> None:
    """One row into a view's table."""
    row = MemoryRow(key=key, event_micros=to_micros(at), created_micros=to_micros(at), values=values)
    store.apply_rows(registry.view(view).online_table, [row], position=1)


class Desk:
    """An application in this process, and requests to it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._opened = open_served(str(folder), settings)
        self.serving = self._opened.__enter__()
        self.application = Application(self.serving)

    def close(self) -> None:
        """Release the registry."""
        self._opened.__exit__(None, None, None)

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.application)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                return await http.request(method, path, **arguments)

        return asyncio.run(send())

    def ask(self, *, headers: Mapping[str, str] | None = None, **body: Any) -> httpx.Response:
        """One request for features."""
        return self.call("POST", "/get-online-features", json=body, headers=headers)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server in processes of its own."""

    process: "subprocess.Popen[str]"
    url: str
    log: Path

    def ask(self, **body: Any) -> httpx.Response:
        """One request for features."""
        return httpx.post(f"{self.url}/get-online-features", json=body, timeout=30)

    def get(self, path: str) -> httpx.Response:
        """One request for anything else."""
        return httpx.get(f"{self.url}{path}", timeout=30)

    def wait_for(self, path: str, *, seconds: float = 20) -> httpx.Response:
        """The first answer 200 of a path."""
        until = time.monotonic() + seconds
        while True:
            try:
                found = self.get(path)
                if found.status_code == 200:
                    return found
            except httpx.TransportError:
                pass
            assert time.monotonic() < until, f"no answer 200 of {path}: {self.log.read_text()}"
            time.sleep(0.05)


@contextmanager
def serving(folder: Path, *, workers: int = 1, delay_seconds: float = 0.0, **settings: Any) -> Iterator[Server]:
    """A server that answers."""
    arguments = (str(folder), json.dumps(settings), str(workers), str(delay_seconds))
    with started([sys.executable, "-m", "tests.served", *arguments], folder=folder) as server:
        yield server


@contextmanager
def started(
    command: Sequence[str], *, folder: Path, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server that a command starts and that answers; stopped afterwards. port: None: the command prints it.

    A command whose port is known runs in the folder.
    """
    log = folder / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            cwd=None if port is None else folder,
        )
    try:
        said = str(port) if port is not None else (process.stdout.readline() if process.stdout else "")
        assert said.strip().isdigit(), log.read_text()
        server = Server(process=process, url=f"http://127.0.0.1:{said.strip()}", log=log)
        server.wait_for("/health")
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            if process.stdout:
                process.stdout.close()


def main() -> None:
    """Serve until told to stop."""
    folder, settings, workers, delay = sys.argv[1:]
    listeners = listen("127.0.0.1", 0, sockets=int(workers))
    sys.stdout.write(f"{listeners[0].getsockname()[1]}\n")
    sys.stdout.flush()
    given = json.loads(settings)
    shutdown = ServingSettings.model_validate(given).shutdown_seconds
    serve(partial(open_served, folder, given, float(delay)), listeners=listeners, shutdown_seconds=shutdown)
    sys.stdout.write("ended\n")


if __name__ == "__main__":
    main()
