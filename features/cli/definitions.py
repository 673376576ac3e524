"""`features plan` and `features apply`: what the code defines, against what the registry holds."""

from argparse import Namespace, _SubParsersAction

from features.cli.options import Parser, add_verb, open_store
from features.cli.running import Answer
from features.errors import UsageError


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds plan and apply."""
    about = "Show what apply would change, and why: what in place, what as a new version, and what follows from it."
    parser = add_verb(verbs, "plan", plan, about=about, example="features plan --against prod --markdown")
    parser.add_argument("--against", metavar="ENV", help="compare with that environment's registry, which is only read")
    parser.add_argument("--markdown", action="store_true", help="as Markdown, for a pull request")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 where there are changes, for CI")
    add_verb(verbs, "apply", apply, about="Register what the views package defines.", example="features apply")


def plan(args: Namespace) -> Answer:
    """What apply would change."""
    from features.config import load_settings

    if args.against == "":
        raise UsageError("--against names no environment; is a variable that should hold it empty?")
    with open_store(args) as store:
        against = None if args.against is None else load_settings(args.conf, env=args.against)
        found = store.plan(against)
    text = found.to_markdown(against=args.against).rstrip() if args.markdown else str(found)
    data = found.to_dict() | ({} if args.against is None else {"against": args.against})
    return Answer(text=text, data=data, exit_code=1 if args.exit_code and not found.is_empty else 0)


def apply(args: Namespace) -> Answer:
    """Register definitions; what was changed."""
    with open_store(args) as store:
        done = store.apply()
    return Answer(text=str(done), data=done.to_dict())
