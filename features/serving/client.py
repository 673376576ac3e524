"""Reads features of entities online: one read per view, all at once, what is computed of them, and statuses."""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypedDict

from features.core.discovery import Definitions
from features.core.dtypes import DType
from features.core.request import CompiledRequest
from features.core.times import parse_instant, to_micros
from features.errors import UsageError
from features.serving.answering import respond
from features.serving.cache import RowCache
from features.serving.compiling import Compilations, Features, Prepared, ServingRegistry
from features.serving.request import NONE, EntityRow, ViewPlan, check_rows, fits, plan_reads, shown
from features.serving.response import OnlineResponse
from features.serving.shadowing import compare_with_shadows, shadowed
from features.stores.base import OnlineStore, Read, ReadAnswer

# Comparisons with shadows that wait for their turn; with more than these, requests go uncompared.
_MAX_SHADOWS_WAITING = 100


class OnlineOptions(TypedDict, total=False):
    """What may be said of a request beside its features and rows; see `OnlineClient.get`."""

    now: datetime | str | None
    full_feature_names: bool
    defaults: Mapping[str, Any]
    timeout_seconds: float | None
    allow_partial: bool
    consumer: str | None


class OnlineClient:
    """Answers online requests out of a registry and an online store. Safe to use from threads.

    Each view is read at its live version, unless a reference says which; a switch in the registry is followed within
    about `poll_seconds`, all of an answer at once.

    Args:
        registry: what names stand for.
        store: where rows are.
        definitions: what the views package defines here, asked for when on-demand features are; None: they are refused.
        poll_seconds: how often the registry is asked whether versions were switched.
        cache: rows that may be answered again without the store; None: each request reads.
    """

    def __init__(
        self,
        registry: ServingRegistry,
        store: OnlineStore,
        *,
        definitions: Callable[[], Definitions] | None = None,
        poll_seconds: float = 1.0,
        cache: RowCache | None = None,
    ) -> None:
        self.cache = cache
        self._store = store
        self._compilations = Compilations(registry, definitions=definitions, poll_seconds=poll_seconds)
        # Of requests, not exact: threads may count at once.
        self._compared = self._skipped = 0
        self._host = f"python:{socket.gethostname()}"

    def get(
        self,
        *,
        features: Features,
        entity_rows: Sequence[Mapping[str, Any]],
        now: datetime | str | None = None,
        full_feature_names: bool = False,
        defaults: Mapping[str, Any] = NONE,
        timeout_seconds: float | None = None,
        allow_partial: bool = False,
        consumer: str | None = None,
    ) -> OnlineResponse:
        """The latest values of features, for each entity row.

        Args:
            features: a service's name, or references such as `view:feature`.
            entity_rows: one mapping per row wanted: join key to value, of all views that are read, and the request
                columns of on-demand views. A null key matches nothing. Other columns come back untouched.
            now: when lookback is judged, an aware datetime or an ISO string with an offset; None: at present.
            full_feature_names: name columns `view__feature` instead of by the bare feature.
            defaults: column to the value in place of one that is not PRESENT; statuses stay. On-demand functions see
                null, as in training.
            timeout_seconds: by when the store must have answered; None: the store's own setting.
            allow_partial: answer what could be read; the rest has the status UNAVAILABLE, and `errors` says why.
            consumer: who asks, as the registry is told once a minute; one of few. None: this machine.

        Raises:
            NotFoundError: a reference is unknown.
            SpineError: a row lacks a join key or a request column, or holds one of another type.
            UsageError: two columns would have one name, `now` is no instant, or a default is of no column or its type.
            OnlineStoreError: the store cannot be reached, was never loaded, or did not answer in time.
            StaleCodeError: the code of an on-demand view here is not what was applied.
            TransformError: an on-demand function raised, or returned something other than it declares.
            PlatformError: what such a function computes with is not installed here.
        """
        compilations = self._compilations
        prepared = compilations.recall(features, full_feature_names)
        if prepared is None:
            prepared = compilations.prepare(features, full_feature_names)
        micros, rows, plans, reads = _plan(prepared, entity_rows, now, defaults)
        if self.cache is None:
            answers = self._store.read(reads, timeout_seconds=timeout_seconds)
        else:
            lookup = self.cache.look_up(reads)
            answers = lookup.complete(self._store.read(lookup.missing, timeout_seconds=timeout_seconds), self.cache)
        self._note(prepared, plans, answers, micros, consumer)
        return respond(
            prepared.compiled, prepared.functions, rows, plans, answers, micros,
            defaults=defaults, allow_partial=allow_partial,
        )  # fmt: skip

    async def get_async(
        self,
        *,
        features: Features,
        entity_rows: Sequence[Mapping[str, Any]],
        now: datetime | str | None = None,
        full_feature_names: bool = False,
        defaults: Mapping[str, Any] = NONE,
        timeout_seconds: float | None = None,
        allow_partial: bool = False,
        consumer: str | None = None,
    ) -> OnlineResponse:
        """The same, without blocking the event loop."""
        prepared = await self._prepared(features, full_feature_names)
        micros, rows, plans, reads = _plan(prepared, entity_rows, now, defaults)
        if self.cache is None:
            answers = await self._store.read_async(reads, timeout_seconds=timeout_seconds)
        else:
            lookup = self.cache.look_up(reads)
            found = await self._store.read_async(lookup.missing, timeout_seconds=timeout_seconds)
            answers = lookup.complete(found, self.cache)
        self._note(prepared, plans, answers, micros, consumer)
        answer = partial(
            respond, prepared.compiled, prepared.functions, rows, plans, answers, micros,
            defaults=defaults, allow_partial=allow_partial,
        )  # fmt: skip
        # An author's function may take its time.
        return await asyncio.to_thread(answer) if prepared.functions else answer()

    async def compiled_async(self, *, features: Features, full_feature_names: bool) -> CompiledRequest:
        """What a request for these features stands for: the columns that it needs and those that it answers.

        Raises: as `get`.
        """
        return (await self._prepared(features, full_feature_names)).compiled

    def counters(self) -> Mapping[str, float]:
        """What a monitor may want to know, by name, since the client was opened; the cache's if it has one."""
        found = {"shadow_compared": self._compared, "shadow_skipped": self._skipped}
        if self.cache is not None:
            counts = self.cache.counts
            found |= {"cache_hits": counts.hits, "cache_misses": counts.misses, "cache_rows": counts.rows}
        return found

    def close(self) -> None:
        """Tell the registry what was read since the last minute. The store is left open."""
        self._compilations.close()

    async def _prepared(self, features: Features, full_feature_names: bool) -> Prepared:
        recalled = self._compilations.recall(features, full_feature_names)
        if recalled is not None:
            return recalled
        return await self._compilations.prepare_async(features, full_feature_names)

    def _note(
        self,
        prepared: Prepared,
        plans: Sequence[ViewPlan],
        answers: Sequence[ReadAnswer],
        now_micros: int,
        consumer: str | None,
    ) -> None:
        """Remember which versions were read, and have shadows compared."""
        for plan in plans:
            for version in plan.versions:
                self._compilations.reads.add(
                    view=plan.selection.view.name, version=version, consumer=consumer or self._host
                )
        if not prepared.serving.shadows:
            return
        flat = [read for plan in plans for read in plan.reads]
        wanted = {id(read) for read in shadowed(prepared, plans)}
        live = [(read, answer) for read, answer in zip(flat, answers, strict=True) if id(read) in wanted]
        tally = self._compilations.shadows
        compare = partial(compare_with_shadows, prepared, live, self._store, tally, now_micros)
        if live and self._compilations.run_beside(compare, bound=_MAX_SHADOWS_WAITING):
            self._compared += 1
        elif live:
            self._skipped += 1


def _plan(
    prepared: Prepared, entity_rows: Any, now: datetime | str | None, defaults: Mapping[str, Any]
) -> tuple[int, Sequence[EntityRow], tuple[ViewPlan, ...], list[Read]]:
    micros = to_micros(datetime.now(UTC) if now is None else parse_instant(now, name="now"))
    if defaults:
        _check_defaults(prepared.compiled.types, defaults)
    rows = check_rows(prepared.compiled, entity_rows)
    serving = prepared.serving
    plans = plan_reads(prepared.compiled, rows, rollouts=serving.rollouts, candidates=serving.candidates)
    return micros, rows, plans, [read.read for plan in plans for read in plan.reads]


def _check_defaults(types: Mapping[str, DType], defaults: Mapping[str, Any]) -> None:
    for column, value in defaults.items():
        if column not in types:
            raise UsageError(f"a default for {column!r}, which is not asked for; columns: {', '.join(types)}")
        if value is not None and not fits(value, types[column]):
            raise UsageError(
                f"the default of {column!r} must be {types[column]}, got {type(value).__name__} {shown(value)}"
            )
