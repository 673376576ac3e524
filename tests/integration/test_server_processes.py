"""The server as processes: workers that share a port and replace each other, an orderly end, hostile requests."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from features.errors import PlatformError
from features.serving.http.running import listen
from tests.served import LATER, Server, serving

ROWS = [{"customer": "a"}]
SLOW = [{"customer": "slow"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    # A busy machine makes every event loop late, which is not the question here.
    limits = {"max_body_bytes": 100_000, "queue_target_ms": 1000}
    with serving(folder, workers=2, delay_seconds=6.0, timeout_ms=10_000, **limits) as server:
        server.wait_for("/ready")
        yield server


def children(server: Server) -> list[int]:
    pid = server.process.pid
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    # multiprocessing's own tracker of resources is one of them.
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def metric(server: Server, start: str) -> list[float]:
    return [
        float(line.rpartition(" ")[2]) for line in server.get("/metrics").text.splitlines() if line.startswith(start)
    ]


def test_workers_share_the_port_and_their_counts(server: Server) -> None:
    assert len(children(server)) == 2
    before = sum(metric(server, 'features_http_requests_total{service="spending"'))
    for _ in range(40):
        # A new connection each time: the kernel chooses the worker.
        assert server.ask(features="spending", entity_rows=ROWS, now=LATER).json()["columns"]["amount"] == [1.5]

    until = time.monotonic() + 10
    while sum(metric(server, 'features_http_requests_total{service="spending"')) < before + 40:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert len(metric(server, "features_http_in_flight{worker=")) == 2


def test_a_dead_worker_is_replaced_and_nobody_is_refused(server: Server) -> None:
    before = children(server)

    os.kill(before[0], signal.SIGKILL)
    # Half of these connections are the dead worker's: they wait for its successor.
    answers = [server.ask(features="spending", entity_rows=ROWS) for _ in range(20)]

    assert {answer.status_code for answer in answers} == {200}
    assert len(children(server)) == 2
    assert before[1] in children(server)
    assert "a worker ended" in server.log.read_text()


def test_a_long_body_is_refused_before_it_is_read(server: Server) -> None:
    begun = time.monotonic()

    answer = httpx.post(f"{server.url}/get-online-features", content=b"x" * 100_000_000, timeout=30)

    assert answer.status_code == 413
    assert time.monotonic() - begun < 20
    endless = httpx.post(f"{server.url}/get-online-features", content=(b"x" * 50_000 for _ in range(2000)), timeout=30)
    assert endless.status_code == 413


def test_headers_that_are_long_or_late_end_the_connection(server: Server) -> None:
    address = (httpx.URL(server.url).host, httpx.URL(server.url).port)
    with socket.create_connection(address, timeout=60) as slow, socket.create_connection(address, timeout=60) as long:
        slow.sendall(b"GET /health HTTP/1.1\r\nx-first: 1\r\n")
        with suppress(ConnectionError):
            long.sendall(b"GET /health HTTP/1.1\r\nx-long: " + b"x" * 1_000_000 + b"\r\n\r\n")
        with suppress(ConnectionError):
            assert b"400 Bad Request" in long.recv(65536)
        assert slow.recv(65536) == b""
    assert server.get("/health").status_code == 200


def test_ten_thousand_keys_are_refused(server: Server) -> None:
    answer = httpx.post(
        f"{server.url}/get-online-features",
        content=json.dumps({"features": "spend", "entity_rows": [{"customer": ""}] * 4000}),
    )

    assert (answer.status_code, answer.json()) == (
        413,
        {"detail": "the request has 4,000 entity rows, more than 1,000; split it"},
    )


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /get-online-features HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_hung_up_on(server: Server, sent: bytes) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(sent)
        assert raw.recv(100).startswith(b"HTTP/1.1 400")

    assert server.get("/health").status_code == 200


def ask_slowly(server: Server, threads: ThreadPoolExecutor, requests: int) -> list[Future[httpx.Response]]:
    """Requests that take seconds, all of them under way."""
    asked = [threads.submit(server.ask, features="spending", entity_rows=SLOW) for _ in range(requests)]
    until = time.monotonic() + 30
    while sum(metric(server, "features_http_in_flight{")) < requests:
        assert time.monotonic() < until
        time.sleep(0.02)
    return asked


def test_slow_requests_leave_others_alone(server: Server) -> None:
    with ThreadPoolExecutor(20) as threads:
        slow = ask_slowly(server, threads, 20)

        assert server.get("/health").status_code == 200
        assert server.ask(features="spending", entity_rows=ROWS).status_code == 200
        assert not any(future.done() for future in slow)
        assert {future.result().status_code for future in slow} == {200}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_orderly_end_answers_what_is_under_way(tmp_path: Path, workers: int) -> None:
    limits = {"timeout_ms": 10_000, "shutdown_seconds": 60}
    with serving(tmp_path, workers=workers, delay_seconds=4.0, **limits) as server, ThreadPoolExecutor(1) as threads:
        [slow] = ask_slowly(server, threads, 1)

        server.process.send_signal(signal.SIGTERM)
        until_refused(server)

        assert slow.result().status_code == 200
        assert server.process.wait(60) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == "ended\n"


def test_an_orderly_end_waits_no_longer_than_it_was_told(tmp_path: Path) -> None:
    limits = {"shutdown_seconds": 1, "timeout_ms": 100_000, "max_timeout_ms": 100_000}
    with serving(tmp_path, delay_seconds=100.0, **limits) as server, ThreadPoolExecutor(1) as threads:
        [slow] = ask_slowly(server, threads, 1)

        server.process.send_signal(signal.SIGINT)

        assert (slow.result().status_code, slow.result().headers["retry-after"]) == (503, "1")
        assert server.process.wait(60) == 0


def until_refused(server: Server) -> None:
    """Wait until new connections are refused."""
    until = time.monotonic() + 30
    while True:
        try:
            server.get("/health")
        except httpx.TransportError:
            return
        assert time.monotonic() < until
        time.sleep(0.02)


def test_workers_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        workers = children(server)
        server.process.kill()
        server.process.wait()

        until = time.monotonic() + 10
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_workers_that_cannot_start_end_the_server(tmp_path: Path) -> None:
    arguments = [str(tmp_path), json.dumps({"keys_file": str(tmp_path / "absent.yaml")}), "2", "0"]

    ended = subprocess.run(
        [sys.executable, "-m", "tests.served", *arguments], capture_output=True, text=True, timeout=120
    )

    assert ended.returncode != 0
    assert "workers end before they answer" in ended.stderr
    assert "absent.yaml cannot be read" in ended.stderr


@pytest.mark.parametrize("sockets", [1, 3])
def test_a_port_in_use_is_told(sockets: int) -> None:
    taken = listen("127.0.0.1", 0, sockets=2)
    port = taken[0].getsockname()[1]

    with pytest.raises(PlatformError, match=f"127.0.0.1:{port} is in use"):
        listen("127.0.0.1", port, sockets=sockets)

    for listener in taken:
        listener.close()
