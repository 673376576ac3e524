"""Finding versions by reference, with errors that suggest the nearest name."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from features.core.applied import AppliedService, AppliedView, RequestedFeature
from features.core.applied_on_demand import AppliedOnDemandView, DerivedFeature, Requested, applied_on_demand_view
from features.core.canonical import applied_view
from features.core.references import Reference, parse_reference
from features.errors import DefinitionError, NotFoundError, UsageError
from features.registry.schema import definition_versions as versions
from features.registry.schema import definitions
from features.registry.state import ON_DEMAND, SERVICE, VIEW

AnyView = AppliedView | AppliedOnDemandView


def find_view(connection: Connection, reference: Reference) -> AppliedView:
    """The view version of a reference, whatever feature it names. Raises: NotFoundError."""
    row = find_row(connection, VIEW, reference)
    return applied_view(row.content, row.metadata, version=row.version)


def find_on_demand_view(connection: Connection, reference: Reference) -> AppliedOnDemandView:
    """The on-demand view version of a reference, whatever feature it names. Raises: NotFoundError."""
    return on_demand_view(connection, find_row(connection, ON_DEMAND, reference))


def on_demand_view(connection: Connection, row: Row[Any]) -> AppliedOnDemandView:
    """The on-demand view version that a row holds, with the views that it reads."""
    return applied_on_demand_view(
        row.content, row.metadata, version=row.version, find_view=lambda reference: find_view(connection, reference)
    )


def find_service(connection: Connection, reference: Reference) -> AppliedService:
    """The service version of a reference. Raises: NotFoundError."""
    return applied_service(find_row(connection, SERVICE, reference))


def find_row(connection: Connection, kind: str, reference: Reference) -> Row[Any]:
    """The row of a definition's version: content, metadata and `current_version`. Raises: NotFoundError."""
    rows = connection.execute(_versions(kind).where(definitions.c.name == reference.name)).all()
    if not rows:
        raise NotFoundError.of(kind, reference.name, _names(connection, kind))
    known = ", ".join(f"{row.name}@{row.version}" for row in rows)
    if reference.version is None and rows[0].removed_at is not None:
        raise NotFoundError(f"{kind} {reference.name!r} is no longer in code; its versions are kept: {known}")
    wanted = rows[0].current_version if reference.version is None else reference.version
    for row in rows:
        if row.version == wanted:
            return row
    raise NotFoundError(f"no version {wanted} of {kind} {reference.name!r}; known: {known}")


def current_versions(connection: Connection, kind: str) -> Sequence[Row[Any]]:
    """The current version of each definition of a kind that is not removed, by name."""
    current = versions.c.version == definitions.c.current_version
    rows = connection.execute(_versions(kind).where(definitions.c.removed_at.is_(None), current))
    # Sorted here: databases differ in how they order text.
    return sorted(rows, key=lambda row: row.name)


def applied_service(row: Row[Any]) -> AppliedService:
    """The service version that a row holds."""
    return AppliedService(name=row.name, version=row.version, features=tuple(row.content["features"]), **row.metadata)


def resolve_features(connection: Connection, features: str | Sequence[str]) -> tuple[Requested, ...]:
    """See Registry.resolve."""
    service = service_named(connection, features) if isinstance(features, str) else None
    references = (
        view_references(connection, features) if service is None else find_service(connection, service).references
    )
    return expand_references(references, lambda reference: view_of(connection, reference))


def service_named(connection: Connection, text: str) -> Reference | None:
    """The service that a text alone names, perhaps of a version; None: it names none. Raises: UsageError."""
    reference = _parse(text)
    return reference if reference.feature is None and reference.name in _names(connection, SERVICE) else None


def view_references(connection: Connection, features: str | Sequence[str]) -> tuple[Reference, ...]:
    """The views and features that a list, or a text alone, names.

    Raises: NotFoundError: the text names no view; UsageError: there is none, or text that is no reference.
    """
    if not isinstance(features, str):
        return _listed(features)
    reference = _parse(features)
    views = _names(connection, VIEW) + _names(connection, ON_DEMAND)
    if reference.feature is None and reference.name not in views:
        raise NotFoundError.of("feature service or view", features, _names(connection, SERVICE) + views)
    return (reference,)


