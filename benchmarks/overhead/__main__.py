"""`python -m benchmarks.overhead`: what a scheduled run of a tiny interval costs beyond Spark and Delta themselves.

`materialize` builds a day of five rows and loads it into a Cassandra, with the registry, the gate and the checks of the
load; `rerun` does the same day once more, where nothing has changed. Both are the spark-submit that a DAG runs.
`append` is a spark-submit with the same session that appends one row to a Delta table and reads it back. Whole
processes are timed, in alternating order. Before that the view is materialized once, uncounted: tables exist.

The last line is one JSON object: "seconds" (medians) with "spread" [least, most], and "beyond_append": by how many
seconds each took longer than the append of its round, the median and the spread.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.overhead.project import VIEW, interval, make_project
from benchmarks.places import STATE, remove
from benchmarks.racing import say
from features.embedded.cassandra import CassandraNode

_ROOT = Path(__file__).parents[2]
_FOLDER = STATE.absolute() / "overhead"
_HEAP_MB = 512


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print the figures; 1 where a job failed or did something else than it should."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--repeats", type=int, default=5, help="of each, in alternating order (default %(default)s)")
    given = flags.parse_args(argv)
    remove(_FOLDER)
    node = CassandraNode(state_dir=_FOLDER / "cassandra", port=0, heap_mb=_HEAP_MB)
    node.start()
    try:
        make_project(_FOLDER / "project", days=given.repeats + 1, port=node.status().port)
        rounds = _race(_FOLDER / "project", given.repeats)
    except RuntimeError as exc:
        say(f"error: {exc}")
        return 1
    finally:
        node.stop()
    print(json.dumps(_figures(rounds)))
    return 0


def _race(project: Path, repeats: int) -> list[dict[str, float]]:
    _run(project, str(Path(sys.executable).with_name("features")), "apply")
    _materialize(project, 0, expected="built")
    _append(project)
    rounds = []
    for repeat in range(1, repeats + 1):
        taken: dict[str, float] = {}
        turns = ("append", "materialize", "rerun") if repeat % 2 else ("materialize", "rerun", "append")
        for turn in turns:
            begun = time.perf_counter()
            if turn == "append":
                _append(project)
            else:
                _materialize(project, repeat, expected="built" if turn == "materialize" else "unchanged")
            taken[turn] = time.perf_counter() - begun
        say(" ".join(f"{name} {seconds:.2f} s" for name, seconds in taken.items()))
        rounds.append(taken)
    return rounds


def _append(project: Path) -> None:
    _run(project, _spark_submit(), str(_ROOT / "benchmarks/overhead/append.py"), str(project / "appended"))


def _materialize(project: Path, day: int, *, expected: str) -> None:
    start, end = interval(day)
    job = str(_ROOT / "jobs/materialize.py")
    out = _run(project, _spark_submit(), job, "--view", VIEW, "--start", start, "--end", end, "--env", "local")
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    rows = 5 if expected == "built" else 0
    if (result["build"]["status"], result["build"]["rows"], result["load"]["rows"]) != (expected, rows, rows):
        raise RuntimeError(f"materialize of day {day} gave {result}, not {expected} with {rows} rows")


def _spark_submit() -> str:
    found = shutil.which("spark-submit", path=str(Path(sys.executable).parent))
    if found is None:
        raise RuntimeError("no spark-submit beside this Python; run `make setup`")
    return found


def _run(project: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(project), str(_ROOT)))}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _figures(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    taken = {name: [each[name] for each in rounds] for name in rounds[0]}
    beyond = {name: [each[name] - each["append"] for each in rounds] for name in taken if name != "append"}
    return {
        "benchmark": "overhead",
        "seconds": {name: round(statistics.median(values), 2) for name, values in taken.items()},
        "spread": {name: [round(min(values), 2), round(max(values), 2)] for name, values in taken.items()},
        "repeats": len(rounds),
        "beyond_append": {
            name: {"seconds": round(statistics.median(values), 2), "spread": _spread(values)}
            for name, values in beyond.items()
        },
    }


def _spread(values: Sequence[float]) -> list[float]:
    return [round(min(values), 2), round(max(values), 2)]


if __name__ == "__main__":
    sys.exit(main())
