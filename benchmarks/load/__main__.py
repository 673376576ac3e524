"""`python -m benchmarks.load`: 1,000,000 rows x 50 columns from a Delta table into Cassandra, against peers.

Ours is a whole load: the winners of the log, writing, verification, the checkpoint. `sstable` and `cql` are its paths,
`changed` is a second load after 1 % of the keys changed, `touched` one after a single key did: start-up alone. The
floor is Spark reading the rows and handing them over as Arrow, the connector is spark-cassandra-connector 3.5.1, Feast
its Cassandra online store with 20,000 rows, scaled to as many by row. Each run is a process of its own on two cores,
beside a Cassandra that is not bound to them; a small load precedes, uncounted. Rows are counted and compared
afterwards.

The last line is one JSON object: "seconds" (medians) with "spread" [least, most], "speedup" (a contender's time over
that of the SSTable path), "speedup_cql" (over the CQL path), "changed_share" (of a full load, start-up aside),
"peak_memory_gb" (a driver, its JVM, workers and writers), "rows_per_second".
"""

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks.load.contend import CONTENDERS
from benchmarks.load.shape import TYPES, Shape
from benchmarks.load.trial import run_trial
from benchmarks.racing import ContenderFailedError, say


def main(argv: Sequence[str] | None = None) -> int:
    """Race, and print the figures; 1 where a contender failed or stored other rows, 2 on wrong usage."""
    default = Shape()
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--rows", type=int, default=default.rows)
    flags.add_argument("--features", type=int, default=default.features)
    flags.add_argument("--types", choices=TYPES, default=default.types, help="of the features (default %(default)s)")
    flags.add_argument("--repeats", type=int, default=5, help="of each, in alternating order (default %(default)s)")
    flags.add_argument(
        "--contenders",
        nargs="+",
        choices=list(CONTENDERS),
        default=list(CONTENDERS),
        metavar="NAME",
        help=f"which of {', '.join(CONTENDERS)} (default: all that can run); Feast runs once",
    )
    flags.add_argument("--fresh", action="store_true", help="make the data again")
    given = flags.parse_args(argv)
    try:
        shape = Shape(rows=given.rows, features=given.features, types=given.types)
    except ValueError as exc:
        flags.error(str(exc))
    try:
        figures = run_trial(shape, given.contenders, repeats=given.repeats, fresh=given.fresh)
    except ContenderFailedError as exc:
        say(f"error: {exc}")
        return 1
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
