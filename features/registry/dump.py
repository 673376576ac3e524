"""The whole registry as lines of JSON, and back: neutral to the database, and to the release that made it.

The first line holds the schema's version, each other one a row. Values are as SQL has them: int64, text, booleans.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    MetaData,
    Table,
    column,
    delete,
    func,
    insert,
    inspect,
    select,
    table,
)
from sqlalchemy.schema import DropTable

from features.core.applied import AppliedView
from features.core.canonical import canonical
from features.errors import RegistryError
from features.registry.audit import Part, name_actor, record_audit
from features.registry.clock import utc_now
from features.registry.migration import advance, check_not_newer, newest, read_version
from features.registry.records import RestoredLog
from features.registry.schema import (
    TABLES,
    audit_log,
    checkpoints,
    commits,
    definitions,
    manifests,
    runs,
    schema_version,
)

FORMAT = 1
_BATCH = 1_000
_RESTORE = "restore"

Row = dict[str, Any]


class Dumps(Part):
    """The registry as a whole."""

    def dump(self) -> Iterator[str]:
        """The lines of one state of the registry: all that was committed when the first is read."""
        with self._database.read() as connection:
            yield json.dumps({"format": FORMAT, "schema": read_version(connection)})
            found = inspect(connection)
            for name in _filled(connection):
                columns = {c["name"]: isinstance(c["type"], Boolean) for c in found.get_columns(name)}
                query = select(table(name, *(column(c) for c in columns)))
                for row in connection.execution_options(yield_per=_BATCH).execute(query).mappings():
                    # SQLite's booleans are numbers.
                    values = {c: bool(row[c]) if flag and row[c] is not None else row[c] for c, flag in columns.items()}
                    yield json.dumps({"table": name, "row": values}, ensure_ascii=False)

    def check_empty(self) -> None:
        """That nothing was ever applied, run or saved here. Raises: RegistryError: something was."""
        with self._database.read() as connection:
            _check_empty(connection)

    def restore_dump(
        self, lines: Iterable[str], *, relocate: Callable[[Row], Row], logs: Sequence[RestoredLog], backup: str
    ) -> None:
        """Fill an empty registry with what `dump` gave, and bring it forward to this code's schema: all or nothing.

        Nothing counts as loaded then: what an online store holds is not known. Runs that were under way have failed.

        Args:
            lines: of a dump of this or an earlier release.
            relocate: makes of a manifest's content one for the warehouse that its files are in now.
            logs: where the logs go on.
            backup: what this is a restore of, for the audit log.

        Raises: RegistryError: the registry holds something, or the dump is damaged or newer than this code.
        """
        with self._database.write() as connection:
            _fill(connection, lines, partial(_change, relocate=relocate))
            for log in logs:
                _record_restored(connection, log)
            detail = {"backup": backup, "positions": {log.view: log.position for log in logs}}
            record_audit(connection, actor=name_actor(None), action="restore", detail=detail)

    def copy_dump(self, lines: Iterable[str]) -> None:
        """Fill an empty registry with what `dump` gave, and bring it forward; all else as of `restore_dump`."""
        with self._database.write() as connection:
            _fill(connection, lines, lambda _, row: row)

    def restored_position(self, view: AppliedView) -> int:
        """The position from which a log goes on that was brought back from a backup, the last time; else 0.

        What was loaded before it says nothing of what is online: the first load after it is a full one.
        """
        restored = (runs.c.kind == _RESTORE) & (runs.c.view == view.name) & (runs.c.version == view.version)
        with self._database.read() as connection:
            return connection.scalar(select(func.max(runs.c.log_position)).where(restored)) or 0


def _fill(connection: Connection, lines: Iterable[str], change: Callable[[str, Row], Row]) -> None:
    rows = _parse(lines)
    _, header = next(rows, ("", {}))
    if header.get("format") != FORMAT:
        raise RegistryError("this is no dump of a registry that this release can read; upgrade, or check the file")
    check_not_newer(header["schema"], where="the dump")
    _check_empty(connection)
    _begin_at(connection, header["schema"])
    for name, batch in _batches((name, change(name, row)) for name, row in rows):
        connection.execute(insert(table(name, *(column(c) for c in batch[0]))), batch)
    advance(connection, to=newest())


def _check_empty(connection: Connection) -> None:
    counts = {
        t.name: connection.scalar(select(func.count()).select_from(t))
        for t in (definitions, runs, manifests, audit_log)
    }
    held = [f"{count} {name}" for name, count in counts.items() if count]
    if held:
        raise RegistryError(f"the registry is not empty: it holds {', '.join(held)}; restore into an empty one")


def _change(name: str, row: Row, *, relocate: Callable[[Row], Row]) -> Row:
    """A row of a dump as it is kept."""
    if name == checkpoints.name:
        return {**row, "log_position": 0}
    if name == runs.name and row["status"] == "running":
        return {**row, "status": "failed", "message": "it was under way when the backup was made"}
    if name == manifests.name:
        return {**row, "content": canonical(relocate(json.loads(row["content"])))}
    return row


def _record_restored(connection: Connection, log: RestoredLog) -> None:
    view, _, version = log.view.partition("@")
    of = {"view": view, "version": int(version), "log_position": log.position, "delta_version": log.delta_version}
    now = utc_now()
    times = {"nominal_now": now, "started_at": now, "finished_at": now, "committed_at": log.committed_at}
    told = {"run_id": log.run_id, "kind": _RESTORE, "status": "built", "message": "", "counts": {}}
    connection.execute(insert(runs).values(**of, **times, **told))
    # Of a log that holds more than its registry knew, the next build tells of this commit with the others.
    if log.is_told:
        connection.execute(insert(commits).values(**of, committed_at=log.committed_at, run_id=log.run_id))


def _begin_at(connection: Connection, version: int) -> None:
    """Make the tables of a version, without a row."""
    if version != read_version(connection):
        for name in (*reversed(_filled(connection)), schema_version.name):
            connection.execute(DropTable(Table(name, MetaData())))
        advance(connection, to=version)
    # Migrations fill some.
    for name in reversed(_filled(connection)):
        connection.execute(delete(table(name)))


def _filled(connection: Connection) -> list[str]:
    """The registry's tables, save that of its schema; those that others refer to come first."""
    ours = {t.name for t in TABLES} - {schema_version.name}
    return [name for name, _ in inspect(connection).get_sorted_table_and_fkc_names() if name in ours]


def _parse(lines: Iterable[str]) -> Iterator[tuple[str, Row]]:
    try:
        for number, line in enumerate(lines):
            content = json.loads(line)
            yield ("", content) if number == 0 else (content["table"], content["row"])
    except (ValueError, KeyError, TypeError) as exc:
        raise RegistryError(f"the dump of the registry is damaged: {exc}; take another backup") from exc


def _batches(rows: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, list[Row]]]:
    """Rows of one table together."""
    current: str = ""
    batch: list[Row] = []
    for name, row in rows:
        if batch and (name != current or len(batch) == _BATCH):
            yield current, batch
            batch = []
        current = name
        batch.append(row)
    if batch:
        yield current, batch
