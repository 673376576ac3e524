"""`features sources`: what views read, with the columns that were recorded of it, and accepting changed ones."""

from argparse import Namespace, _SubParsersAction
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, open_store
from features.cli.rendering import table, to_plain
from features.cli.running import Answer
from features.core.view_source import ViewSource
from features.errors import UsageError

if TYPE_CHECKING:
    from features.core.applied import AppliedView
    from features.registry import Registry

_ACCEPT = "accept"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceStatus:
    """One source of one view version.

    columns: recorded with the last interval that was built from others than before it, column to Spark type; None: the
    view was not built yet. since: the end of that interval. changes: why its last build was refused.
    """

    view: str
    source: str
    kind: str
    location: str
    columns: Mapping[str, str] | None
    since: datetime | None
    changes: tuple[str, ...]


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds sources."""
    about = (
        "List what views read, with the columns they were built from; `accept VIEW` takes changed columns, for which "
        "its build was refused, as those to expect."
    )
    parser = add_verb(verbs, "sources", sources, about=about, example="features sources accept carrier_delay")
    parser.add_argument(
        "words", nargs="*", metavar="[accept] VIEW", help="a view's name, or name@version (default: all)"
    )


def sources(args: Namespace) -> Answer:
    """List sources, or accept what has changed in those of a view."""
    words: Sequence[str] = args.words
    if len(words) > (2 if words[:1] == [_ACCEPT] else 1):
        raise UsageError(f"sources takes one view, or accept and one view, got {' '.join(words)!r}")
    if words == [_ACCEPT]:
        raise UsageError("sources accept needs the view whose sources have changed; see `features sources`")
    with open_store(args) as store:
        registry = store.registry
        if len(words) == 2:
            return _accept(registry, registry.view(words[1]))
        views = [registry.view(words[0])] if words else registry.views()
        found = [status for view in views for status in inspect_sources(registry, view)]
    return Answer(text=_tell(found, detailed=bool(words)), data={"sources": to_plain(found)})


def inspect_sources(registry: "Registry", view: "AppliedView") -> list[SourceStatus]:
    """What the registry knows of the sources of a view version."""
    from features.materialization.source_drift import describe_changes, in_force

    schemas = registry.source_schemas(view)
    statuses = []
    for source in view.sources:
        mine = [schema for schema in schemas if schema.source == source.name]
        built = [schema for schema in mine if schema.columns is not None]
        last = built[-1] if built else None
        changes = [
            change
            for schema in mine
            if schema.found is not None
            for change in describe_changes(in_force(schemas, schema.since).get(source.name, {}), schema.found)
        ]
        statuses.append(
            SourceStatus(
                view=view.reference,
                source=source.name,
                kind="view" if isinstance(source, ViewSource) else source.kind,
                location=source.view if isinstance(source, ViewSource) else source.location,
                columns=last.columns if last else None,
                since=last.since if last else None,
                changes=tuple(dict.fromkeys(changes)),
            )
        )
    return statuses


def _accept(registry: "Registry", view: "AppliedView") -> Answer:
    accepted = registry.accept_source_schemas(view)
    if not accepted:
        text = f"no build of {view.reference} was refused for changed sources"
    else:
        text = f"accepted for {view.reference}: {', '.join(accepted)}; build again what was refused"
    return Answer(text=text, data={"view": view.reference, "accepted": to_plain(accepted)})


def _tell(found: Sequence[SourceStatus], *, detailed: bool) -> str:
    if not found:
        return "no view is registered; run `features apply`"
    headers = ("source", "kind", "location", "columns", "read by", "state")
    rows = [
        [s.source, s.kind, s.location, None if s.columns is None else len(s.columns), s.view, _state(s)]
        for s in sorted(found, key=lambda s: (s.source, s.view))
    ]
    parts = [table(headers, rows)]
    parts += [f"{s.source} of {s.view}: {change}" for s in found for change in s.changes]
    if detailed:
        for status in found:
            if status.columns is not None:
                columns = [[name, kind] for name, kind in status.columns.items()]
                parts.append(f"{status.source}:\n" + table(("column", "type"), columns))
    return "\n\n".join(parts)


def _state(status: SourceStatus) -> str:
    if status.changes:
        return "changed: repair, or accept"
    return "not built from yet" if status.columns is None else "as recorded"
