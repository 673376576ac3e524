"""`python -m benchmarks.gate`: the whole gate over 1,000,000 x 50, 60 expectations, and three checks that look back.

`aggregation` is the same checks as a hand-written Spark aggregation, with a query for each column that is unique. Both
work in one process, in turn, on the same cached rows, once with rows that pass, once with rows that break a rule of
each severity ("failing"), where ours also finds a few failing keys. One uncounted turn of each precedes. What both
count is compared before times count, and nothing may stay cached.

The last line is one JSON object: "seconds" (medians) and "spread" [least, most] by contender, "ratios" (ours to
aggregation, of one turn: the median) with "ratios_spread", and under "failing" the same of failing rows. A limit of 1.5
is missed only when the whole spread is beyond it.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.gate.aggregation import aggregate
from benchmarks.gate.data import earlier, make_rows, make_view
from benchmarks.racing import say
from benchmarks.spark import our_settings
from features.engine.session import open_session, persisted
from features.quality import GateRefusedError, RuleResult, judge

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_CORES = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Race, and print the figures; 1 where the two disagree, or something stays cached."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks.gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--rows", type=int, default=1_000_000, help="how many (default %(default)s)")
    flags.add_argument("--repeats", type=int, default=5, help="of each, in turn (default %(default)s)")
    given = flags.parse_args(argv)
    if given.repeats < 1 or given.rows < 1:
        flags.error("--rows and --repeats must be at least 1")
    logging.getLogger("features.quality").setLevel(logging.ERROR)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    spark = open_session(our_settings(), app="gate")
    try:
        figures = {
            name: _race(spark, given.rows, given.repeats, wrong=wrong)
            for name, wrong in (("passing", False), ("failing", True))
        }
        cached = spark.sparkContext._jsc.getPersistentRDDs().size()  # type: ignore[attr-defined]
    except ValueError as exc:
        say(f"error: {exc}")
        return 1
    finally:
        spark.stop()
    if cached:
        say(f"error: {cached} frames stay cached")
        return 1
    told = {"benchmark": "gate", "rows": given.rows, "repeats": given.repeats}
    print(json.dumps({**told, **figures["passing"], "failing": figures["failing"]}))
    return 0


def _race(spark: "SparkSession", rows: int, repeats: int, *, wrong: bool) -> dict[str, Any]:
    view, span = make_view(), earlier(rows)
    times: dict[str, list[float]] = {"ours": [], "aggregation": []}
    with persisted(make_rows(spark, rows, wrong=wrong)) as frame:
        frame.count()
        for repeat in range(repeats + 1):
            contenders: dict[str, Callable[[], Any]] = {
                "ours": lambda: _judge(frame, view, span),
                "aggregation": lambda: aggregate(frame),
            }
            order = list(contenders) if repeat % 2 == 0 else list(reversed(contenders))
            taken, said = {}, {}
            for name in order:
                begun = time.perf_counter()
                said[name] = contenders[name]()
                taken[name] = time.perf_counter() - begun
            _compare(said["ours"], said["aggregation"], rows=rows)
            if repeat:
                say(f"{'failing' if wrong else 'passing'}: " + ", ".join(f"{n} {t:.2f} s" for n, t in taken.items()))
                for name, seconds in taken.items():
                    times[name].append(seconds)
    ratios = [mine / other for mine, other in zip(times["ours"], times["aggregation"], strict=True)]
    return {
        "seconds": {name: round(statistics.median(each), 3) for name, each in times.items()},
        "spread": {name: [round(min(each), 3), round(max(each), 3)] for name, each in times.items()},
        "ratios": {"ours_to_aggregation": round(statistics.median(ratios), 3)},
        "ratios_spread": {"ours_to_aggregation": [round(min(ratios), 3), round(max(ratios), 3)]},
        "speedup": {
            "aggregation": round(statistics.median(times["aggregation"]) / statistics.median(times["ours"]), 3)
        },
    }


def _judge(frame: "DataFrame", view: Any, span: Any) -> Sequence[RuleResult]:
    try:
        return judge(frame, view, span).results
    except GateRefusedError as exc:
        return exc.results


def _compare(ours: Sequence[RuleResult], counted: dict[str, float], *, rows: int) -> None:
    """Raises: ValueError: they differ in what fails, or how often."""
    mine = {f"{r.column}: {r.rule}": r.failing for r in ours if not r.detail}
    other = {name: count for name, count in counted.items() if ": " in name}
    if mine != other:
        wrong = {name: (mine.get(name), other.get(name)) for name in mine.keys() | other.keys()}
        raise ValueError(f"ours and aggregation differ: { {n: v for n, v in wrong.items() if v[0] != v[1]} }")
    if len(mine) != 60 or counted["rows"] != rows:
        raise ValueError(f"{len(mine)} expectations and {counted['rows']} rows were judged, not 60 and {rows}")


if __name__ == "__main__":
    sys.exit(main())
