"""The processes that answer: one, or several that share a port under a supervisor."""

import contextlib
import errno
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from types import FrameType

import uvicorn

from features.errors import FeatureStoreError, PlatformError
from features.serving.http.app import Application, Serving
from features.serving.http.protocol import BoundedProtocol

logger = logging.getLogger(__name__)

# A picklable function: each worker opens a client of its own, in its own process.
Opener = Callable[[], AbstractContextManager[Serving]]

_BACKLOG = 2048
# Longer than load balancers keep idle connections, mostly a minute: whoever closes first never loses a request.
_KEEP_ALIVE_SECONDS = 75
# Workers that end before they answered once, one after another, end them all.
_MOST_STILLBORN = 3
_LOOK_SECONDS = 0.2
# A worker finishes its requests, then closes its client.
_CLOSING_SECONDS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A worker's place: its number, its listening socket, and the folder of counts. folder: None: it works alone."""

    number: int
    listener: socket.socket
    folder: Path | None = None


def listen(host: str, port: int, *, sockets: int = 1) -> list[socket.socket]:
    """So many sockets that listen on one port; 0: a free one. The kernel spreads connections over them.

    Raises: PlatformError: the port is in use, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listeners: list[socket.socket] = []
    try:
        for _ in range(sockets):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sockets > 1:
                if len(listeners) == 1 and port:
                    _refuse_taken(host, port, family)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, port))
            port = listener.getsockname()[1]
        for listener in listeners:
            listener.listen(_BACKLOG)
    except OSError as exc:
        for listener in listeners:
            listener.close()
        why = "is in use" if exc.errno == errno.EADDRINUSE else f"cannot be listened on: {exc.strerror}"
        raise PlatformError(f"{host}:{port} {why}; name another --port or --host") from exc
    return listeners


def serve(open_serving: Opener, *, listeners: list[socket.socket], shutdown_seconds: int) -> None:
    """Answer until SIGTERM or SIGINT; then finish what is under way, within the time given.

    Args:
        open_serving: makes what is served; called once in each worker.
        listeners: one socket per worker. One: this process answers. Several: it starts workers, and replaces dead ones.

    Raises: PlatformError: workers end as soon as they are started; and whatever `open_serving` raises.
    """
    try:
        if len(listeners) == 1:
            _work(open_serving, Place(number=0, listener=listeners[0]), shutdown_seconds, lambda: None)
            return
        with tempfile.TemporaryDirectory(prefix="features-serve-") as folder:
            places = [Place(number=n, listener=s, folder=Path(folder)) for n, s in enumerate(listeners)]
            _Supervisor(open_serving, places, shutdown_seconds).run()
    finally:
        for listener in listeners:
            listener.close()


def _work(open_serving: Opener, place: Place, shutdown_seconds: int, on_start: Callable[[], None]) -> None:
    def begin() -> None:
        # What is there by now stays: a collection that looks at all of it would hold up each request under way, for
        # 66 ms where that was measured.
        gc.collect()
        gc.freeze()
        on_start()

    with open_serving() as serving:
        application = Application(serving, worker=place.number, folder=place.folder, on_start=begin)
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                http=partial(BoundedProtocol, gate=application.gate),  # type: ignore[arg-type]
                loop="auto",
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=shutdown_seconds,
            )
        )

        def end(signum: int, frame: FrameType | None) -> None:
            server.should_exit = True

        # uvicorn raises a signal again once it has ended: these handlers make that an ordinary end.
        with _handling(end):
            server.run(sockets=[place.listener])


@dataclass(frozen=True, slots=True)
class _Worker:
    """A process, and whether it has come so far as to answer."""

    process: BaseProcess
    answers: Event


class _Supervisor:
    """Starts a worker at each place, and another where one has died. Its socket stays open meanwhile.

    So connections that came for a dead worker wait for the next one, and are not refused.
    """

    def __init__(self, open_serving: Opener, places: list[Place], shutdown_seconds: int) -> None:
        self._open_serving = open_serving
        self._places = places
        self._shutdown_seconds = shutdown_seconds
        # A fresh interpreter: what a parent's threads hold must not be inherited.
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, _Worker] = {}
        self._stillborn = 0
        self._ending = False

    def run(self) -> None:
        """Until a signal ends it. Raises: PlatformError: workers end as soon as they are started."""

        def end(signum: int, frame: FrameType | None) -> None:
            self._ending = True

        with _handling(end):
            try:
                for place in self._places:
                    self._start(place)
                while not self._ending:
                    connection.wait(
                        [worker.process.sentinel for worker in self._workers.values()], timeout=_LOOK_SECONDS
                    )
                    for place in self._places:
                        self._look_after(place)
            finally:
                self._end_all()

    def _start(self, place: Place) -> None:
        answers = self._context.Event()
        process = self._context.Process(
            target=_run_worker,
            args=(self._open_serving, place, self._shutdown_seconds, answers),
            name=f"worker-{place.number}",
        )
        process.start()
        self._workers[place.number] = _Worker(process, answers)

    def _look_after(self, place: Place) -> None:
        worker = self._workers[place.number]
        if worker.process.is_alive() or self._ending:
            return
        logger.error("a worker ended", extra={"worker": place.number, "exit_code": worker.process.exitcode})
        self._stillborn = 0 if worker.answers.is_set() else self._stillborn + 1
        if self._stillborn >= _MOST_STILLBORN:
            raise PlatformError("workers end before they answer; what they said stands above")
        self._start(place)

    def _end_all(self) -> None:
        for place in self._places:
            # Nobody is to wait in a queue that no worker looks at.
            place.listener.close()
        processes = [worker.process for worker in self._workers.values()]
        for process in processes:
            process.terminate()
        until = time.monotonic() + self._shutdown_seconds + _CLOSING_SECONDS
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                logger.error("a worker did not end, and is killed", extra={"worker": process.name})
                process.kill()
                process.join()


def _run_worker(open_serving: Opener, place: Place, shutdown_seconds: int, answers: Event) -> None:
    """A worker's process, from start to end."""
    # Ctrl-C is for the supervisor, which tells its workers.
    os.setpgid(0, 0)
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        _work(open_serving, place, shutdown_seconds, answers.set)
    except FeatureStoreError as exc:
        sys.exit(f"error: {exc}")


def _follow_parent() -> None:
    """End with the supervisor, also where it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _refuse_taken(host: str, port: int, family: socket.AddressFamily) -> None:
    """Sockets that share a port would share another server's, too. Raises: OSError: there is one."""
    with socket.socket(family, socket.SOCK_STREAM) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((host, port))
        alone.listen(1)


@contextlib.contextmanager
def _handling(end: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
