"""Manifests of training sets, numbered per name, and the holds on them."""

import re
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, Text, func, insert, select, type_coerce, update

from features.errors import NotFoundError, RegistryError, UsageError
from features.registry.audit import Part, name_actor, record_audit
from features.registry.clock import utc_now
from features.registry.erasures import check_unerased
from features.registry.records import StoredManifest
from features.registry.schema import manifests

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
# What stands between the names in a path, and around a path in JSON.
_BETWEEN_NAMES = re.compile(r'[/"]')


class TrainingSets(Part):
    """What pins each saved training set."""

    def save_manifest(self, name: str, content: Mapping[str, object], *, hold: bool) -> int:
        """Keep a manifest for ever; its number: 1 for the first of a name, then one more each.

        Args:
            name: letters, digits and `. _ -`, the first a letter or a digit.
            content: plain JSON values.
            hold: whether retention and drops must spare what it needs, until it is released.

        Raises: UsageError: the name has other characters. RegistryError: an entity was erased while it was saved.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name a training set; use letters, digits and . _ -, the first a letter or a digit"
            )
        with self._database.write() as connection:
            check_unerased(connection, content)
            number = (connection.scalar(select(func.max(manifests.c.number)).where(manifests.c.name == name)) or 0) + 1
            connection.execute(
                insert(manifests).values(
                    name=name, number=number, content=dict(content), held=hold, created_at=utc_now()
                )
            )
        return number

    def manifest(self, reference: str) -> StoredManifest:
        """A manifest by `name@number`, or the latest by `name`.

        Raises: NotFoundError, UsageError; RegistryError: its entry was damaged.
        """
        with self._database.read() as connection:
            return _find(connection, reference)

    def manifests(self) -> tuple[StoredManifest, ...]:
        """All manifests, by name and number. Raises: RegistryError: an entry was damaged; it is named."""
        with self._database.read() as connection:
            return tuple(_read(connection, name, number) for name, number in _saved(connection))

    def manifest_references(self) -> tuple[str, ...]:
        """`name@number` of all manifests, by name and number, whether or not they can be read."""
        with self._database.read() as connection:
            return tuple(f"{name}@{number}" for name, number in _saved(connection))

    def find_manifests(self, folders: Collection[str]) -> dict[str, str]:
        """Which of these names of folders stand in the path of a manifest: `name@number` by folder.

        Damaged entries count too. It is asked in a writer's turn: no save whose answer was lost is still on its way.
        """
        wanted, found = set(folders), {}
        content = type_coerce(manifests.c.content, Text)
        with self._database.write() as connection:
            for row in connection.execute(select(manifests.c.name, manifests.c.number, content.label("content"))):
                for folder in wanted.intersection(_BETWEEN_NAMES.split(str(row.content))):
                    found[folder] = f"{row.name}@{row.number}"
        return found

    def hold(self, reference: str, *, actor: str | None = None) -> StoredManifest:
        """Protect what a manifest needs from retention and drops. Raises: NotFoundError, UsageError."""
        return self._set_held(reference, held=True, actor=actor)

    def release(self, reference: str, *, actor: str | None = None) -> StoredManifest:
        """End the protection. Raises: NotFoundError, UsageError."""
        return self._set_held(reference, held=False, actor=actor)

    def change_erased(self, reference: str, changes: Mapping[str, object]) -> None:
        """Set fields of a manifest's content: what an erasure changes of a set. Raises: NotFoundError, UsageError."""
        with self._database.write() as connection:
            found = _find(connection, reference)
            this_one = (manifests.c.name == found.name) & (manifests.c.number == found.number)
            connection.execute(update(manifests).where(this_one).values(content={**found.content, **changes}))

    def _set_held(self, reference: str, *, held: bool, actor: str | None) -> StoredManifest:
        with self._database.write() as connection:
            found = _find(connection, reference)
            this_one = (manifests.c.name == found.name) & (manifests.c.number == found.number)
            connection.execute(update(manifests).where(this_one).values(held=held))
            record_audit(
                connection,
                actor=name_actor(actor),
                action="hold" if held else "release",
                detail={"training_set": found.reference, "was_held": found.held},
            )
            return _find(connection, found.reference)


def _saved(connection: Connection) -> list[tuple[str, int]]:
    return sorted((row.name, row.number) for row in connection.execute(select(manifests.c.name, manifests.c.number)))


def _find(connection: Connection, reference: str) -> StoredManifest:
    name, at, number = reference.partition("@")
    if at and not _NUMBER.fullmatch(number):
        raise UsageError(f"{reference!r} is not a training set; write name or name@number")
    numbers = list(connection.scalars(select(manifests.c.number).where(manifests.c.name == name)))
    if numbers and (not at or int(number) in numbers):
        return _read(connection, name, int(number) if at else max(numbers))
    if numbers:
        raise NotFoundError(f"no training set {reference!r}; the latest of that name is {name}@{max(numbers)}")
    known = connection.scalars(select(manifests.c.name).distinct())
    raise NotFoundError.of("training set", name, known, hint="none is saved: `features training-set` makes one")


def _read(connection: Connection, name: str, number: int) -> StoredManifest:
    this_one = (manifests.c.name == name) & (manifests.c.number == number)
    try:
        row = connection.execute(select(manifests).where(this_one)).one()
        if not isinstance(row.content, Mapping):
            raise TypeError(f"content is {row.content!r:.40}")
    except (ValueError, TypeError, OverflowError) as exc:
        raise RegistryError(
            f"the registry's entry of {name}@{number} was damaged ({exc}); restore it from a backup of the registry, "
            "or save the set again"
        ) from exc
    return StoredManifest(
        name=row.name, number=row.number, content=row.content, held=row.held, created_at=row.created_at
    )
