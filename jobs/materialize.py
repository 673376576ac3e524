"""Builds, then loads: `spark-submit jobs/materialize.py --view V --start T --end T --env E`. What a view's DAG runs."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from features.cli.jobs import job_parser, run_job
from features.cli.options import Parser, add_range, add_upstreams, parse_upstreams
from features.core.times import parse_instant
from features.materialization.order import require_past
from features.store import FeatureStore


def parser() -> Parser:
    """The arguments."""
    found = job_parser("materialize", "Build whole intervals of a view, then load them.")
    add_range(found)
    found.add_argument("--reprocess", type=int, default=0, metavar="N", help="also rerun the N intervals before it")
    add_upstreams(found)
    found.add_argument("--in-order", action="store_true",
                       help="refuse a range that reads back into an interval that was refused or failed")  # fmt: skip
    found.add_argument("--no-load", action="store_true", help="leave the online table as it is")
    return found


def materialize(store: FeatureStore, args: Namespace) -> Mapping[str, Any]:
    """Build the range and load it; what was appended and written."""
    if args.in_order:
        require_past(store.registry, store.registry.view(args.view), parse_instant(args.start, name="start"))
    result = store.materialize(
        args.view,
        args.start,
        args.end,
        reprocess=args.reprocess,
        upstream_versions=parse_upstreams(args.upstream),
        load=not args.no_load,
    )
    return {"view": args.view, **asdict(result)}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 built and loaded, 1 refused or failed, 2 wrong usage."""
    return run_job(parser(), materialize, argv)


if __name__ == "__main__":
    raise SystemExit(main())