def expand_references(references: Iterable[Reference], find: Callable[[Reference], AnyView]) -> tuple[Requested, ...]:
    """The features that references stand for, in order.

    Args:
        references: to views and features.
        find: the version of a view that a reference stands for, whatever feature it names.

    Raises: NotFoundError: a version lacks a feature; UsageError: a feature is asked twice; and what `find` raises.
    """
    views: dict[tuple[str, int | None], AnyView] = {}
    found: list[Requested] = []
    asked_by: dict[tuple[str, str], Reference] = {}
    for reference in references:
        view = views.get((reference.name, reference.version)) or find(reference)
        views[reference.name, reference.version] = view
        for item in _expand(view, reference):
            key = (item.view.reference, item.feature.name)
            if key in asked_by:
                raise UsageError(
                    f"feature {key[1]!r} of {key[0]} is asked twice, by {str(asked_by[key])!r} and "
                    f"{str(reference)!r}; drop one"
                )
            asked_by[key] = reference
            found.append(item)
    return tuple(found)


def view_of(connection: Connection, reference: Reference) -> AnyView:
    """The version of a view, on demand or not, that a reference stands for. Raises: NotFoundError, UsageError."""
    with telling(connection, reference):
        if kind_of(connection, reference.name) == ON_DEMAND:
            return find_on_demand_view(connection, reference)
        return find_view(connection, reference)


@contextmanager
def telling(connection: Connection, reference: Reference) -> Iterator[None]:
    """Has errors say which reference is not found, and that a service has its name if so."""
    try:
        yield
    except NotFoundError as exc:
        if reference.feature is None and reference.name in _names(connection, SERVICE):
            raise UsageError(f"{str(reference)!r} is a feature service; give it alone, not in a list") from exc
        raise NotFoundError(f"{str(reference)!r}: {exc}") from exc


def kind_of(connection: Connection, name: str) -> str:
    """Whether a name is a view or an on-demand view; had it been both in turn, what it is in code.

    Raises: NotFoundError: it is neither.
    """
    either = definitions.c.kind.in_([VIEW, ON_DEMAND]) & (definitions.c.name == name)
    rows = connection.execute(select(definitions.c.kind, definitions.c.removed_at).where(either))
    found = sorted((row.removed_at is not None, row.kind != VIEW, row.kind) for row in rows)
    if not found:
        raise NotFoundError.of(VIEW, name, _names(connection, VIEW) + _names(connection, ON_DEMAND))
    return str(found[0][2])


def parse_exact(reference: str, *, kind: str) -> Reference:
    """`name` or `name@version`. Raises: UsageError: it is neither."""
    parsed = _parse(reference)
    if parsed.feature is not None:
        raise UsageError(f"{reference!r} names a feature; give a {kind}: {parsed.name!r}")
    return parsed


def _listed(features: Sequence[str]) -> tuple[Reference, ...]:
    references = tuple(_parse(text) for text in features)
    if not references:
        raise UsageError("features is empty; name a service, or list view:feature references")
    return references


def _expand(view: AnyView, reference: Reference) -> tuple[Requested, ...]:
    names = [feature.name for feature in view.features]
    if reference.feature is not None and reference.feature not in names:
        raise NotFoundError(
            f"{str(reference)!r}: {NotFoundError.of(f'feature in {view.reference}', reference.feature, names)}"
        )
    chosen = [view.feature(name) for name in (names if reference.feature is None else [reference.feature])]
    if isinstance(view, AppliedView):
        return tuple(RequestedFeature(view, feature) for feature in chosen)
    return tuple(DerivedFeature(view, feature) for feature in chosen)


def _parse(text: str) -> Reference:
    try:
        return parse_reference(text)
    except DefinitionError as exc:
        raise UsageError(str(exc)) from exc


def _names(connection: Connection, kind: str) -> list[str]:
    return list(connection.scalars(select(definitions.c.name).where(definitions.c.kind == kind)))


def _versions(kind: str) -> Select[Any]:
    columns = (versions, definitions.c.current_version, definitions.c.removed_at)
    same = (versions.c.kind == definitions.c.kind) & (versions.c.name == definitions.c.name)
    return select(*columns).join(definitions, same).where(definitions.c.kind == kind).order_by(versions.c.version)
