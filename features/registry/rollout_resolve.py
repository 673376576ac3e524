"""What a request stands for online: bare names at the versions that serving reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from features.core.applied import AppliedView, RequestedFeature
from features.core.applied_on_demand import (
    AppliedOnDemandView,
    Json,
    Requested,
    applied_on_demand_view,
    on_demand_pins,
)
from features.core.definitions import Feature
from features.core.references import Reference, parse_reference
from features.core.rollout import ServingRequest, ServingState, ViewRollout, shared_features
from features.errors import NotFoundError
from features.registry.lookups import (
    AnyView,
    expand_references,
    find_row,
    find_service,
    find_view,
    kind_of,
    resolve_features,
    service_named,
    telling,
    view_of,
    view_references,
)
from features.registry.state import ON_DEMAND


def resolve_serving(connection: Connection, features: str | Sequence[str], state: ServingState) -> ServingRequest:
    """See Registry.resolve_serving."""
    service = service_named(connection, features) if isinstance(features, str) else None
    if service is None:
        return _resolve(connection, view_references(connection, features), state)
    newest = find_service(connection, service)
    try:
        return _resolve(connection, newest.references, state)
    except NotFoundError as exc:
        if service.version is not None:
            raise
        for version in range(newest.version - 1, 0, -1):
            earlier = find_service(connection, Reference(newest.name, version))
            if (found := _stands_in(connection, earlier.references, newest.reference, state)) is not None:
                return found
        raise exc


@dataclass(slots=True)
class _Serving:
    """Finds views at the versions that serving reads, and remembers which it followed there."""

    connection: Connection
    state: ServingState
    followed: dict[str, AppliedView] = field(default_factory=dict)
    pinned: set[str] = field(default_factory=set)

    def find(self, reference: Reference) -> AnyView:
        """The view of a reference. Raises: NotFoundError, UsageError."""
        if reference.version is None:
            with telling(self.connection, reference):
                derived = kind_of(self.connection, reference.name) == ON_DEMAND
                return self._computed_of_live(reference) if derived else self._live(reference.name)
        found = view_of(self.connection, reference)
        read = [found] if isinstance(found, AppliedView) else [item.view for item in found.stored_inputs]
        self.pinned.update(view.name for view in read)
        return found

    def _live(self, name: str) -> AppliedView:
        if name not in self.followed:
            current = find_view(self.connection, Reference(name))
            rollout = self.state.views.get(name)
            # A view that is newer than the state has one version.
            version = current.version if rollout is None else rollout.live
            self.followed[name] = find_view(self.connection, Reference(name, version))
        return self.followed[name]

    def _computed_of_live(self, reference: Reference) -> AppliedOnDemandView:
        """The current version of an on-demand view, over the live versions of what it reads but does not pin."""
        row = find_row(self.connection, ON_DEMAND, reference)
        pins = on_demand_pins(row.metadata)
        inputs = [self._follow(item, pins, by=f"{row.name}@{row.version}") for item in row.content["inputs"]]
        return applied_on_demand_view(
            {**row.content, "inputs": inputs},
            row.metadata,
            version=row.version,
            find_view=lambda found: find_view(self.connection, found),
        )

    def _follow(self, item: Json, pins: frozenset[str], *, by: str) -> Json:
        if "feature" not in item:
            return item
        read = parse_reference(item["feature"])
        if f"{read.name}:{read.feature}" in pins:
            self.pinned.add(read.name)
            return item
        live = self._live(read.name)
        types = {feature.name: str(feature.dtype) for feature in live.features}
        if types.get(read.feature or "") != item["dtype"]:
            raise NotFoundError(
                f"{by} reads {item['feature']} {item['dtype']}, which {live.reference}, the live version, lacks; "
                f"`features promote {read.name}@{read.version}` makes it live"
            )
        return {**item, "feature": f"{live.reference}:{read.feature}"}


def _resolve(connection: Connection, references: Iterable[Reference], state: ServingState) -> ServingRequest:
    serving = _Serving(connection, state)
    requested = expand_references(references, serving.find)
    rollouts = {name: state.views.get(name) or _only(view) for name, view in serving.followed.items()}
    candidates, shadows = {}, {}
    for name, live in serving.followed.items():
        asked = _asked(requested, live)
        candidate = _other(connection, live, rollouts[name].candidate)
        # Rows of one version would answer for the pin too.
        if (
            candidate is not None
            and name not in serving.pinned
            and len(shared_features(asked, candidate)) == len(asked)
        ):
            candidates[name] = candidate
        shadow = _other(connection, live, rollouts[name].shadow)
        if shadow is not None:
            shadows[name] = shadow
    return ServingRequest(
        generation=state.generation, requested=requested, rollouts=rollouts, candidates=candidates, shadows=shadows
    )


def _stands_in(
    connection: Connection, references: Iterable[Reference], newest: str, state: ServingState
) -> ServingRequest | None:
    """What an earlier version of a service resolves to, while the newest waits for a promotion; None: it cannot."""
    try:
        # What not even the current versions have is not waited for.
        resolve_features(connection, newest)
        return _resolve(connection, references, state)
    except NotFoundError:
        return None


def _other(connection: Connection, live: AppliedView, version: int | None) -> AppliedView | None:
    """Another version of a live view, with equal join keys; None: there is none."""
    if version is None:
        return None
    other = find_view(connection, Reference(live.name, version))
    return other if list(other.join_keys.items()) == list(live.join_keys.items()) else None


def _asked(requested: Sequence[Requested], live: AppliedView) -> list[Feature]:
    """The features that a request reads of a version, for itself or for functions."""
    read: list[RequestedFeature] = []
    for item in requested:
        read += [item] if isinstance(item, RequestedFeature) else item.view.stored_inputs
    return [item.feature for item in read if item.view.reference == live.reference]


def _only(view: AppliedView) -> ViewRollout:
    return ViewRollout(view=view.name, live=view.version)
