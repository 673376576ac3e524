"""The command `features`: each verb parses its arguments, calls one function of the library, and answers.

Importing this package is cheap: a verb's machinery is imported when the verb runs.
"""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from features.cli.parser import build_parser
from features.cli.running import Answer, run

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.

    Args:
        argv: the words after `features`; None: of this process.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    return run(lambda: _answer(words), as_json="--json" in words, debug="--debug" in words)


def _answer(words: Sequence[str]) -> Answer:
    args = build_parser().parse_args(words)
    # What an author's code prints is no result.
    with redirect_stdout(sys.stderr):
        answer: Answer = args.command(args)
    return answer
