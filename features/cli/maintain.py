"""`features maintain`: retention, compaction and VACUUM of offline logs."""

from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Sequence
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, open_store
from features.cli.rendering import table, to_plain
from features.cli.running import Answer
from features.materialization.maintenance.results import PARTS

if TYPE_CHECKING:
    from features.materialization.maintenance.results import Maintained

_KIB = 1024


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds maintain."""
    about = (
        "Look after offline logs: remove what is past retention and not held, compact logs of many files, and delete "
        "the files that no reader can need any more."
    )
    parser = add_verb(verbs, "maintain", maintain, about=about, example="features maintain carrier_delay --dry-run")
    parser.add_argument("view", nargs="?", metavar="VIEW",
                        help="a view's name, all of its versions, or name@version (default: all views)")  # fmt: skip
    add_maintenance_options(parser)


def add_maintenance_options(parser: ArgumentParser) -> None:
    """What is done, of the verb and the job."""
    parser.add_argument("--retain", action="store_true", help="only remove what is past retention; parts may be joined")
    parser.add_argument("--compact", action="store_true", help="only rewrite logs of many files as few")
    parser.add_argument("--vacuum", action="store_true", help="only delete files that no reader can need")
    parser.add_argument("--now", metavar="TIME", help="when retention is judged (default: the present)")
    parser.add_argument("--dry-run", action="store_true", help="change nothing: tell what would be done")


def chosen_parts(args: Namespace) -> tuple[str, ...]:
    """The parts that are asked for; all where none is."""
    return tuple(part for part in PARTS if getattr(args, part)) or PARTS


def maintain(args: Namespace) -> Answer:
    """Maintain one view, or all."""
    with open_store(args) as store:
        done = store.maintain(args.view, parts=chosen_parts(args), now=args.now, dry_run=args.dry_run)
    failed = sum(one.error is not None for one in done)
    data = {"dry_run": args.dry_run, "failed": failed, "views": to_plain(done)}
    return Answer(text=tell_maintained(done, dry_run=args.dry_run), data=data, exit_code=1 if failed else 0)


def tell_maintained(done: "Sequence[Maintained]", *, dry_run: bool = False) -> str:
    """What was done, a version a line, then what is kept by whom, and what failed."""
    if not done:
        return "no view is registered; run `features apply`"
    rows = [[one.view, _retained(one), _compacted(one), _vacuumed(one)] for one in done]
    told = ("rows that would go", "files, before and after", "files to delete")
    headers = ("view", *(told if dry_run else ("rows removed", "files, before and after", "files deleted")))
    return "\n".join([table(headers, rows), *(note for one in done for note in _notes(one))])


def _retained(one: "Maintained") -> object:
    if one.retain is None:
        return None
    return "no retention" if one.retain.cutoff is None else f"{one.retain.rows:,} before {one.retain.cutoff:%Y-%m-%d}"


def _compacted(one: "Maintained") -> object:
    return None if one.compact is None else f"{one.compact.files_before} -> {one.compact.files_after}"


def _vacuumed(one: "Maintained") -> object:
    return None if one.vacuum is None else f"{one.vacuum.files} ({one.vacuum.bytes / _KIB**2:.1f} MiB)"


def _notes(one: "Maintained") -> list[str]:
    notes = []
    if one.retain is not None:
        notes += [f"{one.view}: held {kept.training_set} keeps {kept.rows:,} rows" for kept in one.retain.kept]
    if one.vacuum is not None and one.vacuum.spared_for is not None:
        notes.append(f"{one.view}: files of the last {one.vacuum.hours} h stay for the {one.vacuum.spared_for}")
    return notes if one.error is None else [*notes, f"{one.view}: FAILED: {one.error}"]
