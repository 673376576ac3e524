"""The servers that contend, each in processes of its own, over the same Cassandra."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.memory import kill_tree
from benchmarks.online import peer_feast
from benchmarks.online.shape import Shape
from benchmarks.online.store import FOLDER
from benchmarks.racing import module_command
from features.embedded.ports import choose_free

_HOST = "127.0.0.1"
_START_SECONDS = 300


@contextmanager
def our_server(shape: Shape, cassandra: int, *, workers: int) -> Iterator[str]:
    """The URL of our server."""
    port = choose_free(_HOST)
    sizes = (shape.entities, shape.views, shape.features)
    command = module_command("benchmarks.http.ours", *map(str, (cassandra, port, workers, *sizes)))
    with _running(command, port, "ours") as url:
        yield url


@contextmanager
def feast_server(cassandra: int, *, workers: int) -> Iterator[str]:
    """The URL of Feast's Python feature server, of the repository that benchmarks.online.peer_feast has filled."""
    port = choose_free(_HOST)
    feast = Path(peer_feast.ENVIRONMENT.python).with_name("feast").absolute()
    command = (
        str(feast), "--chdir", str(peer_feast.repository(FOLDER)), "serve", "--host", _HOST, "--port", str(port),
        "--workers", str(workers), "--no-access-log",
        # By default a worker ends after a thousand requests, and those that come meanwhile are lost.
        "--max-requests", "0", "--max-requests-jitter", "0",
    )  # fmt: skip
    with _running(command, port, "feast") as url:
        yield url


def fill_feast(shape: Shape, cassandra: int) -> None:
    """Write Feast's rows where they are missing, and its repository for a Cassandra at this port."""
    sizes = (shape.feast_entities, shape.views, shape.features)
    command = module_command(
        "benchmarks.online.peer_feast",
        str(FOLDER),
        *map(str, (cassandra, *sizes)),
        python=peer_feast.ENVIRONMENT.python,
    )
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)


def ask(url: str, body: object) -> dict[str, Any]:
    """One request, and its answer."""
    request = urllib.request.Request(
        f"{url}/get-online-features",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "X-Request-Timeout-Ms": "10000"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@contextmanager
def _running(command: tuple[str, ...], port: int, name: str) -> Iterator[str]:
    log = FOLDER / f"{name}-server.log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            url = f"http://{_HOST}:{port}"
            _wait_for(f"{url}/health", process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                kill_tree(process.pid)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError as exc:
            if process.poll() is not None or time.monotonic() > until:
                tail = "".join(log.read_text().splitlines(keepends=True)[-20:])
                raise SystemExit(f"no answer of {url}: {exc}\n{tail}") from exc
            time.sleep(0.2)
