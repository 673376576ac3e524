"""The application: `POST /get-online-features`, and what operators ask: /health, /ready, /metrics, /openapi.json."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from features.config import ServingSettings
from features.serving.client import OnlineClient
from features.serving.http.access_log import AccessLine, AccessLog, now
from features.serving.http.admission import Admission
from features.serving.http.exchange import Answer, Exchange, Receive, Scope, Send, send_answer
from features.serving.http.exposition import CONTENT_TYPE, expose
from features.serving.http.gate import ADMITTED, Gate
from features.serving.http.keys import KeyRing
from features.serving.http.messages import ErrorAnswer, ReadyAnswer
from features.serving.http.metrics import Gauges, Metrics
from features.serving.http.openapi import FEATURES_PATH, openapi
from features.serving.http.reading import FeatureReads
from features.serving.http.refusals import RefusedRequestError, explain
from features.serving.http.rendering import JSON
from features.serving.http.watching import Watch, WatchedRegistry
from features.stores.base import OnlineStore

logger = logging.getLogger(__name__)

_SHARE_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
# The one of the client's figures that does not only grow.
_CACHE_ROWS = "cache_rows"
_HEALTHY = Answer(200, b'{"status":"ok"}', JSON)
_ENDING = Answer(503, b'{"detail":"the server is ending; try again"}', JSON, {"retry-after": "1"})
_Handler = Callable[[Exchange, Receive], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """What a server serves: an online client, and the registry and the store behind it."""

    client: OnlineClient
    registry: WatchedRegistry
    store: OnlineStore
    settings: ServingSettings = field(default_factory=ServingSettings)


class Application:
    """An ASGI application around a client.

    Errors are `{"detail": message}`: 400 for a request that makes no sense, 401 and 403 for its key, 404 for an unknown
    view, feature or service, 408, 413 and 504 for its time and size, 503 while the store, the registry or the server
    itself cannot take it on. What a message would give away of this installation is in the log instead.

    worker, folder: where several workers share a port, which one this is, and where they find each other's counts.
    on_start: called once it is about to answer.

    Attributes: gate: for a protocol that asks it before it calls the application.

    Raises: ConfigError: the file of keys, or the access log, cannot be used.
    """

    def __init__(
        self,
        serving: Serving,
        *,
        worker: int = 0,
        folder: Path | None = None,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        settings = serving.settings
        self._keys = KeyRing(settings)
        self._log = AccessLog(settings.access_log)
        self._watch = Watch(serving.registry, serving.store)
        self._admission = Admission(most=settings.max_in_flight, target_seconds=settings.queue_target_ms / 1000)
        self._client = serving.client
        self._metrics = Metrics(folder=folder, worker=worker, gauges=self._gauges, client=self._client_counts)
        # Of a worker whose place this one has taken.
        self._dropped_before = self._metrics.counts.log_lines_dropped
        self.gate = Gate(self._admission, self._metrics, self._tell)
        reads = FeatureReads(
            serving.client,
            settings=settings,
            keys=self._keys,
            admission=self._admission,
            metrics=self._metrics,
        )
        self._routes: dict[str, dict[str, _Handler]] = {
            FEATURES_PATH: {"POST": reads.answer},
            **{
                path: {"GET": handler, "HEAD": handler}
                for path, handler in {
                    "/health": self._health,
                    "/ready": self._ready,
                    "/metrics": self._metrics_text,
                    "/openapi.json": self._openapi,
                }.items()
            },
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._on_start = on_start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's start and end."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        exchange.admitted = ADMITTED in scope.get("extensions", ())
        try:
            answer = await self._handler(exchange)(exchange, receive)
        except asyncio.CancelledError:
            # The server ends, and cannot wait any longer; nothing else cancels an answer.
            answer = _ENDING
        except Exception as exc:  # noqa: BLE001 - boundary: no caller gets a stack, and none ends the server
            status, detail, headers = explain(exc, exchange.request_id)
            answer = Answer(status, msgspec.json.encode(ErrorAnswer(detail=detail)), JSON, headers)
        await send_answer(send, answer, exchange)
        if exchange.path == FEATURES_PATH:
            self._tell(exchange, answer.status)

    def _handler(self, exchange: Exchange) -> _Handler:
        handlers = self._routes.get(exchange.path)
        if handlers is None:
            raise RefusedRequestError(404, f"nothing is here; features are at POST {FEATURES_PATH}")
        if exchange.method not in handlers:
            raise RefusedRequestError(405, f"only {', '.join(handlers)} here", {"allow": ", ".join(handlers)})
        return handlers[exchange.method]

    def _tell(self, exchange: Exchange, status: int) -> None:
        seconds = time.perf_counter() - exchange.started
        self._metrics.count_request(exchange.service, status, seconds, exchange.rows or 0)
        self._log.write(
            AccessLine(
                time=now(),
                request_id=exchange.request_id,
                method=exchange.method,
                path=exchange.path,
                status=status,
                ms=round(seconds * 1000, 3),
                caller=exchange.caller,
                features=exchange.features,
                rows=exchange.rows,
                arms=exchange.arms,
                unavailable=exchange.unavailable,
            )
        )

    async def _health(self, exchange: Exchange, receive: Receive) -> Answer:
        return _HEALTHY

    async def _ready(self, exchange: Exchange, receive: Receive) -> Answer:
        answer = ReadyAnswer(ready=self._watch.is_ready, **self._watch.up())
        return Answer(200 if answer.ready else 503, msgspec.json.encode(answer), JSON)

    async def _metrics_text(self, exchange: Exchange, receive: Receive) -> Answer:
        # Names of services and views are for those who have a key.
        self._keys.identify(exchange.api_key)
        # What is told once must not fall after a worker's end: its successor goes on from what was shared.
        await asyncio.to_thread(self._metrics.share)
        return Answer(200, expose(*self._metrics.all_workers()), CONTENT_TYPE)

    async def _openapi(self, exchange: Exchange, receive: Receive) -> Answer:
        return Answer(200, openapi(), JSON)

    def _client_counts(self) -> Mapping[str, float]:
        return {name: count for name, count in self._client.counters().items() if name != _CACHE_ROWS}

    def _gauges(self) -> Gauges:
        self._metrics.counts.log_lines_dropped = self._dropped_before + self._log.dropped
        return Gauges(
            at=time.time(),
            in_flight=self._admission.under_way,
            limit=self._admission.limit,
            wait_seconds=self._admission.wait_seconds,
            cache_rows=self._client.counters().get(_CACHE_ROWS, 0),
            up=self._watch.up(),
            loaded={view: at.timestamp() for view, at in self._watch.loaded.items()},
        )

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._log.start()
        # Connected before the first request: that one would have to wait for it, and might in vain.
        await self._watch.try_once(seconds=_CONNECT_SECONDS)
        self._tasks = [
            asyncio.create_task(work) for work in (self._admission.watch(), self._watch.watch(), self._share())
        ]
        self._on_start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._metrics.share()
        self._watch.close()
        self._log.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _share(self) -> None:
        """Write the counts for other workers, each second."""
        while True:
            try:
                await asyncio.to_thread(self._metrics.share)
            except OSError as exc:
                logger.warning("counts cannot be shared with other workers", extra={"why": exc.strerror})
            await asyncio.sleep(_SHARE_SECONDS)
