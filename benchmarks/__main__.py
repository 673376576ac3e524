"""`python -m benchmarks`: every benchmark, one after another, at its full size; a JSON object of each as its last line.

Data is made on the way and kept under .state/bench, about 30 GB of it. `python -m benchmarks.NAME --help` says what one
measures and how to make it smaller. What fails does not keep the others from running; the exit code is 1 then.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.racing import module_command, say

COMMANDS = (
    ("benchmarks.cold_start",),
    ("benchmarks.dags",),
    ("benchmarks.incremental",),
    ("benchmarks.layout",),
    ("benchmarks.windows",),
    ("benchmarks.pit",),
    ("benchmarks.pit", "--matrix"),
    ("benchmarks.load",),
    ("benchmarks.load", "--types", "mixed"),
    ("benchmarks.http",),
    ("benchmarks.gate",),
    ("benchmarks.overhead",),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run them all; 1 if any failed."""
    argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(argv)
    failed = []
    for command in COMMANDS:
        name = " ".join(command)
        say(f"== {name}")
        if subprocess.run(module_command(*command), check=False).returncode != 0:
            failed.append(name)
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
