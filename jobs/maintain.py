"""Looks after offline logs, of one view or of all: `spark-submit jobs/maintain.py [--view V] --env E`."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from features.cli.jobs import job_parser, run_job
from features.cli.maintain import add_maintenance_options, chosen_parts
from features.cli.options import Parser
from features.store import FeatureStore


def parser() -> Parser:
    """The arguments."""
    about = "Remove what is past retention and not held, compact logs of many files, delete files that nobody needs."
    found = job_parser("maintain", about, view=False)
    found.add_argument("--view", metavar="VIEW", help="a view's name, or name@version (default: all views)")
    add_maintenance_options(found)
    return found


def maintain(store: FeatureStore, args: Namespace) -> Mapping[str, Any]:
    """Maintain the view, or all; what was done to each version, and how many failed."""
    done = store.maintain(args.view, parts=chosen_parts(args), now=args.now, dry_run=args.dry_run)
    return {
        "dry_run": args.dry_run,
        "failed": sum(one.error is not None for one in done),
        "views": [asdict(one) for one in done],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 some version failed, 2 wrong usage."""
    return run_job(parser(), maintain, argv)


if __name__ == "__main__":
    raise SystemExit(main())
