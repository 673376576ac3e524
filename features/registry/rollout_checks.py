"""What speaks against a switch or a drop of a version, in words: of what is loaded, and of who reads it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from features.core.applied import AppliedView
from features.core.applied_on_demand import AppliedOnDemandView, on_demand_pins
from features.core.references import Reference
from features.core.rollout import ViewRollout, format_share
from features.core.times import format_instant
from features.registry.lookups import applied_service, current_versions, find_view, on_demand_view
from features.registry.schema import checkpoints, commits, consumers
from features.registry.state import ON_DEMAND, SERVICE
from features.registry.upstreams import find_readers

_SHOWN_READERS = 5


def promotion_objections(
    connection: Connection, view: AppliedView, now: ViewRollout, *, target: str
) -> tuple[str, ...]:
    """Why a version should not answer online in the place of the live one."""
    live = find_view(connection, Reference(now.view, now.live))
    return (
        *_key_objections(view, live),
        *_load_objections(connection, view, target=target),
        *_feature_objections(connection, view, live),
    )


def shadow_objections(connection: Connection, view: AppliedView, now: ViewRollout, *, target: str) -> tuple[str, ...]:
    """Why a version cannot be read beside the live one."""
    live = find_view(connection, Reference(now.view, now.live))
    loaded = is_loaded(connection, view, target=target)
    return (*_key_objections(view, live), *(() if loaded else (_never_loaded(view, target),)))


def drop_objections(
    connection: Connection, view: AppliedView, now: ViewRollout, *, unread_since: datetime
) -> tuple[str, ...]:
    """Why a version's online table should stay.

    Args:
        view: the version.
        now: of its view.
        unread_since: a consumer that read it then or later speaks against it.
    """
    return (
        *_serving_objections(view, now),
        *_pin_objections(connection, view),
        *_reader_objections(connection, view, unread_since),
    )


def is_loaded(connection: Connection, view: AppliedView, *, target: str) -> bool:
    """Whether an online store holds a version."""
    return _checkpoint(connection, view, target=target) > 0


def _key_objections(view: AppliedView, live: AppliedView) -> Iterator[str]:
    if list(view.join_keys.items()) != list(live.join_keys.items()):
        yield f"its join keys are {_keys(view)}, those of {live.reference}, which is live, {_keys(live)}"


def _load_objections(connection: Connection, view: AppliedView, *, target: str) -> Iterator[str]:
    loaded = _checkpoint(connection, view, target=target)
    newest = select(func.max(commits.c.log_position)).where(
        commits.c.view == view.name, commits.c.version == view.version
    )
    end = connection.scalar(newest) or 0
    if not loaded:
        yield _never_loaded(view, target)
    elif loaded < end:
        yield f"it is loaded up to log position {loaded} of {end}: run `features load {view.reference}`"


def _feature_objections(connection: Connection, view: AppliedView, live: AppliedView) -> Iterator[str]:
    """What services and on-demand views ask of live, and the version lacks."""
    asked = _asked_of(connection, live)
    types = {f.name: f.dtype for f in view.features}
    for feature in live.features:
        by = ", ".join(sorted(asked.get(feature.name, ())))
        if by and feature.name not in types:
            yield f"it lacks {feature.name}, which is asked for by {by}"
        elif by and types[feature.name] != feature.dtype:
            yield f"its {feature.name} is {types[feature.name]}, not {feature.dtype}; it is asked for by {by}"


def _asked_of(connection: Connection, live: AppliedView) -> dict[str, set[str]]:
    """Features that are asked of a view without naming its version, and by whom."""
    asked: dict[str, set[str]] = defaultdict(set)
    for row in current_versions(connection, SERVICE):
        service = applied_service(row)
        for reference in service.references:
            if (reference.name, reference.version) == (live.name, None):
                for name in [reference.feature] if reference.feature else [f.name for f in live.features]:
                    asked[name].add(f"service {service.name}")
    for derived, pins in _on_demand_views(connection):
        for item in derived.stored_inputs:
            if item.view.name == live.name and f"{live.name}:{item.feature.name}" not in pins:
                asked[item.feature.name].add(f"on-demand view {derived.name}")
    return asked


def _serving_objections(view: AppliedView, now: ViewRollout) -> Iterator[str]:
    if view.version == now.live:
        yield "it is live"
    if view.version == now.candidate:
        yield f"it is in canary for {format_share(now.share)} of the keys: `features rollback {view.name}` ends that"
    if view.version == now.shadow:
        yield f"it is the shadow: `features shadow {view.name} --off` ends that"


def _pin_objections(connection: Connection, view: AppliedView) -> Iterator[str]:
    for row in current_versions(connection, SERVICE):
        service = applied_service(row)
        if any((ref.name, ref.version) == (view.name, view.version) for ref in service.references):
            yield f"service {service.reference} pins it"
    for derived, pins in _on_demand_views(connection):
        pinned = (i for i in derived.stored_inputs if f"{i.view.name}:{i.feature.name}" in pins)
        if any(item.view.reference == view.reference for item in pinned):
            yield f"on-demand view {derived.reference} pins it"
    for reader in find_readers(connection, view, current=True):
        yield f"feature view {reader.reference} reads it"


def _reader_objections(connection: Connection, view: AppliedView, since: datetime) -> Iterator[str]:
    recent = (
        select(consumers)
        .where(consumers.c.view == view.name, consumers.c.version == view.version, consumers.c.last_read_at >= since)
        .order_by(consumers.c.last_read_at.desc(), consumers.c.consumer)
    )
    readers = [f"{row.consumer} at {format_instant(row.last_read_at)}" for row in connection.execute(recent)]
    if readers:
        more = f" and {len(readers) - _SHOWN_READERS} more" if len(readers) > _SHOWN_READERS else ""
        yield f"it was read by {', '.join(readers[:_SHOWN_READERS])}{more}"


def _on_demand_views(connection: Connection) -> Sequence[tuple[AppliedOnDemandView, frozenset[str]]]:
    """The current on-demand views, and beside each the inputs whose version its code names."""
    return [
        (on_demand_view(connection, row), on_demand_pins(row.metadata))
        for row in current_versions(connection, ON_DEMAND)
    ]


def _checkpoint(connection: Connection, view: AppliedView, *, target: str) -> int:
    mine = (checkpoints.c.view == view.name) & (checkpoints.c.version == view.version)
    return connection.scalar(select(checkpoints.c.log_position).where(mine, checkpoints.c.target == target)) or 0


def _never_loaded(view: AppliedView, target: str) -> str:
    return f"it was never loaded into {target}: run `features load {view.reference}`"


def _keys(view: AppliedView) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in view.join_keys.items())
