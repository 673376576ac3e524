"""`features erase`: an entity's rows leave everything that an environment holds."""

from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from features.cli.options import Parser, add_verb, open_store, split_pairs
from features.cli.rendering import fields, table, to_plain
from features.cli.running import Answer
from features.core.times import format_instant
from features.errors import UsageError

if TYPE_CHECKING:
    from features.erasure.results import ErasureResult
    from features.registry import Erasure
    from features.store import FeatureStore

_MORE = """\
  features erase --keys-file keys.csv --entity carrier --yes    many keys at once: one rewrite for all
  features erase --list                                         what was erased, and what has not ended
  features erase --resume 3f0c9a7be812 --yes                    go on with one that was killed"""


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds erase."""
    about = (
        "Remove all rows of an entity: logs, quarantine, online tables, saved training sets. It cannot be undone, and "
        "holds do not keep them."
    )
    parser = add_verb(verbs, "erase", erase, about=about, example="features erase --key carrier=UA --dry-run")
    parser.epilog = f"{parser.epilog}\n{_MORE}"
    add_erasure_options(parser)
    parser.add_argument("--list", action="store_true", help="tell all erasures; nothing is erased")


def add_erasure_options(parser: ArgumentParser) -> None:
    """What is erased, and how."""
    parser.add_argument("--key", action="append", default=[], metavar="NAME=VALUE[,...]",
                        help="all join keys of an entity; repeat it for several")  # fmt: skip
    parser.add_argument("--keys-file", metavar="PATH", help="CSV with a header, or Parquet: a column for each join key")
    parser.add_argument("--entity", metavar="NAME", help="where several entities have these join keys")
    parser.add_argument("--resume", metavar="ID", help="go on with an erasure that did not end")
    parser.add_argument("--vacuum", choices=("now", "later"), default="later",
                        help="now: delete replaced files of the logs at once, also from under running readers of older "
                        "versions (default: later, by a vacuum)")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="change nothing: tell what would be removed")
    parser.add_argument("--yes", action="store_true", help="erase")


def erase(args: Namespace) -> Answer:
    """Erase, tell what would be, or tell what was."""
    with open_store(args) as store:
        if args.list:
            return tell_erasures(store.erasures())
        result = carry_out(store, args)
    return Answer(text=tell_result(result), data=to_plain(result))


def carry_out(store: "FeatureStore", args: Namespace) -> "ErasureResult":
    """Do what the options of `add_erasure_options` describe. Raises: UsageError, and as `FeatureStore.erase`."""
    if sum((bool(args.key), args.keys_file is not None, args.resume is not None)) != 1:
        raise UsageError("give one of --key, --keys-file and --resume")
    if args.resume is not None and (args.dry_run or args.entity):
        raise UsageError("--resume goes on as it was asked: it takes neither --entity nor --dry-run")
    if not args.dry_run and not args.yes:
        raise UsageError("what is erased cannot be had back; look with --dry-run, then add --yes")
    vacuum = args.vacuum == "now"
    if args.resume is not None:
        return store.resume_erasure(args.resume, vacuum=vacuum)
    keys = args.keys_file or [split_pairs(text, option="--key") for text in args.key]
    if args.dry_run:
        return store.plan_erasure(keys, entity=args.entity)
    return store.erase(keys, entity=args.entity, vacuum=vacuum)


def tell_result(result: "ErasureResult") -> str:
    """What was removed, where, and what is left to do."""
    done = result.erasure_id is not None
    facts: dict[str, Any] = {"erasure": result.erasure_id} if done else {}
    facts |= {"entity": result.entity, "keys": f"{result.keys}" if result.found else f"{result.keys}, found nowhere"}
    if done:
        facts["run texts"] = result.texts
        facts["on disk"] = (
            f"gone with a vacuum of the logs after {format_instant(result.gone_after)}"
            if result.gone_after is not None
            else "gone"
        )
    headers = ("view", "offline", "quarantined", "online")
    tables = [(t.view, t.offline, t.quarantined, t.online) for t in result.tables]
    sets = [(s.training_set, s.rows, "yes" if s.held else "no") for s in result.training_sets]
    parts = [
        fields(facts),
        ("removed:" if done else "would be removed:") + "\n" + table(headers, tables) if tables else "",
        table(("training set", "rows", "held"), sets) if sets else "",
        "left to you:\n" + "\n".join(f"  - {told}" for told in result.remaining) if result.remaining else "",
    ]
    return "\n\n".join(part for part in parts if part)


def tell_erasures(erasures: "tuple[Erasure, ...]") -> Answer:
    """All erasures, without keys."""
    found: list[Mapping[str, Any]] = [
        {
            "erasure": e.erasure_id,
            "entity": e.entity,
            "keys": e.count,
            "by": e.actor,
            "requested": e.requested_at,
            "finished": e.finished_at,
            "progress": e.progress,
        }
        for e in erasures
    ]
    headers = ("erasure", "entity", "keys", "by", "requested", "finished")
    text = table(headers, [[entry[name] for name in headers] for entry in found]) if found else "nothing was erased"
    return Answer(text=text, data=to_plain({"erasures": found}))
