"""Requests to erase an entity's rows: what is to be erased, until it is, and what was done where, for good."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Row, Text, insert, select, tuple_, type_coerce, update

from features.core.applied import AppliedView
from features.errors import NotFoundError, RefusedError, RegistryError
from features.registry.audit import Part, name_actor, record_audit
from features.registry.clock import utc_now
from features.registry.records import Erasure
from features.registry.schema import audit_log, checkpoints, erasures, runs, validation_results

# Where `progress` tells the Delta version that an erasure made of each log, by the view's reference.
ERASED_VERSIONS = "delta_versions"


class Erasures(Part):
    """Who had what erased, when, and how far that has come. Keys are held until the erasure is done, and no longer."""

    def request_erasure(
        self, *, entity: str, columns: Sequence[str], keys: Sequence[Sequence[str]], actor: str | None = None
    ) -> Erasure:
        """Record a request; it stays open until `finish_erasure`.

        Raises: RefusedError: another one is open: two at once could undo each other's changes of saved files.
        """
        erasure_id = uuid4().hex[:12]
        by = name_actor(actor)
        with self._database.write() as connection:
            other = connection.scalar(select(erasures.c.erasure_id).where(erasures.c.finished_at.is_(None)))
            if other is not None:
                raise RefusedError(
                    f"erasure {other} has not ended: wait for it or, if it was killed, run "
                    f"`features erase --resume {other}`; nothing was erased"
                )
            connection.execute(
                insert(erasures).values(
                    erasure_id=erasure_id,
                    entity=entity,
                    key_columns=list(columns),
                    key_count=len(keys),
                    key_values=[list(key) for key in keys],
                    state="open",
                    actor=by,
                    requested_at=utc_now(),
                    progress={},
                )
            )
            detail = {"erasure": erasure_id, "entity": entity, "keys": len(keys)}
            record_audit(connection, actor=by, action="request erasure", detail=detail)
            return _find(connection, erasure_id)

    def erasure(self, erasure_id: str) -> Erasure:
        """An erasure. Raises: NotFoundError."""
        with self._database.read() as connection:
            return _find(connection, erasure_id)

    def erasures(self) -> tuple[Erasure, ...]:
        """All erasures, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(erasures).order_by(erasures.c.requested_at.desc()))
            return tuple(map(_erasure, rows))

    def record_erasure(self, erasure_id: str, progress: Mapping[str, Any]) -> None:
        """Record how far an erasure has come; `progress` holds no key."""
        with self._database.write() as connection:
            this_one = erasures.c.erasure_id == erasure_id
            connection.execute(update(erasures).where(this_one).values(progress=dict(progress)))

    def finish_erasure(self, erasure_id: str, progress: Mapping[str, Any], *, actor: str | None = None) -> None:
        """Record that an erasure is done, and forget its keys."""
        with self._database.write() as connection:
            found = _find(connection, erasure_id)
            done = {"state": "done", "key_values": None, "finished_at": utc_now(), "progress": dict(progress)}
            connection.execute(update(erasures).where(erasures.c.erasure_id == erasure_id).values(done))
            detail = {"erasure": erasure_id, "entity": found.entity, "keys": found.count, **progress}
            record_audit(connection, actor=name_actor(actor), action="erase", detail=detail)

    def load_targets(self) -> dict[str, tuple[str, ...]]:
        """View version, as `name@version`, to the online stores that it was loaded into, sorted."""
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            for row in connection.execute(select(checkpoints).order_by(checkpoints.c.target)):
                found.setdefault(f"{row.view}@{row.version}", []).append(row.target)
        return {reference: tuple(targets) for reference, targets in found.items()}

    def scrub_runs(self, views: Collection[AppliedView], scrub: Callable[[str], str]) -> int:
        """Change the texts that runs of these versions left; how many were changed.

        They are messages, what the gate said, and the keys that the audit log names of released and dropped rows.

        Args:
            views: versions.
            scrub: a text without what is to go; the same one where nothing is.
        """
        chosen = tuple_(runs.c.view, runs.c.version).in_([(view.name, view.version) for view in views])
        references = {view.reference for view in views}
        changed = 0
        with self._database.write() as connection:
            told = select(runs.c.run_id, runs.c.message).where(chosen, runs.c.message != "")
            for row in connection.execute(told).all():
                text = scrub(row.message)
                if text != row.message:
                    changed += 1
                    connection.execute(update(runs).where(runs.c.run_id == row.run_id).values(message=text))
            # Results of rules that held name no keys.
            names_some = _names_keys(validation_results.c.content)
            judged = select(validation_results).join(runs, runs.c.run_id == validation_results.c.run_id)
            for row in connection.execute(judged.where(chosen, names_some)).all():
                content = _each_text(row.content, scrub)
                if content != row.content:
                    changed += 1
                    same = validation_results.c.run_id == row.run_id
                    this_one = same & (validation_results.c.ordinal == row.ordinal)
                    connection.execute(update(validation_results).where(this_one).values(content=content))
            for row in connection.execute(select(audit_log).where(_names_keys(audit_log.c.detail))).all():
                detail = _each_text(row.detail, scrub) if row.detail.get("view") in references else row.detail
                if detail != row.detail:
                    changed += 1
                    this_one = audit_log.c.ordinal == row.ordinal
                    connection.execute(update(audit_log).where(this_one).values(detail=detail))
        return changed


def check_unerased(connection: Connection, content: Mapping[str, Any]) -> None:
    """That a set about to be saved was not read from a log as it was before an erasure.

    Raises: RegistryError: it was, and so may hold what was erased.
    """
    read = {v.get("view"): v.get("delta_version") for v in content.get("views", ()) if isinstance(v, Mapping)}
    for row in connection.execute(select(erasures.c.erasure_id, erasures.c.progress)):
        for view, version in row.progress.get(ERASED_VERSIONS, {}).items():
            if read.get(view) is not None and read[view] < version:
                raise RegistryError(
                    f"erasure {row.erasure_id} removed rows of {view} while the set was made of them; save it again"
                )


def _names_keys(content: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether canonical JSON holds keys as texts."""
    return type_coerce(content, Text).like('%"keys":["%')


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(item, change) for item in value]
    if isinstance(value, dict):
        return {name: _each_text(item, change) for name, item in value.items()}
    return value


def _find(connection: Connection, erasure_id: str) -> Erasure:
    row = connection.execute(select(erasures).where(erasures.c.erasure_id == erasure_id)).one_or_none()
    if row is None:
        known = connection.scalars(select(erasures.c.erasure_id))
        raise NotFoundError.of("erasure", erasure_id, known, hint="none was ever requested")
    return _erasure(row)


def _erasure(row: Row[Any]) -> Erasure:
    return Erasure(
        erasure_id=row.erasure_id,
        entity=row.entity,
        columns=tuple(row.key_columns),
        count=row.key_count,
        keys=tuple(tuple(key) for key in row.key_values or ()),
        actor=row.actor,
        requested_at=row.requested_at,
        finished_at=row.finished_at,
        progress=row.progress,
    )
