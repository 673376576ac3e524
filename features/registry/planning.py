"""What has to change so that the registry holds what the code defines."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from functools import partial

from features.core.applied_on_demand import input_types, on_demand_definition, on_demand_metadata, pin_inputs
from features.core.canonical import (
    Json,
    canonical,
    definition_hash,
    service_definition,
    service_metadata,
    view_definition,
    view_metadata,
)
from features.core.definitions import FeatureService
from features.core.discovery import Definitions
from features.core.golden import check_golden
from features.core.references import Reference
from features.errors import DefinitionError, NotFoundError
from features.registry.changes import describe_created, describe_definition, describe_metadata
from features.registry.consequences import after_new_version, after_restore, offer_backfill
from features.registry.plan import BackfillOffer, Change
from features.registry.state import (
    KINDS,
    ON_DEMAND,
    SERVICE,
    VIEW,
    Name,
    Outlook,
    State,
    Stored,
    Wanted,
    next_version,
)
from features.registry.upstreams import check_removal, pin_views


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A change, and what the code wants it to become; None where it is to be removed."""

    change: Change
    wanted: Wanted | None


def read_definitions(definitions: Definitions) -> dict[Name, Wanted]:
    """All that the code defines, in canonical form; `plan_steps` pins what views and on-demand views read.

    Raises: DefinitionError: the code of a transform, or of an on-demand function, cannot be read.
    """
    found: dict[Name, Wanted] = {}
    for name in sorted(definitions.views):
        view = definitions.views[name]
        found[VIEW, name] = _wanted(VIEW, name, view_definition(view), view_metadata(view))
    for name in sorted(definitions.on_demand):
        derived = definitions.on_demand[name]
        found[ON_DEMAND, name] = _wanted(ON_DEMAND, name, on_demand_definition(derived), on_demand_metadata(derived))
    for name in sorted(definitions.services):
        service = definitions.services[name]
        found[SERVICE, name] = _wanted(SERVICE, name, service_definition(service), service_metadata(service))
    return found


def check_golden_rows(definitions: Definitions, wanted: Mapping[Name, Wanted], state: State) -> None:
    """That each on-demand function makes of its golden rows what they say.

    Raises: DefinitionError: one does not, or reads what there will not be; PlatformError: it lacks what it needs.
    """
    for want in _pin_on_demand(pin_views(wanted, state), state).values():
        if want.kind == ON_DEMAND:
            check_golden(definitions.on_demand[want.name], input_types(want.content))


def plan_steps(wanted: Mapping[Name, Wanted], state: State, *, removable: Set[Name]) -> tuple[Step, ...]:
    """What to do, in the order to do it: feature views, on-demand feature views, services; each by name.

    Args:
        wanted: what the code defines.
        state: what the registry holds.
        removable: what may be removed for not being in code. An apply that ran meanwhile may have added others.

    Raises: DefinitionError: a service, an on-demand view or a view names a version, or a feature of it, that there will
        not be, or a view that is read is to be removed.
    """
    wanted = _pin_on_demand(pin_views(wanted, state), state)
    steps = [step for want in wanted.values() if (step := _step(want, state.get((want.kind, want.name)))) is not None]
    removed = {name for name in removable - wanted.keys() if state[name].removed_at is None}
    for name in removed:
        check_removal(name, wanted, state, removed=removed)
        steps.append(Step(change=_removal(name, state[name]), wanted=None))
    _check_services(wanted, state)
    return tuple(sorted(steps, key=lambda step: (KINDS.index(step.change.object), step.change.name)))


def _wanted(kind: str, name: str, content: Json, metadata: Json) -> Wanted:
    return Wanted(kind=kind, name=name, hash=definition_hash(content), content=content, metadata=metadata)


def _step(want: Wanted, stored: Stored | None) -> Step | None:
    if stored is None:
        return _make("create", want, version=1, details=describe_created(want.content))
    current = stored.versions[stored.current]
    known = stored.with_hash(want.hash)
    was_removed = ("it was removed before",) if stored.removed_at is not None else ()
    if known is None:
        return _make(
            "new version",
            want,
            version=next_version(want, stored),
            details=was_removed + describe_definition(current.content, want.content),
            also=describe_metadata(current.metadata, want.metadata),
            next_steps=after_new_version(want, stored, next_version(want, stored)),
            backfill=offer_backfill(want, stored, None),
        )
    also = describe_metadata(known.metadata, want.metadata)
    if known is not current or was_removed:
        details = was_removed + describe_definition(current.content, want.content)
        return _make(
            "restore",
            want,
            version=known.version,
            details=details,
            also=also,
            next_steps=after_restore(want, stored, known),
            backfill=offer_backfill(want, stored, known),
        )
    if canonical(known.metadata) != canonical(want.metadata):
        return _make("update in place", want, version=known.version, details=also)
    return None


def _make(
    kind: str,
    want: Wanted,
    *,
    version: int,
    details: tuple[str, ...],
    also: tuple[str, ...] = (),
    next_steps: tuple[str, ...] = (),
    backfill: BackfillOffer | None = None,
) -> Step:
    change = Change(
        kind=kind,
        object=want.kind,
        name=want.name,
        version=version,
        details=details,
        also=also,
        next_steps=next_steps,
        backfill=backfill,
    )
    return Step(change=change, wanted=want)


def _removal(name: Name, stored: Stored) -> Change:
    kept = "its versions and tables are kept; it is no longer listed or scheduled"
    return Change(
        kind="remove",
        object=name[0],
        name=name[1],
        version=stored.current,
        details=("no longer in code",),
        next_steps=(kept if name[0] == VIEW else "its versions are kept; it is no longer listed",),
    )


def _check_services(wanted: Mapping[Name, Wanted], state: State) -> None:
    outlook = Outlook(wanted, state, VIEW, ON_DEMAND)
    for want in wanted.values():
        if want.kind == SERVICE:
            for reference in FeatureService(name=want.name, features=want.content["features"]).references:
                _find(outlook, reference, owner=f"FeatureService {want.name!r}: features")


def _pin_on_demand(wanted: Mapping[Name, Wanted], state: State) -> dict[Name, Wanted]:
    """What is wanted, on-demand views with the versions that they will read."""
    outlook = Outlook(wanted, state, VIEW)
    pinned = dict(wanted)
    for name, want in wanted.items():
        if want.kind == ON_DEMAND:
            find = partial(_find, outlook, owner=f"OnDemandFeatureView {want.name!r}: inputs")
            content = pin_inputs(want.content, find)
            pinned[name] = replace(want, content=content, hash=definition_hash(content))
    return pinned


def _find(outlook: Outlook, reference: Reference, *, owner: str) -> tuple[int, str]:
    try:
        return outlook.find(reference)
    except NotFoundError as exc:
        raise DefinitionError(f"{owner} {str(reference)!r}: {exc}") from exc
