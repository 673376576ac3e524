"""`features backup` and `features restore`: registry, logs and saved sets as one."""

from argparse import Namespace, _SubParsersAction
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, open_store
from features.cli.rendering import to_plain
from features.cli.running import Answer

if TYPE_CHECKING:
    from features.materialization.backup_folder import BackupResult, VerifyResult

_MIB = 2**20


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds backup and restore."""
    about = (
        "Copy registry, logs, quarantine and saved training sets to a folder; what it has already is not copied again."
    )
    parser = add_verb(verbs, "backup", backup, about=about, example="features backup s3://backups/features --keep 14")
    parser.add_argument("folder", metavar="DIR", help="a folder, or a URI of an object store; it may hold many backups")
    parser.add_argument("--keep", type=int, metavar="N", help="remove all but the latest N backups (default: none)")
    parser.add_argument("--verify", action="store_true", help="make none: check that the latest one is whole")
    parser.add_argument("--id", metavar="ID", help="with --verify: of which backup")

    about = "Bring a backup back into an empty registry and warehouse; load every view afterwards."
    parser = add_verb(
        verbs, "restore", restore, about=about, example="features restore /backups/features --env standby"
    )
    parser.add_argument("folder", metavar="DIR", help="the folder of the backups")
    parser.add_argument("--id", metavar="ID", help="of which backup (default: the latest)")


def backup(args: Namespace) -> Answer:
    """Make a backup, or check one; exit code 1 where the one that was checked is damaged."""
    with open_store(args) as store:
        if args.verify:
            checked = store.verify_backup(args.folder, args.id)
            return Answer(text=_tell_check(checked), data=to_plain(checked), exit_code=1 if checked.damaged else 0)
        made = store.backup(args.folder, keep=args.keep)
    return Answer(text=_tell_backup(made), data=to_plain(made))


def restore(args: Namespace) -> Answer:
    """Bring a backup back."""
    with open_store(args) as store:
        done = store.restore(args.folder, args.id)
        rollouts = store.registry.serving_state().views.values()
    served = {f"{r.view}@{version}" for r in rollouts for version in (r.live, r.candidate, r.shadow)}
    lines = [
        f"restored {done.id}: {done.tables} tables, {done.files} files, {done.bytes / _MIB:.1f} MiB, and the registry",
        "what is online is not known now; load what is served, each in full by itself this once:",
        *(f"  features load {view}" for view in sorted(served & done.positions.keys())),
    ]
    return Answer(text="\n".join(lines), data=to_plain(done))


def _tell_backup(made: "BackupResult") -> str:
    text = (
        f"{made.id} at {made.path}: {made.tables} tables, {made.files} files, {made.bytes / _MIB:.1f} MiB, of which "
        f"{made.copied_files} files, {made.copied_bytes / _MIB:.1f} MiB are new"
    )
    return "\n".join([text, *(f"warning: {warning}" for warning in made.warnings)])


def _tell_check(checked: "VerifyResult") -> str:
    if not checked.damaged:
        return f"{checked.id} at {checked.path} is whole: {checked.files} files are what was taken"
    lines = [f"  {path}" for path in checked.damaged]
    objects = [f"  {path}" for path in checked.objects]
    return "\n".join(
        [
            f"{checked.id} at {checked.path} is damaged. Missing or changed:",
            *lines,
            "delete those of these files that are there, then take another backup: it copies what is missing",
            *objects,
        ]
    )
