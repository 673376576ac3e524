"""Erases an entity everywhere: `spark-submit jobs/erase.py --keys-file KEYS.csv --entity E --yes --env ENV`."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from features.cli.erase import add_erasure_options, carry_out
from features.cli.jobs import job_parser, run_job
from features.cli.options import Parser
from features.store import FeatureStore


def parser() -> Parser:
    """The arguments."""
    found = job_parser("erase", "Remove all rows of an entity, for good.", view=False)
    add_erasure_options(found)
    return found


def erase(store: FeatureStore, args: Namespace) -> Mapping[str, Any]:
    """Erase; what was removed, or, of a dry run, what would be."""
    return {**asdict(carry_out(store, args)), "dry_run": args.dry_run}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 erased, 1 failed, 2 wrong usage."""
    return run_job(parser(), erase, argv)


if __name__ == "__main__":
    raise SystemExit(main())
