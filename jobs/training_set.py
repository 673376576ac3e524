"""Extracts a training set: `spark-submit jobs/training_set.py --features R --spine PATH --name N --env E`."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from features.cli.jobs import job_parser, run_job
from features.cli.options import Parser
from features.cli.training import extract
from features.cli.training_options import add_extraction
from features.store import FeatureStore


def parser() -> Parser:
    """The arguments."""
    found = job_parser("training_set", "Save feature values as of each row of a spine, with a manifest.", view=False)
    add_extraction(found)
    return found


def training_set(store: FeatureStore, args: Namespace) -> Mapping[str, Any]:
    """Extract and save the set; its manifest. With --dry-run or --leakage-report what these tell."""
    told, _ = extract(store, args)
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 saved, 1 failed, 2 wrong usage."""
    return run_job(parser(), training_set, argv)


if __name__ == "__main__":
    raise SystemExit(main())
