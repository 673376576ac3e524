"""`features plan` and `features apply`: what the code defines, against what the registry holds."""

from argparse import Namespace, _SubParsersAction

from features.cli.options import Parser, add_verb, open_store
from features.cli.running import Answer


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds plan and apply."""
    add_verb(verbs, "plan", plan, about="Show what apply would change, and why.", example="features plan --env prod")
    add_verb(verbs, "apply", apply, about="Register what the views package defines.", example="features apply")


def plan(args: Namespace) -> Answer:
    """What apply would change."""
    with open_store(args) as store:
        found = store.plan()
    return Answer(text=str(found), data=found.to_dict())


def apply(args: Namespace) -> Answer:
    """Register definitions; what was changed."""
    with open_store(args) as store:
        done = store.apply()
    return Answer(text=str(done), data=done.to_dict())
