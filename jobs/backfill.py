"""Builds what is missing or stale: `spark-submit jobs/backfill.py --view V --start T --end T --parallel 2 --env E`."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from features.cli.batch import add_backfill_options, run_backfill
from features.cli.jobs import job_parser, run_job
from features.cli.options import Parser
from features.store import FeatureStore


def parser() -> Parser:
    """The arguments."""
    found = job_parser("backfill", "Build the intervals of a range that are missing or stale, then load.")
    add_backfill_options(found)
    return found


def backfill(store: FeatureStore, args: Namespace) -> Mapping[str, Any]:
    """Build the holes of the range; what was built, and what remains."""
    return run_backfill(store, args)[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 nothing remains, 1 refused or failed, 2 wrong usage."""
    return run_job(parser(), backfill, argv)


if __name__ == "__main__":
    raise SystemExit(main())
