"""Builds intervals of a view into its offline log: `spark-submit jobs/build.py --view V --start T --end T --env E`."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from features.cli.jobs import job_parser, run_job
from features.cli.options import Parser, add_range, add_upstreams, parse_upstreams
from features.store import FeatureStore


def parser() -> Parser:
    """The arguments."""
    found = job_parser("build", "Compute whole intervals of a view into its offline log.")
    add_range(found)
    found.add_argument("--now", metavar="TIME", help="when a rerun counts as started (default: the present)")
    add_upstreams(found)
    return found


def build(store: FeatureStore, args: Namespace) -> Mapping[str, Any]:
    """Build the range; what was appended."""
    versions = parse_upstreams(args.upstream)
    result = store.build(args.view, args.start, args.end, now=args.now, upstream_versions=versions)
    return {"view": args.view, **asdict(result)}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 built, unchanged or empty, 1 refused or failed, 2 wrong usage."""
    return run_job(parser(), build, argv)


if __name__ == "__main__":
    raise SystemExit(main())
