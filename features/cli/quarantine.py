"""`features quarantine list|show|release|drop`: the rows that the gate withheld, and what becomes of them."""

from argparse import Namespace, _SubParsersAction
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features.cli.options import Parser, add_range, add_verb, open_store, parse_limit, split_pairs
from features.cli.rendering import table, to_plain
from features.cli.running import Answer
from features.core.key_text import parse_key
from features.errors import NotFoundError

if TYPE_CHECKING:
    from features.core.applied import AppliedView
    from features.materialization.quarantine_verbs import QuarantinedInterval
    from features.materialization.results import ReleaseResult

_RANGE = "--start 2013-03-07T00:00:00Z --end 2013-03-08T00:00:00Z"
_SHOWN_REASONS = 3
_SHOWN_RUN = 8


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds quarantine."""
    about = "Look after the rows that the gate withheld: list, show, release or drop them."
    parser = verbs.add_parser(
        "quarantine", help=about, description=about, epilog="example:\n  features quarantine list weather"
    )
    own: _SubParsersAction[Parser] = parser.add_subparsers(metavar="list|show|release|drop", required=True)

    about = "List what is withheld, and released, of each interval, with the rules that failed."
    parser = add_verb(own, "list", list_intervals, about=about, example="features quarantine list weather")
    parser.add_argument("view", nargs="?", metavar="VIEW", help="a view's name, or name@version (default: all views)")
    _add_bounds(parser)

    about = "Show withheld rows, with the values of their features."
    parser = add_verb(own, "show", show, about=about, example="features quarantine show weather --limit 5")
    parser.add_argument("view", metavar="VIEW", help="a view's name, or name@version")
    _add_bounds(parser)
    _add_keys(parser)
    parser.add_argument(
        "--limit", type=parse_limit, default=20, metavar="N", help="rows at most (default: %(default)s)"
    )

    about = "Publish withheld rows as corrections: someone has looked at them, and they are right."
    example = f"features quarantine release weather {_RANGE} --key origin=JFK"
    parser = add_verb(own, "release", release, about=about, example=example)
    parser.add_argument("view", metavar="VIEW", help="a view's name, or name@version")
    add_range(parser)
    _add_keys(parser)
    parser.add_argument("--now", metavar="TIME", help="when the release counts as started (default: the present)")

    about = "Remove withheld rows for good, save released ones. A run that computes them again withholds them again."
    parser = add_verb(own, "drop", drop, about=about, example=f"features quarantine drop weather {_RANGE} --yes")
    parser.add_argument("view", metavar="VIEW", help="a view's name, or name@version")
    add_range(parser)
    _add_keys(parser)
    parser.add_argument("--yes", action="store_true", help="remove them; without, only tell how many there are")


def list_intervals(args: Namespace) -> Answer:
    """What is withheld, by view and interval."""
    with open_store(args) as store:
        found = store.quarantined(args.view, start=args.start, end=args.end)
    text = tell_intervals(found) if found else "nothing is quarantined"
    return Answer(text=text, data={"intervals": to_plain(found)})


def show(args: Namespace) -> Answer:
    """Withheld rows."""
    with open_store(args) as store:
        view = store.registry.view(args.view)
        keys = _keys(args.key, view)
        found = store.quarantined_rows(args.view, start=args.start, end=args.end, keys=keys, limit=args.limit)
    rows = to_plain(found.to_pylist())
    text = tell_rows(rows, view) if rows else "no such row is quarantined"
    return Answer(text=text, data={"view": args.view, "rows": rows})


def release(args: Namespace) -> Answer:
    """Publish withheld rows."""
    with open_store(args) as store:
        keys = _keys(args.key, store.registry.view(args.view))
        result = store.release_quarantined(args.view, args.start, args.end, keys=keys, now=args.now)
    return Answer(text=tell_release(result), data=to_plain(result))


def drop(args: Namespace) -> Answer:
    """Remove withheld rows."""
    with open_store(args) as store:
        keys = _keys(args.key, store.registry.view(args.view))
        rows = store.drop_quarantined(args.view, args.start, args.end, keys=keys, dry_run=not args.yes)
    told = "withheld rows removed" if args.yes else "withheld rows would go for good; with --yes they do"
    text = f"{args.view}: {rows} {told}" if rows else f"{args.view}: nothing to remove"
    return Answer(text=text, data={"view": args.view, "rows": rows, "dropped": args.yes and rows > 0})


def tell_intervals(found: "Sequence[QuarantinedInterval]") -> str:
    """A line for each interval."""
    headers = ("view", "interval", "withheld", "released", "rules that failed", "run")
    rows = []
    for entry in found:
        shown = [f"{reason} ({count})" for reason, count in list(entry.reasons.items())[:_SHOWN_REASONS]]
        if len(entry.reasons) > _SHOWN_REASONS:
            shown.append(f"and {len(entry.reasons) - _SHOWN_REASONS} more")
        start = "not completed" if entry.start is None else to_plain(entry.start)
        runs = ", ".join(run_id[:_SHOWN_RUN] for run_id in entry.run_ids)
        interval = f"[{start}, {to_plain(entry.end)})"
        rows.append([entry.view, interval, entry.withheld, entry.released, ", ".join(shown), runs])
    return table(headers, rows)


def tell_rows(rows: Sequence[Mapping[str, Any]], view: "AppliedView") -> str:
    """A line for each row: what it says, and why it is withheld."""
    said = [*view.join_keys, "event_timestamp", *(f.name for f in view.features)]
    headers = [*said, "rules that failed", "interval ends", "run", "released", "by"]
    lines = [
        [
            *(row[name] for name in said),
            ", ".join(row["_reasons"]),
            row["_interval"],
            row["_run_id"][:_SHOWN_RUN],
            row["_released_at"],
            row["_released_by"],
        ]
        for row in rows
    ]
    return table(headers, lines)


def tell_release(result: "ReleaseResult") -> str:
    """What a release did, in lines."""
    name = result.view
    if not result.rows:
        return f"{name}: nothing to publish: no withheld row of the range is there that the log lacks"
    lines = [
        f"{name}: released {result.marked} withheld rows; {result.rows} published, {result.corrections} of them "
        f"corrections, at Delta version {result.delta_version}",
        f"  `features load {name}` brings them online",
    ]
    if result.overtaken:
        ends = ", ".join(to_plain(list(result.overtaken)))
        lines.append(f"  built again meanwhile, and stale: the intervals that end at {ends}; run `features backfill`")
    return "\n".join(lines)


def _add_bounds(parser: Parser) -> None:
    parser.add_argument("--start", metavar="TIME", help="only intervals that end after it (default: all)")
    parser.add_argument("--end", metavar="TIME", help="only intervals that end by then (default: all)")


def _add_keys(parser: Parser) -> None:
    parser.add_argument("--key", action="append", metavar="KEY=VALUE[,...]",
                        help="only rows of that key: join keys, all or some; repeat it for several")  # fmt: skip


def _keys(given: Sequence[str] | None, view: "AppliedView") -> list[Mapping[str, Any]] | None:
    if given is None:
        return None
    return [_key(split_pairs(text, option="--key"), view) for text in given]


def _key(pairs: Mapping[str, str], view: "AppliedView") -> Mapping[str, Any]:
    for name in pairs:
        if name not in view.join_keys:
            raise NotFoundError.of(f"join key in {view.reference}", name, view.join_keys)
    return {name: parse_key(text, view.join_keys[name], name=name) for name, text in pairs.items()}
