"""What has to change so that the registry holds what the code defines."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime

from features.core.canonical import (
    Json,
    applied_view,
    canonical,
    definition_hash,
    service_definition,
    service_metadata,
    view_definition,
    view_metadata,
)
from features.core.definitions import FeatureService
from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.core.times import format_instant
from features.errors import DefinitionError, NotFoundError
from features.registry.changes import describe_definition, describe_metadata, describe_view
from features.registry.plan import Change

VIEW = "feature view"
SERVICE = "feature service"

Name = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A feature view or service as the code defines it."""

    kind: str
    name: str
    hash: str
    content: Json
    metadata: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredVersion:
    """A version as the registry holds it. built: the range over which the view was built, if at all."""

    version: int
    hash: str
    content: Json
    metadata: Json
    built: Interval | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A feature view or service as the registry holds it."""

    current: int
    removed_at: datetime | None
    versions: Mapping[int, StoredVersion]

    def with_hash(self, hash_: str) -> StoredVersion | None:
        """The version of that hash, if there is one."""
        return next((v for v in self.versions.values() if v.hash == hash_), None)


State = Mapping[Name, Stored]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A change, and what the code wants it to become; None where it is to be removed."""

    change: Change
    wanted: Wanted | None


def read_definitions(definitions: Definitions) -> dict[Name, Wanted]:
    """All that the code defines, in canonical form. Raises: DefinitionError: a transform's code cannot be read."""
    found: dict[Name, Wanted] = {}
    for name in sorted(definitions.views):
        view = definitions.views[name]
        found[VIEW, name] = _wanted(VIEW, name, view_definition(view), view_metadata(view))
    for name in sorted(definitions.services):
        service = definitions.services[name]
        found[SERVICE, name] = _wanted(SERVICE, name, service_definition(service), service_metadata(service))
    return found


def plan_steps(wanted: Mapping[Name, Wanted], state: State, *, removable: Set[Name]) -> tuple[Step, ...]:
    """What to do, in the order to do it: feature views first, by name.

    Args:
        wanted: what the code defines.
        state: what the registry holds.
        removable: what may be removed for not being in code. An apply that ran meanwhile may have added others.

    Raises: DefinitionError: a service pins a version, or a feature of it, that there will not be.
    """
    steps = [step for want in wanted.values() if (step := _step(want, state.get((want.kind, want.name)))) is not None]
    for name in sorted(removable - wanted.keys(), key=lambda name: (name[0] != VIEW, name)):
        if state[name].removed_at is None:
            steps.append(Step(change=_removal(name, state[name]), wanted=None))
    _check_services(wanted, state, steps)
    return tuple(sorted(steps, key=lambda step: (step.change.object != VIEW, step.change.name)))


def _wanted(kind: str, name: str, content: Json, metadata: Json) -> Wanted:
    return Wanted(kind=kind, name=name, hash=definition_hash(content), content=content, metadata=metadata)


def _step(want: Wanted, stored: Stored | None) -> Step | None:
    if stored is None:
        details = (
            describe_view(want.content) if want.kind == VIEW else (f"features: {', '.join(want.content['features'])}",)
        )
        return _make("create", want, version=1, details=details)
    current = stored.versions[stored.current]
    known = stored.with_hash(want.hash)
    was_removed = ("it was removed before",) if stored.removed_at is not None else ()
    if known is None:
        return _make(
            "new version",
            want,
            version=max(stored.versions) + 1,
            details=was_removed + describe_definition(current.content, want.content),
            also=describe_metadata(current.metadata, want.metadata),
            next_steps=_after_new_version(want, current, max(stored.versions) + 1),
        )
    also = describe_metadata(known.metadata, want.metadata)
    if known is not current or was_removed:
        details = was_removed + describe_definition(current.content, want.content)
        steps = _after_restore(want, current, known)
        return _make("restore", want, version=known.version, details=details, also=also, next_steps=steps)
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
) -> Step:
    change = Change(
        kind=kind,
        object=want.kind,
        name=want.name,
        version=version,
        details=details,
        also=also,
        next_steps=next_steps,
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


def _after_new_version(want: Wanted, old: StoredVersion, version: int) -> tuple[str, ...]:
    if want.kind != VIEW:
        return ()
    made = applied_view(want.content, want.metadata, version=version)
    tables = f"new tables are made: {made.log_path} offline, {made.online_table} online; version {old.version}'s stay"
    return (tables, *_backfill(want.name, old))


def _after_restore(want: Wanted, old: StoredVersion, known: StoredVersion) -> tuple[str, ...]:
    if want.kind != VIEW:
        return ()
    built = f"built over {known.built}" if known.built else "never built"
    tables = f"its tables are kept from before, {built}"
    covered = old.built is None or (
        known.built is not None and known.built.start <= old.built.start and old.built.end <= known.built.end
    )
    return (tables,) if covered else (tables, *_backfill(want.name, old))


def _backfill(name: str, old: StoredVersion) -> tuple[str, ...]:
    if old.built is None:
        return ()
    start, end = format_instant(old.built.start), format_instant(old.built.end)
    return (
        f"version {old.version} was built over {old.built}; for the same range: "
        f"features backfill {name} --start {start} --end {end}",
    )


def _check_services(wanted: Mapping[Name, Wanted], state: State, steps: list[Step]) -> None:
    views = {name: dict(stored.versions) for (kind, name), stored in state.items() if kind == VIEW}
    contents = {name: {n: v.content for n, v in versions.items()} for name, versions in views.items()}
    for step in steps:
        if step.wanted is not None and step.wanted.kind == VIEW:
            contents.setdefault(step.wanted.name, {})[step.change.version] = step.wanted.content
    for want in wanted.values():
        if want.kind == SERVICE:
            for problem in _unknown_references(want, wanted, contents):
                raise DefinitionError(f"FeatureService {want.name!r}: features {problem}")


def _unknown_references(
    service: Wanted, wanted: Mapping[Name, Wanted], contents: Mapping[str, Mapping[int, Json]]
) -> Iterator[str]:
    in_code = {name: want.content for (kind, name), want in wanted.items() if kind == VIEW}
    for reference in FeatureService(name=service.name, features=service.content["features"]).references:
        versions = contents.get(reference.name, {})
        content = in_code.get(reference.name) if reference.version is None else versions.get(reference.version)
        if content is None and reference.version is not None and versions:
            known = ", ".join(map(str, sorted(versions)))
            yield f"{str(reference)!r}: {VIEW} {reference.name!r} has no version {reference.version}; known: {known}"
        elif content is None:
            yield f"{str(reference)!r}: {NotFoundError.of(VIEW, reference.name, in_code, hint='none is defined')}"
        elif reference.feature is not None and reference.feature not in dict(content["features"]):
            where = f"feature in {reference.name!r}"
            yield f"{str(reference)!r}: {NotFoundError.of(where, reference.feature, dict(content['features']))}"
