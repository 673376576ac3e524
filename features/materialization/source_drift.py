"""Sources that are no longer what a view was built from: told before its transform runs, and nothing is written."""

import logging
from collections.abc import Mapping
from datetime import datetime

from features.core.applied import AppliedView
from features.core.sources import TEXT_FORMATS, BatchSource, TimedSource
from features.errors import SourceError
from features.registry import Registry, SourceSchema

logger = logging.getLogger(__name__)

_SHOWN = 5


class SourceWatch:
    """Compares what one run finds with what the registry has of the intervals up to its first.

    A column that is gone, or of another type, even a wider one, is refused. A new one is noticed, and recorded with the
    build.
    """

    def __init__(self, registry: Registry, view: AppliedView, run_id: str, *, since: datetime, until: datetime) -> None:
        self._registry = registry
        self._view = view
        self._run_id = run_id
        self._since, self._until = since, until
        schemas = registry.source_schemas(view)
        self._known = in_force(schemas, since)
        self._refused = {schema.source for schema in schemas if schema.found is not None}
        self._seen: dict[str, list[Mapping[str, str]]] = {}
        self._new: dict[str, str] = {}

    @property
    def notice(self) -> str:
        """What is new, for people; empty where nothing is."""
        return "; ".join(self._new.values())

    def check(self, source: TimedSource, columns: Mapping[str, str]) -> None:
        """Raises: SourceError: columns are gone or of another type; the registry keeps what was found, to accept."""
        self._seen.setdefault(source.name, []).append(columns)
        known = self._known.get(source.name)
        if known is None:
            return
        changes = describe_changes(known, columns)
        if changes:
            self._registry.refuse_source_schema(
                self._view, self._run_id, source=source.name, since=self._since, found=columns
            )
            raise SourceError(self._refusal(source, changes))
        added = [f"{name!r} ({kind})" for name, kind in columns.items() if name not in known]
        if added:
            told = f"source {source.name!r} has new columns: {', '.join(added)}"
            if self._new.get(source.name) != told:
                logger.warning(told, extra={"view": self._view.reference})
            self._new[source.name] = told

    def record(self) -> None:
        """Tell the registry what was built from, where it has something else, nothing, or a refusal.

        Of files that differ, what they have in common is expected from the first interval on, all of it from the last.
        """
        common, united = {}, {}
        for name, seen in self._seen.items():
            united[name] = {column: kind for columns in seen for column, kind in columns.items()}
            common[name] = {
                column: kind
                for column, kind in united[name].items()
                if all(columns.get(column) == kind for columns in seen)
            }
        self._record(common, self._since)
        if self._until > self._since:
            self._record({name: columns for name, columns in united.items() if columns != common[name]}, self._until)

    def _record(self, found: Mapping[str, Mapping[str, str]], since: datetime) -> None:
        changed = {
            name: columns
            for name, columns in found.items()
            if self._known.get(name) != columns or name in self._refused
        }
        if changed:
            self._registry.record_source_schemas(self._view, self._run_id, since=since, columns=changed)

    def _refusal(self, source: TimedSource, changes: list[str]) -> str:
        shown = ", ".join(changes[:_SHOWN]) + (f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else "")
        guessed = ""
        if isinstance(source, BatchSource) and source.format in TEXT_FORMATS and source.schema is None:
            guessed = f"; types of {source.format} are guessed from all files, unless schema= declares them"
        return (
            f"source {source.name!r} at {source.location!r} is not what {self._view.reference} was built from: "
            f"{shown}; nothing was written: repair the source, or review the transform and run "
            f"`features sources accept {self._view.name}`{guessed}"
        )


def in_force(schemas: tuple[SourceSchema, ...], since: datetime) -> dict[str, Mapping[str, str]]:
    """The columns to expect of each source at an interval's end: the last ones up to it, or else the first."""
    found: dict[str, Mapping[str, str]] = {}
    for schema in schemas:
        if schema.columns is not None and (schema.since <= since or schema.source not in found):
            found[schema.source] = schema.columns
    return found


def describe_changes(known: Mapping[str, str], columns: Mapping[str, str]) -> list[str]:
    """Which columns are gone or of another type, in words."""
    changes = [f"column {name!r} ({kind}) is gone" for name, kind in known.items() if name not in columns]
    return changes + [
        f"column {name!r} was {kind} and is {columns[name]}"
        for name, kind in known.items()
        if name in columns and columns[name] != kind
    ]
