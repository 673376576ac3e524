"""One request for features, from its body to the body of its answer."""

import asyncio
import logging
import time
from collections import Counter

import msgspec

from features.config import ServingKey, ServingSettings
from features.serving.client import OnlineClient
from features.serving.http.admission import Admission
from features.serving.http.exchange import Answer, Exchange, Receive
from features.serving.http.feast import read_feast_times
from features.serving.http.keys import KeyRing, check_scope
from features.serving.http.messages import Asked, read_request
from features.serving.http.metrics import Metrics
from features.serving.http.refusals import OVERLOADED, RETRY, RefusedRequestError
from features.serving.http.rendering import ARROW, render
from features.serving.json_values import read_defaults, read_entity_rows
from features.serving.response import OnlineResponse

logger = logging.getLogger(__name__)

_ARROW = ARROW.encode()
# What a log line shows of references, which may be many and long.
_SHOWN = 20
_SHOWN_LENGTH = 200
# A server must not remember whatever its callers think of.
_MOST_KNOWN = 1024
_KNOWN_SECONDS = 10.0
_PARTIAL_SHARE = 0.9
# Of defaults, which may stand in each row of an answer.
_MOST_DEFAULT_BYTES = 32 << 20


class FeatureReads:
    """Answers requests for features, within the limits of the settings."""

    def __init__(
        self,
        client: OnlineClient,
        *,
        settings: ServingSettings,
        keys: KeyRing,
        admission: Admission,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._settings = settings
        self._keys = keys
        self._admission = admission
        self._metrics = metrics
        self._columns: dict[str | tuple[str, ...], tuple[float, int]] = {}

    async def answer(self, exchange: Exchange, receive: Receive) -> Answer:
        """The answer, if there is one.

        Raises: RefusedRequestError: for its key, its size, its deadline, or because too many are under way; and as
            `OnlineClient.get`.
        """
        try:
            return await self._answer(exchange, receive)
        finally:
            if exchange.admitted:
                self._admission.leave()

    async def _answer(self, exchange: Exchange, receive: Receive) -> Answer:
        settings = self._settings
        key = self._keys.identify(exchange.api_key)
        exchange.caller = None if key is None else key.name
        seconds = exchange.timeout_seconds(default_ms=settings.timeout_ms, most_ms=settings.max_timeout_ms)
        until = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                body = await exchange.read_body(receive, most_bytes=settings.max_body_bytes)
                self._admit(exchange)
                answer = await self._read(exchange, key, body, until)
        except TimeoutError:
            status, what = (504, "there was no answer") if exchange.body_read else (408, "the body was not all there")
            raise RefusedRequestError(status, f"{what} within {seconds * 1000:.0f} ms") from None
        rows = exchange.rows or 0
        self._admission.measure((exchange.service, rows.bit_length()), time.monotonic() - until + seconds)
        return answer

    def _admit(self, exchange: Exchange) -> None:
        """Count a request among those under way, unless it is counted already. Raises: RefusedRequestError."""
        exchange.admitted = exchange.admitted or self._admission.enter()
        if not exchange.admitted:
            self._metrics.count_refused("overload")
            raise RefusedRequestError(503, OVERLOADED, RETRY)

    async def _read(self, exchange: Exchange, key: ServingKey | None, body: bytes, until: float) -> Answer:
        asked = read_request(body, max_rows=self._settings.max_rows)
        exchange.features, exchange.rows = _shown(asked.features), len(asked.entity_rows)
        check_scope(key, asked.features)
        self._check_given(asked)
        self._check_size(asked, self._known_columns(asked))
        compiled = await self._client.compiled_async(
            features=asked.features, full_feature_names=asked.full_feature_names
        )
        types = compiled.given_columns
        exchange.service = _service(asked.features)
        if asked.feast:
            read_feast_times(asked.entity_rows, types)
        response = await self._client.get_async(
            features=asked.features,
            entity_rows=read_entity_rows(asked.entity_rows, types),
            now=asked.now,
            full_feature_names=asked.full_feature_names,
            # Time is left to tell of what there is.
            timeout_seconds=_PARTIAL_SHARE * (until - time.monotonic()) if asked.allow_partial else None,
            allow_partial=asked.allow_partial,
            defaults=read_defaults(asked.defaults, compiled.types) if asked.defaults else asked.defaults,
            consumer=f"http:{exchange.caller or exchange.service}",
        )
        self._learn_columns(asked, len(response.features))
        self._check_size(asked, len(response.features))
        self._note(exchange, response)
        content, media_type = render(response, asked, arrow=exchange.accepts(_ARROW))
        return Answer(200, content, media_type)

    def _known_columns(self, asked: Asked) -> int:
        """How many columns a request's features stand for, as far as that is known before they are read."""
        until, columns = self._columns.get(_hashable(asked.features), (0.0, 0))
        known = columns if time.monotonic() < until else 0
        return known if isinstance(asked.features, str) else max(len(asked.features), known)

    def _learn_columns(self, asked: Asked, columns: int) -> None:
        """Remember it for some seconds, so that few requests for too many are read in vain."""
        if len(self._columns) >= _MOST_KNOWN:
            self._columns.clear()
        self._columns[_hashable(asked.features)] = (time.monotonic() + _KNOWN_SECONDS, columns)

    def _check_given(self, asked: Asked) -> None:
        """The columns of all entity rows come back for each of them, defaults perhaps in each of them."""
        rows, given = len(asked.entity_rows), len(set().union(*asked.entity_rows))
        if given > self._settings.max_features or given * rows > self._settings.max_values:
            raise RefusedRequestError(413, f"the {rows:,} entity rows have {given:,} columns, too many; split it")
        if asked.defaults and len(msgspec.json.encode(asked.defaults)) * rows > _MOST_DEFAULT_BYTES:
            raise RefusedRequestError(413, f"the defaults are too long to stand in {rows:,} rows; split it")

    def _check_size(self, asked: Asked, columns: int) -> None:
        settings, rows = self._settings, len(asked.entity_rows)
        if columns > settings.max_features:
            raise RefusedRequestError(413, f"{columns:,} features are asked for, more than {settings.max_features:,}")
        if columns * rows > settings.max_values:
            raise RefusedRequestError(
                413, f"{rows:,} rows of {columns:,} features are more than {settings.max_values:,} values; split it"
            )

    def _note(self, exchange: Exchange, response: OnlineResponse) -> None:
        """What metrics and the log tell of an answer."""
        # Most columns of a view have the same statuses, which are counted once.
        same: dict[tuple[str, tuple[str, ...]], int] = {}
        for column, statuses in response.statuses.items():
            place = (response.views[column], tuple(statuses))
            same[place] = same.get(place, 0) + 1
        for (view, found), columns in same.items():
            self._metrics.count_values(view, found, columns=columns)
        if response.arms:
            exchange.arms = {view: dict(Counter(arms)) for view, arms in response.arms.items()}
        if response.errors:
            exchange.unavailable = list(response.errors)
            logger.warning("partial answer", extra={"request_id": exchange.request_id, "why": str(response.errors)})


def _service(features: str | list[str]) -> str:
    """What a request is counted under: few words, since each is kept for ever."""
    return features if isinstance(features, str) and ":" not in features else "references"


def _hashable(features: str | list[str]) -> str | tuple[str, ...]:
    return features if isinstance(features, str) else tuple(features)


def _shown(features: str | list[str]) -> str | list[str]:
    if isinstance(features, str):
        return features[:_SHOWN_LENGTH]
    return [reference[:_SHOWN_LENGTH] for reference in features[:_SHOWN]]
