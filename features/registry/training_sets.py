"""Manifests of training sets, numbered per name, and the holds on them."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from features.errors import NotFoundError, UsageError
from features.registry.audit import Part, name_actor, record_audit
from features.registry.clock import utc_now
from features.registry.records import StoredManifest
from features.registry.schema import manifests

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


class TrainingSets(Part):
    """What pins each saved training set."""

    def save_manifest(self, name: str, content: Mapping[str, object], *, hold: bool) -> int:
        """Keep a manifest for ever; its number: 1 for the first of a name, then one more each.

        Args:
            name: letters, digits and `. _ -`, the first a letter or a digit.
            content: plain JSON values.
            hold: whether retention and drops must spare what it needs, until it is released.

        Raises: UsageError: the name has other characters.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name a training set; use letters, digits and . _ -, the first a letter or a digit"
            )
        with self._database.write() as connection:
            number = (connection.scalar(select(func.max(manifests.c.number)).where(manifests.c.name == name)) or 0) + 1
            connection.execute(
                insert(manifests).values(
                    name=name, number=number, content=dict(content), held=hold, created_at=utc_now()
                )
            )
        return number

    def manifest(self, reference: str) -> StoredManifest:
        """A manifest by `name@number`, or the latest by `name`. Raises: NotFoundError, UsageError."""
        with self._database.read() as connection:
            return _find(connection, reference)

    def manifests(self) -> tuple[StoredManifest, ...]:
        """All manifests, by name and number."""
        with self._database.read() as connection:
            found = [_manifest(row) for row in connection.execute(select(manifests))]
        return tuple(sorted(found, key=lambda manifest: (manifest.name, manifest.number)))

    def hold(self, reference: str, *, actor: str | None = None) -> StoredManifest:
        """Protect what a manifest needs from retention and drops. Raises: NotFoundError, UsageError."""
        return self._set_held(reference, held=True, actor=actor)

    def release(self, reference: str, *, actor: str | None = None) -> StoredManifest:
        """End the protection. Raises: NotFoundError, UsageError."""
        return self._set_held(reference, held=False, actor=actor)

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


def _find(connection: Connection, reference: str) -> StoredManifest:
    name, at, number = reference.partition("@")
    if at and not _NUMBER.fullmatch(number):
        raise UsageError(f"{reference!r} is not a training set; write name or name@number")
    query = select(manifests).where(manifests.c.name == name).order_by(manifests.c.number.desc()).limit(1)
    row = connection.execute(query.where(manifests.c.number == int(number)) if at else query).one_or_none()
    if row is not None:
        return _manifest(row)
    numbers = list(connection.scalars(select(manifests.c.number).where(manifests.c.name == name)))
    if numbers:
        raise NotFoundError(f"no training set {reference!r}; the latest of that name is {name}@{max(numbers)}")
    known = connection.scalars(select(manifests.c.name).distinct())
    raise NotFoundError.of("training set", name, known, hint="none is saved: `features training-set` makes one")


def _manifest(row: Row[Any]) -> StoredManifest:
    return StoredManifest(
        name=row.name, number=row.number, content=row.content, held=row.held, created_at=row.created_at
    )
