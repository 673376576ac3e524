"""`python -m benchmarks.http`: 50 features of 5 views over HTTP, our server beside Feast's Python feature server.

Both have as many workers, read the same values from the same Cassandra, and get the very same requests, in Feast's
form; their answers are compared before times count. A load generator, vegeta, keeps connections busy: requests a
second, and how long they take. Then our server gets twice what it can answer, at a rate that does not wait for answers
while a connection is free: what it refuses, how long those that it takes on wait, and how soon all is well again at
half of what it can answer.

The last line is one JSON object: "requests_per_second", "ms" (p50), "p99" and "p999" by contender and keys, with their
spreads over rounds; "speedup": {"feast": the least ratio of requests a second over lines}; "overload".
"""

import argparse
import json
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.http.generator import Request, attack, install, write_targets
from benchmarks.http.servers import ask, feast_server, fill_feast, our_server
from benchmarks.online import peer_feast
from benchmarks.online.shape import FEAST_KEYSPACE, Shape
from benchmarks.online.store import FOLDER, KEY, fill, running_node
from benchmarks.online.store import settings as online_settings
from benchmarks.racing import say
from features.stores.cassandra_session import connect

LINES = (1, 100)
_BODIES = 2000
_COMPARED = 20
_WARM_SECONDS = 20.0
# Of accepted requests, while twice as many come as can be answered; and until it is over after that.
_LIMIT_MS = 50.0
_HALF = 0.5
_CALM_SECONDS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.http", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=1_000_000, help="rows of our tables (default %(default)s)")
    parser.add_argument("--feast-entities", type=int, default=20_000, help="Feast's, and those asked for")
    parser.add_argument("--workers", type=int, default=2, help="processes of each server (default %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="kept busy (default %(default)s)")
    parser.add_argument("--clients", type=int, default=256, help="connections under overload (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-feast", action="store_true")
    asked = parser.parse_args(argv)
    if missing := install():
        say(f"error: {missing}")
        return 1
    shape = Shape(entities=asked.entities, feast_entities=asked.feast_entities)
    (FOLDER / "access.log").unlink(missing_ok=True)
    with running_node() as port:
        fill(shape, port)
        figures = _run(shape, port, asked)
    sizes = {name: vars(asked)[name] for name in ("entities", "workers", "connections", "rounds")}
    print(json.dumps({"benchmark": "http", **sizes, **figures}))
    return 0


def _run(shape: Shape, port: int, asked: argparse.Namespace) -> dict[str, Any]:
    if asked.without_feast:
        with our_server(shape, port, workers=asked.workers) as ours:
            return _race({"ours": ours}, shape, asked)
    _prepare_feast(shape, port)
    with (
        our_server(shape, port, workers=asked.workers) as ours,
        feast_server(port, workers=asked.workers) as feast,
    ):
        _compare(ours, feast, shape)
        return _race({"ours": ours, "feast": feast}, shape, asked)


def _prepare_feast(shape: Shape, port: int) -> None:
    failed = peer_feast.ENVIRONMENT.install(f"{Path(sys.executable).parent}/uv", sys.executable)
    if failed:
        raise SystemExit(f"feast: {failed}; leave it out with --without-feast")
    session = connect(online_settings(port))
    session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {FEAST_KEYSPACE} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.cluster.shutdown()
    fill_feast(shape, port)


def _body(shape: Shape, keys: int, chosen: random.Random) -> dict[str, Any]:
    return {
        "features": shape.references,
        "entities": {KEY: [chosen.randrange(shape.feast_entities) for _ in range(keys)]},
    }


def _compare(ours: str, feast: str, shape: Shape) -> None:
    chosen = random.Random(1)
    for keys in LINES:
        for _ in range(_COMPARED):
            body = _body(shape, keys, chosen)
            mine, theirs = _columns(ask(ours, body)), _columns(ask(feast, body))
            if mine != theirs:
                different = [name for name in theirs if mine.get(name) != theirs[name]]
                raise SystemExit(f"the servers answer otherwise: {different[:3]}, {sorted(mine)[:3]}")


def _columns(answer: dict[str, Any]) -> dict[str, Any]:
    names = answer["metadata"]["feature_names"]
    return {name: (column["values"], column["statuses"]) for name, column in zip(names, answer["results"], strict=True)}


def _race(urls: dict[str, str], shape: Shape, asked: argparse.Namespace) -> dict[str, Any]:
    chosen = random.Random(7)
    targets = {}
    for name, url in urls.items():
        for keys in LINES:
            path = targets[name, keys] = FOLDER / f"targets-{name}-{keys}.json"
            count = max(50, _BODIES // keys)
            write_targets(path, f"{url}/get-online-features", (_body(shape, keys, chosen) for _ in range(count)))
            attack(path, seconds=_WARM_SECONDS, rate=None, connections=asked.connections)
    rounds: dict[str, list[list[Request]]] = {}
    for number in range(asked.rounds):
        steps = list(targets.items())
        for (name, keys), path in steps if number % 2 == 0 else reversed(steps):
            found = attack(path, seconds=asked.seconds, rate=None, connections=asked.connections)
            if wrong := {request.status for request in found} - {200}:
                raise SystemExit(f"{name} answered {sorted(wrong)} to {keys} keys on {asked.connections} connections")
            rounds.setdefault(f"{name}_{keys}", []).append(found)
            say(f"{name}, {keys} keys: {_rate(found):.0f} a second, p50 {_percentile(found, 0.5):.1f} ms")
    figures = _figures(rounds)
    capacity = statistics.median(_rate(found) for found in rounds["ours_1"])
    overloads = [_overload(targets["ours", 1], capacity, asked) for _ in range(asked.rounds)]
    middle = {key: round(statistics.median(one[key] for one in overloads), 2) for key in overloads[0]}
    spread = {
        key: [round(min(o[key] for o in overloads), 2), round(max(o[key] for o in overloads), 2)] for key in middle
    }
    return {**figures, "overload": middle, "overload_spread": spread}


def _figures(rounds: dict[str, list[list[Request]]]) -> dict[str, Any]:
    rates = {line: [_rate(found) for found in runs] for line, runs in rounds.items()}
    found: dict[str, Any] = {
        "requests_per_second": {line: round(statistics.median(each)) for line, each in rates.items()},
        "requests_per_second_spread": {line: [round(min(each)), round(max(each))] for line, each in rates.items()},
    }
    for name, share in (("ms", 0.5), ("p99", 0.99), ("p999", 0.999)):
        each = {line: [_percentile(run, share) for run in runs] for line, runs in rounds.items()}
        found[name] = {line: round(statistics.median(taken), 2) for line, taken in each.items()}
        found[f"{name}_spread"] = {line: [round(min(t), 2), round(max(t), 2)] for line, t in each.items()}
    if "feast_1" in rates:
        ratios = {
            keys: [mine / theirs for mine, theirs in zip(rates[f"ours_{keys}"], rates[f"feast_{keys}"], strict=True)]
            for keys in LINES
        }
        least = min(LINES, key=lambda keys: statistics.median(ratios[keys]))
        found["speedup"] = {"feast": round(statistics.median(ratios[least]), 2)}
        found["speedup_spread"] = {"feast": [round(min(ratios[least]), 2), round(max(ratios[least]), 2)]}
        found["feast_by_line"] = {str(keys): round(statistics.median(ratios[keys]), 2) for keys in LINES}
    return found


def _overload(path: Path, capacity: float, asked: argparse.Namespace) -> dict[str, float]:
    """Twice what can be answered, and then half of it."""
    found = attack(path, seconds=asked.seconds, rate=2 * capacity, connections=asked.clients)
    accepted = [request for request in found if request.status == 200]
    refused = [request for request in found if request.status in (429, 503)]
    if len(accepted) + len(refused) != len(found):
        lost = [request.status for request in found if request.status not in (200, 429, 503)]
        raise SystemExit(f"{len(lost)} of {len(found)} requests were neither answered nor refused: {sorted(set(lost))}")
    after = attack(path, seconds=asked.seconds, rate=_HALF * capacity, connections=asked.clients)
    late = [request.at for request in after if request.status != 200 or request.milliseconds > _LIMIT_MS]
    told = {
        "wanted_per_second": 2 * capacity,
        "offered_per_second": len(found) / max(request.at for request in found),
        "accepted_per_second": _rate(accepted),
        "refused_share": len(refused) / len(found),
        "accepted_p50_ms": _percentile(accepted, 0.5),
        "accepted_p99_ms": _percentile(accepted, 0.99),
        "refused_p99_ms": _percentile(refused, 0.99) if refused else 0.0,
        "recovered_seconds": _recovered(after),
        "last_late_seconds": max(late, default=0.0),
        "after_refused": sum(request.status != 200 for request in after),
        "after_p99_ms": _percentile(after, 0.99),
    }
    say(", ".join(f"{name} {figure:.1f}" for name, figure in told.items()))
    return told


def _recovered(after: Sequence[Request]) -> float:
    """When the first seconds in a row began in which none was refused, and at most one of a hundred was late."""
    seconds: dict[int, list[Request]] = {}
    for request in after:
        seconds.setdefault(int(request.at), []).append(request)
    is_well = [
        all(request.status == 200 for request in found) and _percentile(found, 0.99) <= _LIMIT_MS
        for _, found in sorted(seconds.items())
    ]
    starts = [n for n in range(len(is_well)) if is_well[n : n + _CALM_SECONDS] == [True] * _CALM_SECONDS]
    return float(starts[0]) if starts else float(len(is_well))


def _rate(found: Sequence[Request]) -> float:
    """Answers a second."""
    return len(found) / max(request.at + request.milliseconds / 1e3 for request in found)


def _percentile(found: Sequence[Request], share: float) -> float:
    """The nearest-rank percentile, in milliseconds."""
    taken = sorted(request.milliseconds for request in found)
    return taken[min(len(taken) - 1, int(len(taken) * share))]


if __name__ == "__main__":
    sys.exit(main())
