"""What requests stand for, compiled once, and kept in step with the registry's rollouts from a thread beside requests.

A switch in the registry is followed within about `poll_seconds`, whether requests come or not: the thread sees a new
generation, compiles what was asked for before, and only then puts all of it in place at once. So no request waits for
a switch, and none mixes two.
"""

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from features.core.discovery import Definitions
from features.core.on_demand import OnDemandFeatureView
from features.core.request import CompiledRequest, compile_request
from features.core.rollout import ServingRequest, ServingState
from features.core.rollout_counts import ReadLog, ShadowCount, ShadowTally, ViewRead
from features.errors import FeatureStoreError, StaleCodeError, UsageError
from features.serving.on_demand import find_functions

logger = logging.getLogger(__name__)

Features = str | Sequence[str]
_Asked = tuple[str | tuple[str, ...], bool]

# A server must not remember whatever its callers think of.
_MAX_COMPILED = 1024
# Threads that wait for the registry. Not those of the event loop: where the registry hangs, others need these.
_COMPILING_THREADS = 4
_LEAST_POLL_SECONDS = 0.02
# A poll that hangs does not keep a process from its end.
_LAST_POLL_SECONDS = 2.0


class ServingRegistry(Protocol):
    """The part of the registry that serving needs."""

    def serving_generation(self) -> int:
        """A number that grows with every switch of versions."""

    def serving_state(self) -> ServingState:
        """Which versions answer."""

    def resolve_serving(self, features: str | Sequence[str], state: ServingState | None = None) -> ServingRequest:
        """What references, or a service's name, stand for online. Raises: NotFoundError, DefinitionError."""

    def record_reads(self, reads: Sequence[ViewRead]) -> None:
        """Which versions were read, and for whom."""

    def record_shadow(self, counts: Sequence[ShadowCount]) -> None:
        """How shadows differ."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be answered: compiled, the code of its on-demand views, and who answers it."""

    compiled: CompiledRequest
    functions: tuple[OnDemandFeatureView, ...]
    serving: ServingRequest


