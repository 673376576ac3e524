"""Reads features of entities online: one read per view, all at once, and a status for every value."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Protocol

from features.core.applied import AppliedView, RequestedFeature
from features.core.dtypes import DType
from features.core.times import duration_micros, from_micros, parse_instant, to_micros
from features.errors import UsageError
from features.serving.request import CompiledRequest, PlannedRead, check_rows, compile_request, plan_reads
from features.serving.response import OnlineResponse, Status, columns_of
from features.stores.base import OnlineRow, OnlineStore

Features = str | Sequence[str]

# A server must not remember whatever its callers think of.
_MAX_COMPILED = 1024


class FeatureResolver(Protocol):
    """The part of the registry that serving needs."""

    def resolve(self, features: str | Sequence[str]) -> tuple[RequestedFeature, ...]:
        """The features that references, or a service's name, stand for. Raises: NotFoundError, DefinitionError."""


class OnlineClient:
    """Answers online requests out of a registry and an online store. Safe to use from threads.

    What a `features` argument stands for is remembered for `cache_seconds`: so long an `apply` may take to be seen.
    """

    def __init__(self, registry: FeatureResolver, store: OnlineStore, *, cache_seconds: float = 5.0) -> None:
        self._registry = registry
        self._store = store
        self._cache_seconds = cache_seconds
        self._lock = Lock()
        self._compiled: dict[tuple[str | tuple[str, ...], bool], tuple[float, CompiledRequest]] = {}

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
            entity_rows: one mapping per row wanted: join key to value, of all views that are read. A null key matches
                nothing. Other columns come back untouched.
            now: when lookback is judged, an aware datetime or an ISO string with an offset; None: at present.
            full_feature_names: name columns `view__feature` instead of by the bare feature.

        Raises:
            NotFoundError: a reference is unknown.
            SpineError: a row lacks a join key, or holds one of another type.
            UsageError: two columns would have one name, or `now` is no instant.
            OnlineStoreError: the store cannot be reached, or was never loaded.
        """
        compiled = self._recall(features, full_feature_names) or self._compile(features, full_feature_names)
        micros = _now_micros(now)
        rows = check_rows(compiled, entity_rows)
        plans = plan_reads(compiled, rows)
        return _respond(compiled, rows, plans, self._store.read([plan.read for plan in plans]), micros)

    async def get_async(
        self,
        *,
        features: Features,
        entity_rows: Sequence[Mapping[str, Any]],
        now: datetime | str | None = None,
        full_feature_names: bool = False,
    ) -> OnlineResponse:
        """The same, without blocking the event loop."""
        compiled = self._recall(features, full_feature_names)
        if compiled is None:
            compiled = await asyncio.to_thread(self._compile, features, full_feature_names)
        micros = _now_micros(now)
        rows = check_rows(compiled, entity_rows)
        plans = plan_reads(compiled, rows)
        return _respond(compiled, rows, plans, await self._store.read_async([plan.read for plan in plans]), micros)

    async def join_keys_async(self, *, features: Features) -> Mapping[str, DType]:
        """The join keys, and their types, that entity rows need for these features. Raises: as `get`."""
        compiled = self._recall(features, True)
        if compiled is None:
            compiled = await asyncio.to_thread(self._compile, features, True)
        return compiled.join_keys

    def _recall(self, features: Features, full_feature_names: bool) -> CompiledRequest | None:
        with self._lock:
            until, compiled = self._compiled.get((_hashable(features), full_feature_names), (0.0, None))
        return compiled if time.monotonic() < until else None

    def _compile(self, features: Features, full_feature_names: bool) -> CompiledRequest:
        requested = self._registry.resolve(features)
        compiled = compile_request(requested, full_feature_names=full_feature_names)
        with self._lock:
            if len(self._compiled) >= _MAX_COMPILED:
                self._compiled.clear()
            until = time.monotonic() + self._cache_seconds
            self._compiled[_hashable(features), full_feature_names] = (until, compiled)
        return compiled


def _hashable(features: Features) -> str | tuple[str, ...]:
    if isinstance(features, str):
        return features
    if not isinstance(features, Sequence) or not all(isinstance(reference, str) for reference in features):
        raise UsageError(f"features must be a service's name or a list of references, got {features!r}")
    return tuple(features)


def _now_micros(now: datetime | str | None) -> int:
    return to_micros(datetime.now(UTC) if now is None else parse_instant(now, name="now"))


def _respond(
    compiled: CompiledRequest,
    entity_rows: Sequence[Mapping[str, Any]],
    plans: Sequence[PlannedRead],
    answers: Sequence[Sequence[OnlineRow | None]],
    now_micros: int,
) -> OnlineResponse:
    values: dict[str, list[Any]] = {}
    statuses: dict[str, list[str]] = {}
    times: dict[str, list[datetime | None]] = {}
    for plan, answer in zip(plans, answers, strict=True):
        rows = [None if place is None else answer[place] for place in plan.places]
        events = [None if row is None else from_micros(row.event_micros) for row in rows]
        kept = [row is not None and not _is_expired(row, plan.selection.view, now_micros) for row in rows]
        for position, column in enumerate(plan.selection.columns):
            pairs = [_judge(row, position, keep) for row, keep in zip(rows, kept, strict=True)]
            values[column] = [value for value, _ in pairs]
            statuses[column] = [status for _, status in pairs]
            times[column] = list(events)
    # Without rows there are still columns.
    entities = columns_of(entity_rows) if entity_rows else {key: [] for key in compiled.join_keys}
    order = compiled.types
    return OnlineResponse(
        entities=entities,
        features={column: values[column] for column in order},
        statuses={column: statuses[column] for column in order},
        event_timestamps={column: times[column] for column in order},
        types={**compiled.join_keys, **compiled.types},
    )


def _is_expired(row: OnlineRow, view: AppliedView, now_micros: int) -> bool:
    """Whether the row is older than the view's lookback; one exactly as old is not."""
    return view.lookback is not None and now_micros - row.event_micros > duration_micros(view.lookback)


def _judge(row: OnlineRow | None, position: int, keep: bool) -> tuple[Any, str]:
    if row is None:
        return None, Status.NOT_FOUND.value
    if not keep:
        return None, Status.EXPIRED.value
    value = row.values[position]
    return value, (Status.NULL if value is None else Status.PRESENT).value
