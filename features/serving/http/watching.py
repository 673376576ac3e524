"""Whether what serving needs can be reached, asked in the background: /ready answers from memory."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Protocol, TypeVar

from features.core.applied import AppliedView
from features.core.dtypes import DType
from features.errors import FeatureStoreError, OnlineStoreError
from features.stores.base import OnlineStore, Read

logger = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

_EVERY_SECONDS = 2.0
# A try gets so long, and success counts for so long.
_TRY_SECONDS = 2.0
_LATELY_SECONDS = 10.0

# A key that any table can be asked for.
_ANY_KEY: Mapping[str, Any] = {
    "bool": False, "int32": 0, "int64": 0, "decimal": Decimal(0), "string": "-", "bytes": b"-",
    "date": date(1970, 1, 1), "timestamp": datetime(1970, 1, 1, tzinfo=UTC),
}  # fmt: skip


class WatchedRegistry(Protocol):
    """The part of the registry that watching needs."""

    def loads(self, *, target: str) -> Mapping[str, datetime]:
        """View version, as `name@version`, to when its checkpoint last moved, of those loaded into a target."""

    def view(self, reference: str) -> AppliedView:
        """A view version. Raises: NotFoundError."""


class Watch:
    """Asks the registry what is loaded, and the online store for a row of one such view, every two seconds."""

    def __init__(self, registry: WatchedRegistry, store: OnlineStore) -> None:
        self._registry = registry
        self._store = store
        self._reached: dict[str, float] = {}
        self._views: dict[str, AppliedView] = {}
        self._any: AppliedView | None = None
        # One of its own: a registry that hangs must not take the threads that requests need.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watch")
        self.loaded: Mapping[str, datetime] = {}
        # Until the first success nobody was told that it is ready.
        self._why = "unknown"

    def up(self) -> dict[str, bool]:
        """What is needed, and whether it was reached in the last ten seconds."""
        now = time.monotonic()
        return {name: now < self._reached.get(name, -1e9) + _LATELY_SECONDS for name in ("registry", "online_store")}

    @property
    def is_ready(self) -> bool:
        """Whether the store was reached lately, and the registry ever: without it, what was asked before is answered.

        A registry that is away must not have a load balancer take away every server.
        """
        return self.up()["online_store"] and "registry" in self._reached

    async def watch(self) -> None:
        """Ask, for as long as the server runs."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                await self.try_once()
            except Exception:
                # boundary: nobody waits for this task, and without it /ready would never change again
                logger.exception("readiness could not be looked at")

    async def try_once(self, *, seconds: float = _TRY_SECONDS) -> None:
        """Ask both, each for so long at most; that one was not reached is told to the log, once."""
        before = self._why
        try:
            await self.look(seconds=seconds)
            self._why = ""
        except (FeatureStoreError, TimeoutError) as exc:
            # Its message may name hosts: it goes to the log, and to nobody who asks /ready.
            self._why = str(exc) or f"there was no answer within {seconds:.0f} s"
        if self._why != before:
            level = logging.WARNING if self._why else logging.INFO
            logger.log(level, "not ready" if self._why else "ready", extra={"why": self._why or None})

    async def look(self, *, seconds: float = _TRY_SECONDS) -> None:
        """Ask both once, the store also where the registry is away: what was compiled is answered without it.

        Raises: RegistryError, OnlineStoreError, TimeoutError: that one was not reached.
        """
        failure: Exception | None = None
        try:
            async with asyncio.timeout(seconds):
                self.loaded = await self._beside(partial(self._registry.loads, target=self._store.target))
                self._reached["registry"] = time.monotonic()
                self._any = await self._any_view()
        except (FeatureStoreError, TimeoutError) as exc:
            failure = exc
        view = self._any
        if view is None:
            raise failure or OnlineStoreError("nothing is loaded into the online store; run `features load`")
        read = Read(view=view, features=(view.features[0].name,), keys=(_any_key(view.join_keys.values()),))
        async with asyncio.timeout(seconds):
            for answer in await self._store.read_async([read]):
                if isinstance(answer, OnlineStoreError):
                    raise answer
        self._reached["online_store"] = time.monotonic()
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Ask no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _beside(self, ask: Callable[[], _Answer]) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, ask)

    async def _any_view(self) -> AppliedView | None:
        for reference in self.loaded:
            if reference not in self._views:
                self._views[reference] = await self._beside(partial(self._registry.view, reference))
            return self._views[reference]
        return None


def _any_key(types: Iterable[DType]) -> tuple[Any, ...]:
    return tuple(_ANY_KEY[dtype.kind] for dtype in types)
