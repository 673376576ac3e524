"""Definitions as the code wants them, as the registry holds them, and the versions that there will be."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from features.core.canonical import Json
from features.core.references import Reference
from features.core.schedule import Interval
from features.errors import NotFoundError

VIEW = "feature view"
ON_DEMAND = "on-demand feature view"
SERVICE = "feature service"
# In the order in which they are applied: each refers to those before it.
KINDS = (VIEW, ON_DEMAND, SERVICE)

Name = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A view or service as the code defines it."""

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
    """A view or service as the registry holds it.

    serving: a view's live version, where some online store holds it.
    """

    current: int
    removed_at: datetime | None
    versions: Mapping[int, StoredVersion]
    serving: int | None = None

    def with_hash(self, hash_: str) -> StoredVersion | None:
        """The version of that hash, if there is one."""
        return next((v for v in self.versions.values() if v.hash == hash_), None)


State = Mapping[Name, Stored]


def next_version(want: Wanted, stored: Stored | None) -> int:
    """The version that a definition has once it is applied: a new one, unless one of its hash is known."""
    if stored is None:
        return 1
    known = stored.with_hash(want.hash)
    return known.version if known is not None else max(stored.versions) + 1


class Outlook:
    """The versions of some kinds that there will be, by name: those that are stored, and those that the code adds."""

    def __init__(self, wanted: Mapping[Name, Wanted], state: State, *kinds: str) -> None:
        self._current: dict[str, int] = {}
        self._contents: dict[str, dict[int, Json]] = {}
        for (kind, name), stored in state.items():
            if kind in kinds:
                held = self._contents.setdefault(name, {})
                held.update({number: version.content for number, version in stored.versions.items()})
        for (kind, name), want in wanted.items():
            if kind in kinds:
                version = next_version(want, state.get((kind, name)))
                self._current[name] = version
                self._contents.setdefault(name, {})[version] = want.content

    def find(self, reference: Reference) -> tuple[int, str]:
        """The version that a reference stands for, and the type of its feature, if it names one.

        Raises: NotFoundError: there will be no such version or feature.
        """
        versions = self._contents.get(reference.name, {})
        version = self._current.get(reference.name) if reference.version is None else reference.version
        content = versions.get(version or 0)
        if version is None or content is None:
            if reference.version is not None and versions:
                known = ", ".join(map(str, sorted(versions)))
                raise NotFoundError(f"{VIEW} {reference.name!r} has no version {reference.version}; known: {known}")
            raise NotFoundError.of(VIEW, reference.name, self._current, hint="none is defined")
        types = dict(content["features"])
        if reference.feature is not None and reference.feature not in types:
            raise NotFoundError.of(f"feature in {reference.name!r}", reference.feature, types)
        return version, types.get(reference.feature or "", "")
