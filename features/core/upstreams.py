"""Views that read views: whether they may, in which order they come, and what makes a version of one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from features.core.aggregations import longest_window
from features.core.canonical import Json, definition_hash, view_definition
from features.core.definitions import FeatureView, ViewSpec
from features.core.references import Reference, parse_reference
from features.core.view_source import ViewSource
from features.errors import DefinitionError, NotFoundError

Find = Callable[[Reference], tuple[int, str]]


def view_sources(view: ViewSpec) -> tuple[ViewSource, ...]:
    """The sources of a view that are views themselves."""
    return tuple(source for source in view.sources if isinstance(source, ViewSource))


def check_upstreams(views: Mapping[str, FeatureView], on_demand: Iterable[str]) -> None:
    """That what views read of each other is there, comes in time, and comes back to none of them.

    What a source reads of a version that it names is left to `check_upstream`, once that version is known.

    Args:
        views: all that the code defines, by name.
        on_demand: the names of on-demand views.

    Raises: DefinitionError: names the view and the source or, of a cycle, the way around it.
    """
    computed = frozenset(on_demand)
    for view in views.values():
        for source in view_sources(view):
            read = source.reference
            if read.name in computed:
                raise _fail(view, source, f"reads {source.view!r}, which is on demand: nothing of it is stored")
            if read.name not in views:
                missing = NotFoundError.of("feature view", read.name, views)
                raise _fail(view, source, f"reads {source.view!r}, but there is {missing}")
            if read.version is None:
                check_upstream(view, source, views[read.name])
    order_views({name: {s.reference.name for s in view_sources(view)} for name, view in views.items()})


def check_upstream(view: ViewSpec, source: ViewSource, upstream: ViewSpec) -> None:
    """That a view can read another.

    Raises: DefinitionError: its delay is less, it cannot tell what is complete, or it needs rows that are removed.
    """
    if view.delay < upstream.delay:
        raise _fail(
            view,
            source,
            f"reads {source.view!r}, whose values are online {upstream.delay} after an interval's end: delay must be "
            f"at least that, got {view.delay}",
        )
    if upstream.schedule is None and view.schedule is not None:
        raise _fail(
            view,
            source,
            f"reads {source.view!r}, which has no schedule, so no interval of it is ever known to be complete; "
            "give it one, or use schedule=None here",
        )
    reach = source.history + longest_window(view.aggregations)
    if upstream.retention is not None and upstream.retention <= reach:
        raise _fail(
            view,
            source,
            f"reads {source.view!r} {reach} back, whose rows are removed after {upstream.retention}: give it a longer "
            "retention, or read less of it",
        )


def order_views(reads: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The views, each behind those that it reads.

    Args: reads: the names of the views that each view reads.
    Raises: DefinitionError: a view reads itself, perhaps through others; the message draws the way.
    """
    try:
        return tuple(TopologicalSorter({name: sorted(reads[name]) for name in sorted(reads)}).static_order())
    except CycleError as exc:
        way = " -> ".join(reversed(exc.args[1]))
        raise DefinitionError(
            f"feature views read each other in a cycle: {way}; let one of them read what the other is made of"
        ) from exc


def pin_sources(definition: Json, find: Find) -> Json:
    """The definition of a view with the version, and the definition's hash, of each view that it reads.

    The hash makes the version: a view that reads another becomes a new one with it. The version's number is for those
    who read the log; it is no part of the hash, so that equal code has equal hashes in every registry.

    Args:
        definition: of `view_definition`.
        find: the version that a reference stands for, and its hash.
    """
    return {**definition, "sources": [_pin(source, find) for source in definition["sources"]]}


def reads_of(definition: Json) -> Iterator[tuple[str, Reference]]:
    """The sources of a canonical definition that are views: name, and the view that it reads."""
    for source in definition["sources"]:
        if "view" in source:
            yield source["name"], Reference(parse_reference(source["view"]).name, _version_of(source))


def code_hash(view: FeatureView, views: Mapping[str, FeatureView], stored: Callable[[str], str]) -> str:
    """The hash of a view's definition as the code has it, and so of all that it reads.

    Args:
        views: all that the code defines, by name.
        stored: the hash of a version that the code names, of `name@version`.

    Raises: NotFoundError: the code no longer defines a view that it reads, or what `stored` raises.
    """

    def find(reference: Reference) -> tuple[int, str]:
        if reference.version is not None:
            return reference.version, stored(str(reference))
        if reference.name not in views:
            raise NotFoundError.of("feature view", reference.name, views)
        return 0, code_hash(views[reference.name], views, stored)

    return definition_hash(pin_sources(view_definition(view), find))


def _pin(source: Json, find: Find) -> Json:
    if "view" not in source:
        return source
    reference = parse_reference(source["view"])
    version, found = find(reference)
    return {**source, "view": reference.name, "version": version, "definition": found}


def _version_of(source: Json) -> int | None:
    version = source.get("version", parse_reference(source["view"]).version)
    return None if version is None else int(version)


def _fail(view: ViewSpec, source: ViewSource, why: str) -> DefinitionError:
    return DefinitionError(f"FeatureView {view.name!r}: source {source.name!r} {why}")
