"""Vegeta, a load generator that keeps its rate as long as a connection is free. https://github.com/tsenart/vegeta

It is built of Go's module proxy where it is missing; `go` is in Debian's package golang-go, or at https://go.dev/dl.
"""

import base64
import csv
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.places import STATE, out_path, remove

_MODULE, _VERSION = "github.com/tsenart/vegeta/v12", "v12.12.0"
_BUILT = STATE / "bin" / "vegeta"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request as it was seen from outside. at: seconds since the first was sent; status 0: there was no answer."""

    at: float
    status: int
    milliseconds: float


def install() -> str | None:
    """Build it where there is none; why that failed, or None."""
    if shutil.which("vegeta") or _BUILT.exists():
        return None
    go = shutil.which("go")
    if go is None:
        return "vegeta is missing, and so is go to build it: apt-get install golang-go, or https://go.dev/dl"
    folder = (STATE / "vegeta").absolute()
    remove(folder)
    folder.mkdir(parents=True)
    built = str(_BUILT.absolute())
    for words in (("mod", "init", "bench"), ("get", f"{_MODULE}@{_VERSION}"), ("build", "-o", built, _MODULE)):
        done = subprocess.run(
            [go, *words],
            cwd=folder,
            env={**os.environ, "GOFLAGS": "-mod=mod"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            return f"vegeta cannot be built: {done.stderr.strip().splitlines()[-1:]}"
    return None


def write_targets(path: Path, url: str, bodies: Iterable[object]) -> None:
    """A file of requests, which are sent one after another, and again from the first."""
    with path.open("w") as out:
        for body in bodies:
            encoded = base64.b64encode(json.dumps(body).encode()).decode()
            target = {"method": "POST", "url": url, "body": encoded, "header": {"Content-Type": ["application/json"]}}
            out.write(json.dumps(target) + "\n")


def attack(targets: Path, *, seconds: float, rate: float | None, connections: int) -> list[Request]:
    """Send requests for so long, in the order in which they were sent.

    Args:
        rate: requests a second, as long as a connection is free for each; None: as many as the connections can.
        connections: kept open, each for one request at a time.
    """
    program = shutil.which("vegeta") or str(_BUILT)
    answers, table = Path(f"{out_path('vegeta')}.bin"), Path(f"{out_path('vegeta')}.csv")
    answers.parent.mkdir(parents=True, exist_ok=True)
    # Without a bound vegeta opens a connection for each request that waits, thousands where it is itself kept waiting
    # for a core; clients in the field keep theirs.
    bound = ["-rate", "0" if rate is None else f"{round(rate)}/s", "-max-workers", str(connections)]
    command = [
        program, "attack", "-format", "json", "-targets", str(targets), "-duration", f"{seconds}s", *bound,
        "-workers", str(connections), "-max-body", "0", "-timeout", "10s", "-output", str(answers),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    subprocess.run([program, "encode", "-to", "csv", "-output", str(table), str(answers)], check=True)
    try:
        with table.open(newline="") as rows:
            return read_answers(csv.reader(rows))
    finally:
        remove(answers)
        remove(table)


def read_answers(rows: Iterable[Sequence[str]]) -> list[Request]:
    """Requests in the order in which they were sent, of rows of nanoseconds since 1970, status and nanoseconds."""
    found = sorted((int(row[0]), int(row[1]), int(row[2])) for row in rows)
    first = found[0][0]
    return [
        Request(at=(sent - first) / 1e9, status=status, milliseconds=latency / 1e6) for sent, status, latency in found
    ]