class Compilations:
    """Compiled requests of one generation. Safe to use from threads.

    Args:
        registry: what names stand for.
        definitions: what the views package defines here, asked for when on-demand features are; None: they are refused.
        poll_seconds: how often the registry is asked whether versions were switched, from the first request on.
        flush_seconds: how often it is told what was read.
    """

    def __init__(
        self,
        registry: ServingRegistry,
        *,
        definitions: Callable[[], Definitions] | None,
        poll_seconds: float,
        flush_seconds: float = 60.0,
    ) -> None:
        self.reads = ReadLog()
        self.shadows = ShadowTally()
        self._registry = registry
        self._definitions = definitions
        self._poll_seconds = poll_seconds
        self._flush_seconds = flush_seconds
        self._lock = threading.Lock()
        self._known: dict[_Asked, Prepared] = {}
        self._state: ServingState | None = None
        self._flushed_at = time.monotonic()
        self._poller: _Poller | None = None
        self._beside: ThreadPoolExecutor | None = None
        self._compilers: ThreadPoolExecutor | None = None
        self._waiting = 0

    def recall(self, features: Features, full_feature_names: bool) -> Prepared | None:
        """What was compiled already, without a round trip."""
        poller = self._poller
        if poller is not None and not poller.is_alive():
            # The process is a fork, in which no thread goes on, or the client was closed and is used again.
            self._keep_polling()
        return self._known.get((_hashable(features), full_feature_names))

    def prepare(self, features: Features, full_feature_names: bool) -> Prepared:
        """Compile a request. Raises: NotFoundError, UsageError, RegistryError, StaleCodeError, PlatformError."""
        asked = (_hashable(features), full_feature_names)
        with self._lock:
            state = self._state
        if state is None:
            state = self._registry.serving_state()
        prepared = self._compile(asked, state)
        with self._lock:
            if self._state is None:
                self._state = state
            # Another generation may have been put in place meanwhile: then this answer is the last of the old one.
            if self._state.generation == state.generation:
                if len(self._known) >= _MAX_COMPILED:
                    del self._known[next(iter(self._known))]
                self._known[asked] = prepared
        if self._poller is None:
            self._keep_polling()
        return prepared

    async def prepare_async(self, features: Features, full_feature_names: bool) -> Prepared:
        """The same, without blocking the event loop."""
        with self._lock:
            if self._compilers is None:
                self._compilers = ThreadPoolExecutor(_COMPILING_THREADS, thread_name_prefix="serving-compile")
            compilers = self._compilers
        work = partial(self.prepare, features, full_feature_names)
        return await asyncio.get_running_loop().run_in_executor(compilers, work)

    def run_beside(self, work: Callable[[], None], *, bound: int) -> bool:
        """Run something after requests, in a thread of its own; whether it will: not with so much waiting already."""
        with self._lock:
            if self._waiting >= bound:
                return False
            self._waiting += 1
            if self._beside is None:
                self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="serving-beside")
            self._beside.submit(self._run, work)
        return True

    def close(self) -> None:
        """Tell the registry what it does not know yet; what comes later starts anew."""
        with self._lock:
            beside, self._beside = self._beside, None
            compilers, self._compilers = self._compilers, None
            poller = self._poller
            self._waiting = 0
        if compilers is not None:
            compilers.shutdown(wait=False, cancel_futures=True)
        if poller is not None:
            poller.end()
        if beside is not None:
            beside.shutdown(wait=True, cancel_futures=True)
        self._flush()

    def _keep_polling(self) -> None:
        with self._lock:
            if self._poller is None or not self._poller.is_alive():
                self._poller = _Poller(self, max(self._poll_seconds, _LEAST_POLL_SECONDS))
                self._poller.start()

    def poll(self) -> None:
        """Follow a switch, if there was one, and tell the registry what was read. Nothing is raised."""
        self._quietly(self._poll)

    def _poll(self) -> None:
        with self._lock:
            state, asked = self._state, list(self._known)
        if state is not None and self._registry.serving_generation() != state.generation:
            fresh = self._registry.serving_state()
            known = {}
            for request in asked:
                try:
                    known[request] = self._compile(request, fresh)
                except FeatureStoreError as exc:
                    # The next one who asks is told; the others are not kept from the new versions.
                    logger.warning("not compiled again: %s", exc)
            with self._lock:
                self._state, self._known = fresh, known
        # A consumer's first read of a version is told at once: until then a drop of the version knows nothing of it.
        if self.reads.has_news or time.monotonic() >= self._flushed_at + self._flush_seconds:
            self._flush()

    def _flush(self) -> None:
        self._flushed_at = time.monotonic()
        reads, counts = self.reads.take(), self.shadows.take()
        try:
            if reads:
                self._registry.record_reads(reads)
            reads = ()
            if counts:
                self._registry.record_shadow(counts)
        except FeatureStoreError as exc:
            self.reads.restore(reads)
            self.shadows.restore(counts)
            logger.warning("what was read is told to the registry later: %s", exc)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            self._quietly(work)
        finally:
            with self._lock:
                self._waiting = max(0, self._waiting - 1)

    def _quietly(self, work: Callable[[], None]) -> None:
        try:
            work()
        except FeatureStoreError as exc:
            # The registry or a shadow cannot be read now; requests go on with what is known.
            logger.warning("beside requests: %s", exc)
        except Exception:
            # boundary: nobody waits for this thread's errors
            logger.exception("beside requests")

    def _compile(self, asked: _Asked, state: ServingState) -> Prepared:
        features, full_feature_names = asked
        serving = self._registry.resolve_serving(features, state)
        compiled = compile_request(serving.requested, full_feature_names=full_feature_names)
        return Prepared(compiled, find_functions(compiled, self._code()) if compiled.computed else (), serving)

    def _code(self) -> Definitions:
        if self._definitions is None:
            raise StaleCodeError("this client was opened without a views package, so it computes no on-demand features")
        return self._definitions()


class _Poller(threading.Thread):
    """Polls as long as what it polls for is in use. A daemon: a script that ends does not wait for it."""

    def __init__(self, compilations: Compilations, seconds: float) -> None:
        super().__init__(name="serving-poll", daemon=True)
        self._compilations = weakref.ref(compilations)
        self._seconds = seconds
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `end`, or nobody holds the compilations any more."""
        while not self._ended.wait(self._seconds):
            compilations = self._compilations()
            if compilations is None:
                return
            compilations.poll()
            # Not held while it waits.
            del compilations

    def end(self) -> None:
        """Poll no more; returns once a poll that is under way is done, or hangs."""
        self._ended.set()
        if threading.current_thread() is not self and self.is_alive():
            self.join(_LAST_POLL_SECONDS)


def _hashable(features: Features) -> str | tuple[str, ...]:
    if isinstance(features, str):
        return features
    if not isinstance(features, Sequence) or not all(isinstance(reference, str) for reference in features):
        raise UsageError(f"features must be a service's name or a list of references, got {features!r}")
    return tuple(features)
