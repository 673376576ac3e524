"""`python -m benchmarks.layout`: what the layout of a log costs the join, a daily append and one interval's rerun.

The same 30 days are kept in several layouts: row groups of 4,096 rows, of 16,384 (what builds write), one to a
file (what Spark writes by default), and eight files to each commit. Upon each, a spine is joined, the next day is
built, and a day is built again of which one row in a thousand has changed; each in a warm process of its own, in
alternating order. Before times count, the rows that a join gave, and those that a build appended, are compared with
those of the first layout, in any order, to the bit.

The last line is one JSON object: "seconds" (medians) by work and layout, with "spread" [least, most], and "ratios" of
each to the layout of builds, run by run, with their spread.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

from benchmarks.layout.changes import copy
from benchmarks.layout.checking import check_alike, read_result
from benchmarks.layout.contend import WORKS
from benchmarks.layout.shape import LAYOUTS, MOST_REPEATS, Shape
from benchmarks.places import out_path, remove
from benchmarks.racing import Contender, ContenderFailedError, Run, module_command, paired_ratio, race, say

_OURS = "16384"


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print the figures; 1 where a run failed or gave other rows, 2 on wrong usage."""
    default = Shape()
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks.layout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--days", type=int, default=default.days, help="of history (default %(default)s)")
    flags.add_argument("--rows", type=int, default=default.rows, help="of each day (default %(default)s)")
    flags.add_argument("--repeats", type=int, default=3, help="of each, in alternating order (default %(default)s)")
    flags.add_argument("--fresh", action="store_true", help="make the data again, after a change of builds")
    given = flags.parse_args(argv)
    try:
        shape = Shape(days=given.days, rows=given.rows)
        if not 1 <= given.repeats <= MOST_REPEATS:
            raise ValueError(f"--repeats must be 1 to {MOST_REPEATS}")
    except ValueError as exc:
        flags.error(str(exc))
    small = Shape(days=MOST_REPEATS + 1, rows=2_000)
    if given.fresh:
        remove(shape.folder)
        remove(small.folder)
    try:
        _make(small, [_OURS])
        _make(shape, list(LAYOUTS))
        contenders = [_contender(work, layout, shape, small) for work in WORKS for layout in LAYOUTS]
        result = race(contenders, repeats=given.repeats, check=lambda runs: _check(runs, shape))
    except ContenderFailedError as exc:
        say(f"error: {exc}")
        return 1
    compared = {f"{work}_{layout}": (f"{work}_{layout}", f"{work}_{_OURS}", 1) for work in WORKS for layout in LAYOUTS}
    ratios = paired_ratio(result, {name: of for name, of in compared.items() if of[0] != of[1]})
    print(json.dumps({"benchmark": "layout", "days": shape.days, "rows": shape.rows, **result.figures(), **ratios}))
    return 0


def _make(shape: Shape, layouts: Sequence[str]) -> None:
    flags = ("--days", str(shape.days), "--rows", str(shape.rows), "--layouts", *layouts)
    subprocess.run(module_command("benchmarks.layout.history", *flags), check=True, stdout=sys.stderr)


def _contender(work: str, layout: str, shape: Shape, small: Shape) -> Contender:
    history, label = shape.history(layout), f"{work}_{layout}"
    store = history if work == "join" else copy(history, work)
    arguments = (work, store, small.history(_OURS), out_path(label))
    return Contender(name=label, command=module_command("benchmarks.layout.contend", *arguments))


def _check(runs: Mapping[str, Run], shape: Shape) -> None:
    """All layouts of a work must give the same rows. Raises: ContenderFailedError: they do not."""
    for work in WORKS:
        chosen = {f"{work}_{layout}": layout for layout in LAYOUTS if f"{work}_{layout}" in runs}
        check_alike(
            (name, read_result(work, shape.history(layout), out_path(name), runs[name].notes))
            for name, layout in chosen.items()
        )
    for name in runs:
        remove(out_path(name))


if __name__ == "__main__":
    sys.exit(main())
