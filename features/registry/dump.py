"""The whole registry as lines of JSON, and back: neutral to the database, and to the release that made it.

The first line holds the schema's version, each other one a row. Values are as SQL has them: int64, text, booleans.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import Boolean, Connection, MetaData, Table, column, delete, func, insert, inspect, select, table
from sqlalchemy.schema import DropTable

from features.errors import RegistryError
from features.registry.audit import Part
from features.registry.migration import advance, check_not_newer, newest, read_version
from features.registry.schema import TABLES, audit_log, definitions, manifests, runs, schema_version

FORMAT = 1
_BATCH = 1_000

Row = dict[str, Any]
# What becomes of a row on its way back, by its table.
Change = Callable[[str, Row], Row]


class Dumps(Part):
    """The registry as a whole."""

    def dump(self) -> Iterator[str]:
        """The lines of one state of the registry: all that was committed when the first is read."""
        with self._database.read() as connection:
            yield json.dumps({"format": FORMAT, "schema": read_version(connection)})
            found = inspect(connection)
            for name in _filled(connection):
                columns = {c["name"]: isinstance(c["type"], Boolean) for c in found.get_columns(name)}
                query = select(*(column(c) for c in columns)).select_from(table(name))
                for row in connection.execution_options(yield_per=_BATCH).execute(query).mappings():
                    # SQLite's booleans are numbers.
                    values = {c: bool(row[c]) if flag and row[c] is not None else row[c] for c, flag in columns.items()}
                    yield json.dumps({"table": name, "row": values}, ensure_ascii=False)

    def check_empty(self) -> None:
        """That nothing was ever applied, run or saved here. Raises: RegistryError: something was."""
        with self._database.read() as connection:
            _check_empty(connection)

    def restore(self, lines: Iterable[str], *, change: Change, then: Callable[[Connection], None]) -> None:
        """Fill an empty registry with what `dump` gave, and bring it forward to this code's schema: all or nothing.

        Args:
            lines: of a dump of this or an earlier release.
            change: makes of each row, as the release of the dump knew it, what is kept.
            then: what else is written in the same transaction.

        Raises: RegistryError: the registry holds something, or the dump is damaged or newer than this code.
        """
        rows = _parse(lines)
        _, header = next(rows, ("", {}))
        if header.get("format") != FORMAT:
            raise RegistryError("this is no dump of a registry that this release can read; upgrade, or check the file")
        check_not_newer(header["schema"], where="the dump")
        with self._database.write() as connection:
            _check_empty(connection)
            _begin_at(connection, header["schema"])
            for name, batch in _batches((name, change(name, row)) for name, row in rows):
                connection.execute(insert(table(name, *(column(c) for c in batch[0]))), batch)
            advance(connection, to=newest())
            then(connection)


def _check_empty(connection: Connection) -> None:
    counts = {t.name: connection.scalar(select(func.count()).select_from(t)) for t in (definitions, runs, manifests, audit_log)}
    held = [f"{count} {name}" for name, count in counts.items() if count]
    if held:
        raise RegistryError(
            f"the registry is not empty: it holds {', '.join(held)}; restore into a registry and a warehouse of their own"
        )


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
    current, batch = "", []
    for name, row in rows:
        if batch and (name != current or len(batch) == _BATCH):
            yield current, batch
            batch = []
        current = name
        batch.append(row)
    if batch:
        yield current, batch
