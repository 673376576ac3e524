"""Lands the demo's data: `python jobs/land_flights.py --root .state/landing --start 2013-03-05 --end 2013-03-13`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from features.demo.landing import DEFAULT_ROOT, land_flights
from features.errors import FeatureStoreError

logger = logging.getLogger("jobs.land_flights")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments: a folder, and UTC days [start, end)."""
    parser = argparse.ArgumentParser(prog="land_flights", description="Land the flights of 2013 as Parquet by UTC day.")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="folder to write (default: %(default)s)")
    parser.add_argument("--start", type=date.fromisoformat, metavar="YYYY-MM-DD", help="first UTC day (default: all)")
    parser.add_argument("--end", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the day after the last")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 landed, 1 failed, 2 wrong usage."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        landed = land_flights(args.root, args.start, args.end, progress=logger.info)
    except FeatureStoreError as exc:
        logger.error("error: %s", exc)
        return exc.exit_code
    logger.info("%s flights, %s weather rows, %s planes", landed.flights, landed.weather, landed.planes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
