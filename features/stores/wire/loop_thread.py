"""An event loop in a thread, for callers that have none."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class LoopStoppedError(Exception):
    """The loop was stopped before the coroutine came to an end."""


class LoopThread:
    """Runs coroutines for any thread, until it is stopped. The thread ends with the process at the latest."""

    def __init__(self, name: str) -> None:
        self.loop = _new_loop()
        self._lock = threading.Lock()
        self._stopped = False
        self._running: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns, or raises; blocks until then. Raises: LoopStoppedError."""
        # A queue hands over quicker than the futures of `asyncio.run_coroutine_threadsafe`, which are two, and chained.
        ended: SimpleQueue[asyncio.Task[T]] = SimpleQueue()
        with self._lock:
            if self._stopped:
                coroutine.close()
                raise LoopStoppedError
            self.loop.call_soon_threadsafe(self._begin, coroutine, ended.put)
        task = ended.get()
        if task.cancelled():
            raise LoopStoppedError
        return task.result()

    def stop(self, *last: Callable[[], None]) -> None:
        """Call these in the loop, cancel what runs there, then end it. Once."""
        with self._lock:
            self._stopped = True
        # Behind all that was handed over before: nothing can come after it.
        asyncio.run_coroutine_threadsafe(self._finish(last), self.loop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _begin(self, coroutine: Coroutine[Any, Any, T], tell: Callable[[asyncio.Task[T]], None]) -> None:
        task = self.loop.create_task(coroutine)
        # The loop itself holds tasks but weakly.
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(tell)

    async def _finish(self, last: Sequence[Callable[[], None]]) -> None:
        try:
            for function in last:
                function()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.loop.shutdown_asyncgens()
        finally:
            self.loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """Uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
