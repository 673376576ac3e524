"""What a process pays before it does anything: `python -m benchmarks.cold_start`.

Contenders are imported in fresh processes, in turn, and compared with `import features`: what a serving app or a DAG
file pays for the vocabulary, against what it would pay for the vendors behind it.
"""

import json
import statistics
import subprocess
import sys
import time

REPEATS = 5
CONTENDERS = {
    "ours": "import features",
    "registry": "import features.registry",
    "pyspark": "import pyspark.sql",
    "airflow": "import airflow.sdk",
    "great_expectations": "from features.quality.gx import load_great_expectations as load; load()",
}


def seconds_of(statement: str) -> float:
    """How long the statement takes in a process of its own, beyond the start of the interpreter."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Alternate the contenders, take medians, and print them."""
    started = time.perf_counter()
    taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(REPEATS):
        for name, statement in CONTENDERS.items():
            taken[name].append(seconds_of(statement))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    for name, values in taken.items():
        print(f"{name}: {medians[name]:.3f} s ({min(values):.3f} to {max(values):.3f})", file=sys.stderr)
    print(f"{time.perf_counter() - started:.0f} s in all", file=sys.stderr)
    figures = {
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "spread": {name: [round(min(values), 4), round(max(values), 4)] for name, values in taken.items()},
        "speedup": {name: round(value / medians["ours"], 2) for name, value in medians.items() if name != "ours"},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
