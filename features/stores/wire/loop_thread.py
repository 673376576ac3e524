"""An event loop in a thread, for callers that have none."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for any thread, until it is stopped. The thread ends with the process at the latest."""

    def __init__(self, name: str) -> None:
        self.loop = _new_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns, or raises; blocks until then."""
        answer: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return answer.result()

    def stop(self, *last: Callable[[], None]) -> None:
        """Call these in the loop, then end it."""

        def finish() -> None:
            for function in last:
                function()
            self.loop.stop()

        self.loop.call_soon_threadsafe(finish)
        if threading.current_thread() is not self._thread:
            self._thread.join()

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
