"""`python -m benchmarks.online`: 50 features of 5 views, of 1, 10, 100 and 500 keys, in one process.

Ours is `OnlineClient.get` and its answer as a dict, over 1,000,000 entities. Beside it, in the same rounds and against
the same Cassandra: `floor`, cassandra-driver's own `SELECT now()`; and `feast`, the SDK of Feast 0.67 over its
Cassandra store, in an environment of its own, with 20,000 entities, since it loads some 170 a second. Every contender's
values are compared with what was written. The server is warm by then: compactions have ended, and two minutes of the
same requests precede. Then the same requests while all tables are loaded again in full beside them.

The last line is one JSON object: "ms" (p50 by contender and line) with "p99", "p999" and their spreads over rounds;
"speedup": `floor` is the p50 of `SELECT now()` over ours of one key, `feast` the least of its p50 over ours of a line.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cassandra.cluster import Session

from benchmarks.online import peer_feast
from benchmarks.online.shape import Shape, value
from benchmarks.online.store import FOLDER, KEY, SERVICE, fill, load_command, open_client, open_registry, running_node
from benchmarks.online.store import settings as online_settings
from benchmarks.racing import module_command, say
from features.serving.client import OnlineClient
from features.stores.cassandra_session import connect

# Requests of one round, by keys: enough for a p99 of each.
LINES = {1: 4000, 10: 2000, 100: 600, 500: 120}
FEAST_LINES = {1: 400, 10: 150, 100: 50, 500: 12}
_FLOOR = 4000
# The server's compiler takes some minutes of requests until it has made its code as good as it gets.
_WARM_SECONDS = 120.0
_CORES = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.online", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--feast-entities", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--without-feast", action="store_true")
    parser.add_argument("--without-load", action="store_true", help="leave out the requests beside a load")
    asked = parser.parse_args(argv)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    shape = Shape(entities=asked.entities, feast_entities=asked.feast_entities)
    with running_node() as port:
        fill(shape, port)
        figures = _run(shape, port, asked)
    print(json.dumps({"benchmark": "online", "entities": asked.entities, "rounds": asked.rounds, **figures}))
    return 0


class Taken:
    """Milliseconds by contender and line, of each round."""

    def __init__(self) -> None:
        self._rounds: dict[str, list[list[float]]] = {}

    def add(self, name: str, milliseconds: list[float]) -> None:
        """One round of one line."""
        self._rounds.setdefault(name, []).append(milliseconds)
        say(f"{name}: p50 {percentile(milliseconds, 0.5):.3f}, p99 {percentile(milliseconds, 0.99):.3f} ms")

    def all(self, name: str) -> list[float]:
        """All requests of a line."""
        return [one for taken in self._rounds[name] for one in taken]

    def p50(self, name: str) -> float:
        """Of all its requests."""
        return percentile(self.all(name), 0.5)

    def ratios(self, name: str, base: str) -> list[float]:
        """p50 over p50, round by round."""
        pairs = zip(self._rounds[name], self._rounds[base], strict=True)
        return [percentile(one, 0.5) / percentile(other, 0.5) for one, other in pairs]

    def figures(self) -> dict[str, Any]:
        """Percentiles of all requests, and [least, most] over rounds of the first two."""
        found: dict[str, Any] = {"ms": {}, "p99": {}, "p999": {}, "ms_spread": {}, "p99_spread": {}, "requests": {}}
        for name, rounds in self._rounds.items():
            every = self.all(name)
            for key, share in (("ms", 0.5), ("p99", 0.99), ("p999", 0.999)):
                found[key][name] = round(percentile(every, share), 3)
            for key, share in (("ms_spread", 0.5), ("p99_spread", 0.99)):
                each = [percentile(taken, share) for taken in rounds]
                found[key][name] = [round(min(each), 3), round(max(each), 3)]
            found["requests"][name] = len(every)
        return found


def percentile(taken: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted(taken)[min(len(taken) - 1, int(len(taken) * share))]


def _run(shape: Shape, port: int, asked: argparse.Namespace) -> dict[str, Any]:
    registry = open_registry(shape)
    client, store = open_client(registry, port)
    session = connect(online_settings(port))
    feast = None if asked.without_feast else _Feast(shape, port)
    chosen = random.Random(7)
    taken = Taken()
    _warm_up(client, session, shape, chosen)
    for number in range(asked.rounds):
        steps: list[Callable[[], None]] = [
            lambda: taken.add("floor", _floor(session, _FLOOR)),
            *(_step(taken, client, shape, keys, count, chosen) for keys, count in LINES.items()),
            lambda: taken.add("async_1", asyncio.run(_measure_async(client, shape, 1, LINES[1], chosen))),
            lambda: taken.add("async_100", asyncio.run(_measure_async(client, shape, 100, LINES[100], chosen))),
        ]
        if feast is not None:
            steps += [_feast_step(taken, feast, keys, count, number) for keys, count in FEAST_LINES.items()]
        for step in steps if number % 2 == 0 else reversed(steps):
            step()
    quiet = {keys: percentile(taken.all(f"ours_{keys}"), 0.99) for keys in LINES}
    beside = Taken() if not asked.without_load else None
    if beside is not None:
        _beside_load(beside, client, shape, port, chosen)
    if feast is not None:
        feast.close()
    session.cluster.shutdown()
    client.close()
    store.close()
    registry.close()
    return {**taken.figures(), **_compared(taken, beside, quiet, with_feast=feast is not None)}


def _warm_up(client: OnlineClient, session: Session, shape: Shape, chosen: random.Random) -> None:
    until = time.monotonic() + _WARM_SECONDS
    while time.monotonic() < until:
        for keys, count in LINES.items():
            _measure(client, shape, keys, count // 10, chosen)
        _floor(session, _FLOOR // 10)


def _compared(taken: Taken, beside: Taken | None, quiet: dict[int, float], *, with_feast: bool) -> dict[str, Any]:
    against_floor = taken.ratios("floor", "ours_1")
    found: dict[str, Any] = {"speedup": {"floor": round(taken.p50("floor") / taken.p50("ours_1"), 2)}}
    found["speedup_spread"] = {"floor": [round(min(against_floor), 2), round(max(against_floor), 2)]}
    found["of_floor"] = round(taken.p50("ours_1") / taken.p50("floor"), 2)
    if with_feast:
        lines = {keys: taken.p50(f"feast_{keys}") / taken.p50(f"ours_{keys}") for keys in LINES}
        least = min(lines, key=lambda keys: lines[keys])
        spread = taken.ratios(f"feast_{least}", f"ours_{least}")
        found["speedup"]["feast"] = round(lines[least], 2)
        found["speedup_spread"]["feast"] = [round(min(spread), 2), round(max(spread), 2)]
        found["feast_by_line"] = {str(keys): round(ratio, 2) for keys, ratio in lines.items()}
    if beside is not None:
        found["beside_a_load"] = beside.figures()
        found["p99_beside_a_load"] = {
            str(keys): round(percentile(beside.all(f"ours_{keys}"), 0.99) / quiet[keys], 2) for keys in (1, 100)
        }
    return found


def _step(
    taken: Taken, client: OnlineClient, shape: Shape, keys: int, count: int, chosen: random.Random
) -> Callable[[], None]:
    return lambda: taken.add(f"ours_{keys}", _measure(client, shape, keys, count, chosen))


def _feast_step(taken: Taken, feast: "_Feast", keys: int, count: int, seed: int) -> Callable[[], None]:
    return lambda: taken.add(f"feast_{keys}", feast.measure(keys, count, seed))


def _floor(session: Session, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        session.execute("SELECT now() FROM system.local")
        taken.append(1e3 * (time.perf_counter() - begun))
    return taken


def _rows(shape: Shape, keys: int, chosen: random.Random) -> list[dict[str, int]]:
    return [{KEY: chosen.randrange(shape.entities)} for _ in range(keys)]


def _measure(client: OnlineClient, shape: Shape, keys: int, count: int, chosen: random.Random) -> list[float]:
    taken = []
    for _ in range(count):
        rows = _rows(shape, keys, chosen)
        begun = time.perf_counter()
        answer = client.get(features=SERVICE, entity_rows=rows).to_dict()
        taken.append(1e3 * (time.perf_counter() - begun))
    _check(shape, rows, answer)
    return taken


async def _measure_async(
    client: OnlineClient, shape: Shape, keys: int, count: int, chosen: random.Random
) -> list[float]:
    taken = []
    for _ in range(count):
        rows = _rows(shape, keys, chosen)
        begun = time.perf_counter()
        answer = (await client.get_async(features=SERVICE, entity_rows=rows)).to_dict()
        taken.append(1e3 * (time.perf_counter() - begun))
    _check(shape, rows, answer)
    return taken


def _check(shape: Shape, rows: list[dict[str, int]], answer: dict[str, list[Any]]) -> None:
    for at, names in enumerate(shape.columns.values()):
        for place, name in enumerate(names):
            wanted = [value(row[KEY], at, place) for row in rows]
            if answer[name] != wanted:
                raise SystemExit(f"{name} was answered {answer[name][:3]}, not {wanted[:3]}")


def _beside_load(taken: Taken, client: OnlineClient, shape: Shape, port: int, chosen: random.Random) -> None:
    """The same requests as long as a full load of all tables runs, with the lowest priority, as a batch job has."""
    load = subprocess.Popen(["nice", "-n", "19", *load_command(shape, port, position=int(time.time()))])
    try:
        # Spark starts first, which is no load of Cassandra yet.
        time.sleep(15)
        while load.poll() is None:
            taken.add("ours_1", _measure(client, shape, 1, 1000, chosen))
            taken.add("ours_100", _measure(client, shape, 100, 100, chosen))
    finally:
        if load.poll() is None:
            load.kill()
    if load.returncode != 0:
        raise SystemExit("the load beside the requests failed")


class _Feast:
    """Feast's process."""

    def __init__(self, shape: Shape, port: int) -> None:
        failed = peer_feast.ENVIRONMENT.install(f"{Path(sys.executable).parent}/uv", sys.executable)
        if failed:
            raise SystemExit(f"feast: {failed}; leave it out with --without-feast")
        with connect(online_settings(port)).cluster as cluster:
            cluster.connect().execute(
                f"CREATE KEYSPACE IF NOT EXISTS {peer_feast.FEAST_KEYSPACE} WITH replication = "
                "{'class': 'SimpleStrategy', 'replication_factor': 1}"
            )
        arguments = (FOLDER, port, shape.feast_entities, shape.views, shape.features)
        command = module_command(
            "benchmarks.online.peer_feast", *map(str, arguments), python=peer_feast.ENVIRONMENT.python
        )
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line("ready")
        self.measure(1, 50, 0)

    def measure(self, keys: int, requests: int, seed: int) -> list[float]:
        """Milliseconds of each request."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"keys": keys, "requests": requests, "seed": seed}) + "\n")
        self._process.stdin.flush()
        found: list[float] = json.loads(self._line("["))
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _line(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise SystemExit(f"feast's process ended with exit code {self._process.wait()}")


if __name__ == "__main__":
    sys.exit(main())
