"""Loads what is new in a view's offline log into the online store: `spark-submit jobs/load.py --view V --env E`."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from features.cli.jobs import job_parser, run_job
from features.cli.options import Parser, add_load_options
from features.store import FeatureStore


def parser() -> Parser:
    """The arguments."""
    found = job_parser("load", "Bring the online table of a view up to its offline log.")
    add_load_options(found)
    return found


def load(store: FeatureStore, args: Namespace) -> Mapping[str, Any]:
    """Load the view; what was written, or, of a dry run, what would be."""
    if args.dry_run:
        return {"dry_run": True, **asdict(store.plan_load(args.view, full=args.full, path=args.path))}
    return {"view": args.view, **asdict(store.load(args.view, full=args.full, path=args.path))}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 loaded and verified, 1 failed, 2 wrong usage."""
    return run_job(parser(), load, argv)


if __name__ == "__main__":
    raise SystemExit(main())
