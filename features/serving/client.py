"""Reads features of entities online: one read per view, all at once, what is computed of them, and statuses."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Protocol

from features.core.applied_on_demand import Requested
from features.core.discovery import Definitions
from features.core.dtypes import DType
from features.core.on_demand import OnDemandFeatureView
from features.core.request import CompiledRequest, compile_request
from features.core.times import parse_instant, to_micros
from features.errors import StaleCodeError, UsageError
from features.serving.answering import respond
from features.serving.on_demand import find_functions
from features.serving.request import check_rows, plan_reads
from features.serving.response import OnlineResponse
from features.stores.base import OnlineStore

Features = str | Sequence[str]

# A server must not remember whatever its callers think of.
_MAX_COMPILED = 1024


class FeatureResolver(Protocol):
    """The part of the registry that serving needs."""

    def resolve(self, features: str | Sequence[str]) -> Sequence[Requested]:
        """The features that references, or a service's name, stand for. Raises: NotFoundError, DefinitionError."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request that is ready to be answered: compiled, and the code of its on-demand views."""

    compiled: CompiledRequest
    functions: tuple[OnDemandFeatureView, ...]


class OnlineClient:
    """Answers online requests out of a registry and an online store. Safe to use from threads.

    What a `features` argument stands for is remembered for `cache_seconds`: so long an `apply` may take to be seen.
    definitions: what the views package defines here, asked for when on-demand features are; None: they are refused.
    """

    def __init__(
        self,
        registry: FeatureResolver,
        store: OnlineStore,
        *,
        definitions: Callable[[], Definitions] | None = None,
        cache_seconds: float = 5.0,
    ) -> None:
        self._registry = registry
        self._store = store
        self._definitions = definitions
        self._cache_seconds = cache_seconds
        self._lock = Lock()
        self._compiled: dict[tuple[str | tuple[str, ...], bool], tuple[float, _Prepared]] = {}

    def get(
        self,
        *,
        features: Features,
        entity_rows: Sequence[Mapping[str, Any]],
        now: datetime | str | None = None,
        full_feature_names: bool = False,
    ) -> OnlineResponse:
        """The latest values of features, for each entity row.

        Args:
            features: a service's name, or references such as `view:feature`.
            entity_rows: one mapping per row wanted: join key to value, of all views that are read, and the request
                columns of on-demand views. A null key matches nothing. Other columns come back untouched.
            now: when lookback is judged, an aware datetime or an ISO string with an offset; None: at present.
            full_feature_names: name columns `view__feature` instead of by the bare feature.

        Raises:
            NotFoundError: a reference is unknown.
            SpineError: a row lacks a join key or a request column, or holds one of another type.
            UsageError: two columns would have one name, or `now` is no instant.
            OnlineStoreError: the store cannot be reached, or was never loaded.
            StaleCodeError: the code of an on-demand view here is not what was applied.
            TransformError: an on-demand function raised, or returned something other than it declares.
            PlatformError: what such a function computes with is not installed here.
        """
        prepared = self._recall(features, full_feature_names) or self._prepare(features, full_feature_names)
        micros = _now_micros(now)
        rows = check_rows(prepared.compiled, entity_rows)
        plans = plan_reads(prepared.compiled, rows)
        answers = self._store.read([plan.read for plan in plans])
        return respond(prepared.compiled, prepared.functions, rows, plans, answers, micros)

    async def get_async(
        self,
        *,
        features: Features,
        entity_rows: Sequence[Mapping[str, Any]],
        now: datetime | str | None = None,
        full_feature_names: bool = False,
    ) -> OnlineResponse:
        """The same, without blocking the event loop."""
        prepared = await self._prepared(features, full_feature_names)
        micros = _now_micros(now)
        rows = check_rows(prepared.compiled, entity_rows)
        plans = plan_reads(prepared.compiled, rows)
        answers = await self._store.read_async([plan.read for plan in plans])
        arguments = (prepared.compiled, prepared.functions, rows, plans, answers, micros)
        # An author's function may take its time.
        return await asyncio.to_thread(respond, *arguments) if prepared.functions else respond(*arguments)

    async def given_columns_async(self, *, features: Features) -> Mapping[str, DType]:
        """The join keys and request columns that entity rows need for these features, and their types.

        Raises: as `get`.
        """
        return (await self._prepared(features, True)).compiled.given_columns

    async def _prepared(self, features: Features, full_feature_names: bool) -> _Prepared:
        recalled = self._recall(features, full_feature_names)
        if recalled is not None:
            return recalled
        return await asyncio.to_thread(self._prepare, features, full_feature_names)

    def _recall(self, features: Features, full_feature_names: bool) -> _Prepared | None:
        with self._lock:
            until, prepared = self._compiled.get((_hashable(features), full_feature_names), (0.0, None))
        return prepared if time.monotonic() < until else None

    def _prepare(self, features: Features, full_feature_names: bool) -> _Prepared:
        compiled = compile_request(self._registry.resolve(features), full_feature_names=full_feature_names)
        prepared = _Prepared(compiled, find_functions(compiled, self._code()) if compiled.computed else ())
        with self._lock:
            if len(self._compiled) >= _MAX_COMPILED:
                self._compiled.clear()
            until = time.monotonic() + self._cache_seconds
            self._compiled[_hashable(features), full_feature_names] = (until, prepared)
        return prepared

    def _code(self) -> Definitions:
        if self._definitions is None:
            raise StaleCodeError("this client was opened without a views package, so it computes no on-demand features")
        return self._definitions()


def _hashable(features: Features) -> str | tuple[str, ...]:
    if isinstance(features, str):
        return features
    if not isinstance(features, Sequence) or not all(isinstance(reference, str) for reference in features):
        raise UsageError(f"features must be a service's name or a list of references, got {features!r}")
    return tuple(features)


def _now_micros(now: datetime | str | None) -> int:
    return to_micros(datetime.now(UTC) if now is None else parse_instant(now, name="now"))
