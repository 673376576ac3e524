"""`python -m benchmarks.windows`: (count, sum, mean, min, max) x (1 h, 1 d, 7 d, 30 d) at each event, against peers.

Every contender reads the same Parquet files, runs in a process of its own with two threads, and writes Parquet. Before
times count, results are compared with what windows (t - w, t] must hold: counts exactly, sums and means within 1e-12 of
the sum of magnitudes, minima and maxima by a sample. Ours must be right; where a peer is not is told in "wrong".
Sessions and workers are warm: the same work on a few events precedes, uncounted. All else counts.

Ours also runs on the other skew, for the ratio of one hot key, which holds 5 % of the events, to none.

The last line is one JSON object: "seconds" (medians) with "spread" [least, most], "speedup" (its time / ours),
"ratios", "peak_memory_gb" (the whole tree of processes), "wrong", "skipped" (who cannot run).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.racing import ContenderFailedError, paired_ratio, race, say
from benchmarks.windows.contend import CONTENDERS
from benchmarks.windows.shape import SKEWS, Shape
from benchmarks.windows.trial import Checked, contender, make_data


def main(argv: Sequence[str] | None = None) -> int:
    """Race, and print the figures; 1 where a contender failed or ours is wrong, 2 on wrong usage."""
    default = Shape()
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks.windows", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--events", type=int, default=default.events, help="how many (default %(default)s)")
    flags.add_argument("--skew", choices=SKEWS, default=default.skew, help="over keys (default %(default)s)")
    flags.add_argument("--repeats", type=int, default=3, help="of each, in alternating order (default %(default)s)")
    flags.add_argument(
        "--contenders",
        nargs="+",
        choices=list(CONTENDERS),
        default=list(CONTENDERS),
        metavar="NAME",
        help=f"which of {', '.join(CONTENDERS)} (default: all that can run)",
    )
    given = flags.parse_args(argv)
    if given.repeats < 1:
        flags.error("--repeats must be at least 1")
    try:
        shape = Shape(events=given.events, skew=given.skew)
    except ValueError as exc:
        flags.error(str(exc))
    other = Shape(events=given.events, skew=next(skew for skew in SKEWS if skew != given.skew))
    contenders = [contender(name, shape) for name in given.contenders]
    shapes = dict.fromkeys(given.contenders, shape)
    if "ours" in shapes:
        label = f"ours_{other.skew}"
        contenders.append(contender("ours", other, label=label))
        shapes[label] = other
    try:
        make_data(list(shapes.values()))
        checked = Checked(shapes=shapes)
        result = race(contenders, repeats=given.repeats, check=checked.check)
    except ContenderFailedError as exc:
        say(f"error: {exc}")
        return 1
    figures = {"benchmark": "windows", **asdict(shape), **result.figures()}
    if "ours" in shapes:
        hot, uniform = ("ours", label) if shape.skew == "hot" else (label, "ours")
        figures |= paired_ratio(result, {"hot_key_to_uniform": (hot, uniform, 1)})
    print(json.dumps({**figures, "wrong": checked.wrong}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
