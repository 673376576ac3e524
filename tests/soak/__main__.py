"""`make soak`, or `python -m tests.soak --days N`: progress, and as its last line one JSON object."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from features.embedded.cassandra import CassandraNode
from features.orchestration.local_airflow import LocalAirflow
from tests.soak.project import CHECKOUT
from tests.soak.run import VIEWS, Report, soak

_SHOWN = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 no hole and no difference, 1 some, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=31, help="daily intervals, two or more (default: %(default)s)")
    parser.add_argument("--views", nargs="+", default=list(VIEWS), metavar="VIEW",
                        help="one of them reads flights (default: %(default)s)")  # fmt: skip
    parser.add_argument("--parallel", type=int, default=2, help="spark-submits at once (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path(".state/soak"), help="emptied first (default: %(default)s)")
    args = parser.parse_args(argv)
    folder = args.folder.absolute()
    # What an earlier soak left running, that was killed itself.
    LocalAirflow(home=folder / "soaked/.state/airflow", dags=CHECKOUT / "dags").stop()
    node = CassandraNode(state_dir=folder / "cassandra", port=0)
    node.stop()
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()

    def tell(line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:7.0f} s  {line}\n")
        sys.stdout.flush()

    try:
        port = node.start().port
        report = soak(folder, port=port, days=args.days, views=args.views, parallelism=args.parallel, tell=tell)
    finally:
        node.stop()
    return _answer(report)


def _answer(report: Report) -> int:
    wrong = {name: getattr(report, name) for name in ("holes", "differences", "untold_versions")}
    for name, found in wrong.items():
        for line in found[:_SHOWN]:
            sys.stdout.write(f"{name}: {line}\n")
    counted = {name: len(found) for name, found in wrong.items()}
    sys.stdout.write(json.dumps(asdict(report) | counted) + "\n")
    return 0 if report.is_sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
