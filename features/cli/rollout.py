"""`features promote`, `rollback`, `shadow`, `rollout` and `drop`: which version of a view answers online."""

import re
from argparse import ArgumentTypeError, Namespace, _SubParsersAction
from datetime import timedelta
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, open_store
from features.cli.rendering import to_plain
from features.cli.rollout_status import inspect_rollout, tell_rollout, tell_rollouts
from features.cli.running import Answer
from features.core.rollout import ViewRollout, format_share
from features.errors import UsageError

if TYPE_CHECKING:
    from features.registry import Switch

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds promote, rollback, shadow, rollout and drop."""
    about = (
        "Make a version of a view answer online, for all keys or for a share of them; servers follow within seconds."
    )
    parser = add_verb(verbs, "promote", promote, about=about, example="features promote weather@2 --canary 5%")
    parser.add_argument("view", metavar="VIEW@N", help="the version")
    parser.add_argument("--canary", metavar="P%", help="answer for that share of the keys (default: all, for good)")
    parser.add_argument("--force", action="store_true", help="switch although something speaks against it")

    about = "End a view's canary or, without one, go back to the version that was live before."
    parser = add_verb(verbs, "rollback", rollback, about=about, example="features rollback weather")
    parser.add_argument("view", metavar="VIEW", help="the view's name")

    about = "Have servers read a version beside the live one, and count how they differ; the live one answers."
    parser = add_verb(verbs, "shadow", shadow, about=about, example="features shadow weather@2")
    parser.add_argument("view", metavar="VIEW@N", help="the version; with --off the view's name will do")
    parser.add_argument("--off", action="store_true", help="stop")

    about = "Show which versions answer online, which are built and loaded, who reads them, and how a shadow differs."
    parser = add_verb(verbs, "rollout", rollout, about=about, example="features rollout weather")
    parser.add_argument("view", nargs="?", metavar="VIEW", help="a view's name (default: all)")

    about = "Drop the online table of a version that nobody reads. Its offline log stays, so it can be loaded again."
    parser = add_verb(verbs, "drop", drop, about=about, example="features drop weather@1 --unread-for 7d --yes")
    parser.add_argument("view", metavar="VIEW@N", help="the version")
    parser.add_argument("--unread-for", type=parse_duration, default=timedelta(days=7), metavar="TIME",
                        help="refuse if it was read within that time: 7d, 12h, 30min (default: 7d)")  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="drop it; without, only tell whether that is possible")


def promote(args: Namespace) -> Answer:
    """Make a version answer."""
    with open_store(args) as store:
        return _answer(store.promote(args.view, canary=args.canary, force=args.force))


def rollback(args: Namespace) -> Answer:
    """End a canary, or go back."""
    with open_store(args) as store:
        return _answer(store.rollback(args.view))


def shadow(args: Namespace) -> Answer:
    """Switch a shadow on or off."""
    with open_store(args) as store:
        return _answer(store.shadow(args.view, off=args.off))


def rollout(args: Namespace) -> Answer:
    """What answers online, of one view or of all."""
    with open_store(args) as store:
        if args.view is not None:
            found = inspect_rollout(store.registry, args.view, store.online.target)
            return Answer(text=tell_rollout(found), data=to_plain(found))
        state, views = store.registry.serving_state(), store.registry.views()
    pairs = [(state.views[view.name], view.version) for view in views]
    plain = [{"rollout": now, "current": current} for now, current in pairs]
    return Answer(text=tell_rollouts(pairs), data=to_plain({"views": plain}))


def drop(args: Namespace) -> Answer:
    """Drop an online table."""
    with open_store(args) as store:
        view, target = store.check_drop(args.view, unread_for=args.unread_for), store.online.target
        if not args.yes:
            raise UsageError(f"nothing speaks against dropping {view.online_table} from {target}; add --yes to drop it")
        was_there = store.drop(args.view, unread_for=args.unread_for)
    done = "dropped" if was_there else "was not there; what was known of its loads is forgotten"
    return Answer(
        text=f"{view.online_table} in {target}: {done}",
        data={"view": view.reference, "target": target, "table": view.online_table, "dropped": was_there},
    )


def parse_duration(text: str) -> timedelta:
    """A duration of a text such as `7d`. Raises: ArgumentTypeError: it is none."""
    match = re.fullmatch(r"(\d{1,6})(d|h|min)", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no duration; write 7d, 12h or 30min")
    return int(match[1]) * _UNITS[match[2]]


def _answer(switch: "Switch") -> Answer:
    lines = [describe(switch.after) if switch.changed else f"nothing to change: {describe(switch.after)}"]
    if switch.changed:
        lines.append(f"before: {describe(switch.before)}")
    lines += [f"overridden: {objection}" for objection in switch.overridden]
    return Answer(text="\n".join(lines), data={"changed": switch.changed, **to_plain(switch)})


def describe(now: ViewRollout) -> str:
    """What answers, in a line."""
    parts = [f"{now.refer(now.live)} is live"]
    if now.candidate is not None:
        parts.append(f"{now.refer(now.candidate)} in canary for {format_share(now.share)} of the keys")
    if now.shadow is not None:
        parts.append(f"{now.refer(now.shadow)} its shadow")
    return ", ".join(parts)
