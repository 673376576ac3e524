"""`python -m benchmarks.pit`: training sets from Parquet to Parquet, this project against its peers.

One spine is enriched from one or several logs. Every contender reads the same files, runs in a process of its own with
two threads, and writes Parquet; results are compared row by row before times count. Sessions and workers are warm: the
same work on a little data precedes, uncounted. All else counts. Data is made once and kept under .state/bench.

The last line is one JSON object: "seconds" (medians) with "spread" [least, most], "speedup" (its time / ours),
"peak_memory_gb" (the whole tree of processes), "differs" (of Feast, whose rows may), "skipped" (who cannot run).
"""

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks.pit.contend import CONTENDERS
from benchmarks.pit.matrix import run_matrix
from benchmarks.pit.shape import Shape, shape_flags
from benchmarks.pit.trial import run_trial
from benchmarks.racing import ContenderFailedError, say


def main(argv: Sequence[str] | None = None) -> int:
    """Race, and print the figures; 1 where a contender failed or gave other rows, 2 on wrong usage."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks.pit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shape_flags()],
    )
    flags.add_argument("--repeats", type=int, default=3, help="of each, in alternating order (default %(default)s)")
    flags.add_argument(
        "--contenders",
        nargs="+",
        choices=list(CONTENDERS),
        default=list(CONTENDERS),
        metavar="NAME",
        help=f"which of {', '.join(CONTENDERS)} (default: all that can run); Feast runs once",
    )
    flags.add_argument("--matrix", action="store_true", help="ours alone, over kinds and sizes of data: ratios")
    flags.add_argument("--fresh", action="store_true", help="make the data again, after a change of the log's layout")
    given = flags.parse_args(argv)
    try:
        shape = Shape.of(given)
    except ValueError as exc:
        flags.error(str(exc))
    if given.repeats < 1:
        flags.error("--repeats must be at least 1")
    try:
        if given.matrix:
            figures = run_matrix(shape, repeats=given.repeats, fresh=given.fresh)
        else:
            figures = run_trial(shape, given.contenders, repeats=given.repeats, fresh=given.fresh)
    except ContenderFailedError as exc:
        say(f"error: {exc}")
        return 1
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
