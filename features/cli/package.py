"""`features package`: the wheel, and the environment that travels with spark-submit."""

import logging
import shlex
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from features.cli.options import Parser, add_verb
from features.cli.running import Answer

logger = logging.getLogger(__name__)

_MIB = 2**20


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds package."""
    about = "Build the wheel, and an archive of it and its locked dependencies that spark-submit brings to executors."
    verb = add_verb(verbs, "package", package, about=about, example="features package --output dist")
    verb.add_argument("--output", type=Path, default=Path("dist"), help="folder of the files (default: %(default)s)")
    verb.add_argument("--project", type=Path, default=Path(), metavar="FOLDER",
                      help="with setup.cfg (default: the working folder)")  # fmt: skip
    verb.add_argument("--python", type=Path, metavar="PATH",
                      help="of the executors, as this one's minor version (default: at this path)")  # fmt: skip


def package(args: Namespace) -> Answer:
    """Build both; where they are, and the options that bring them along."""
    from features.embedded.packing import pack

    made = pack(args.project, args.output, interpreter=args.python, progress=logger.info)
    options = shlex.join(made.options)
    lines = [f"{path}  {path.stat().st_size / _MIB:.1f} MiB" for path in (made.wheel, made.archive)]
    lines.append(f"spark-submit {options} ...")
    return Answer(
        text="\n".join(lines),
        data={"wheel": str(made.wheel), "archive": str(made.archive), "options": list(made.options)},
    )
