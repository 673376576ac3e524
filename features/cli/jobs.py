"""What the spark-submit jobs share: their common arguments, and how they end.

A job's result is logged as one line on stderr, and printed as JSON on the last line of stdout. How it ended, well or
not, is also written to the file that $FEATURES_JOB_END_FILE names.
"""

import logging
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from features.cli.options import Parser, add_common, open_store
from features.cli.rendering import to_plain
from features.cli.running import Answer, run
from features.core.job_end import END_FILE, write_end

if TYPE_CHECKING:
    from features.store import FeatureStore


def job_parser(name: str, about: str, *, view: bool = True) -> Parser:
    """A parser with the options of every job; `view`: with --view, of those that work on one."""
    parser = Parser(prog=f"jobs/{name}.py", description=about)
    add_common(parser, json_option=False)
    if view:
        parser.add_argument("--view", required=True, metavar="VIEW", help="a view's name, or name@version")
    return parser


def run_job(
    parser: Parser, work: "Callable[[FeatureStore, Namespace], Mapping[str, Any]]", argv: Sequence[str] | None
) -> int:
    """Run a job; its exit code: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.

    Args:
        parser: of `job_parser`, with the job's own arguments.
        work: what the job does with an open store; its figures. `failed` among them, and not 0: exit code 1.
        argv: the arguments; None: of this process.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    name = parser.prog.removeprefix("jobs/").removesuffix(".py")
    began = time.monotonic()

    def answer() -> Answer:
        args = parser.parse_args(words)
        # What an author's code prints is no result.
        with open_store(args) as store, redirect_stdout(sys.stderr):
            figures = to_plain(work(store, args))
        told = {key: value for key, value in figures.items() if not isinstance(value, list | dict)}
        told |= {
            f"{k}_{key}": v for k, nested in figures.items() if isinstance(nested, dict) for key, v in nested.items()
        }
        told["seconds"] = round(time.monotonic() - began, 1)
        shown = " ".join(f"{key}={value}" for key, value in told.items() if value is not None)
        logging.getLogger(f"jobs.{name}").info("done: %s", shown)
        # A job that has done a part of its work tells of both.
        return Answer(
            text="", data={"job": name, **figures}, exit_code=1 if "error" in figures or figures.get("failed") else 0
        )

    return run(answer, as_json=True, debug="--debug" in words, record=_record)


def _record(end: Mapping[str, Any]) -> None:
    path = os.environ.get(END_FILE)
    if not path:
        return
    try:
        write_end(path, end)
    except OSError as exc:
        # Whoever waits for it takes the job for one that was killed, and runs it again: no harm, unlike failing here.
        logging.getLogger("jobs").warning("the end of the job cannot be written to %s: %s", path, exc)
