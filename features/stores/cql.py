"""The text of every CQL statement that the feature store sends. Pure functions: nothing here knows a driver.

One table per view version: the join keys together are the partition key, then one column per feature and the two row
times. All identifiers are quoted.
"""

from collections.abc import Iterable, Sequence

from features.core.applied import AppliedView
from features.core.dtypes import DType

EVENT = "event_timestamp"
CREATED = "created_timestamp"


def write_timestamp(position: int) -> int:
    """The write timestamp of everything that a load writes at a log position: the position itself.

    Cassandra keeps the cell with the greatest write timestamp, so a load of an older position never overwrites a newer
    one, whenever it runs. Taken as it is, `SELECT WRITETIME(event_timestamp)` tells which commit a row comes from. The
    reverse side: a statement sent by hand carries the wall clock, which is greater than any position and would win over
    every later load.
    """
    return position


def table_columns(view: AppliedView) -> dict[str, str]:
    """Column to CQL type, in the order in which rows are written: join keys, event and created time, features."""
    keys = {key: dtype.cql for key, dtype in view.join_keys.items()}
    times = {EVENT: DType.TIMESTAMP.cql, CREATED: DType.TIMESTAMP.cql}
    return keys | times | {feature.name: feature.dtype.cql for feature in view.features}


def create_keyspace(keyspace: str, *, datacenter: str, replication: int) -> str:
    """The statement that makes a keyspace with that many replicas in one datacenter."""
    replicas = f"{{'class': 'NetworkTopologyStrategy', {_literal(datacenter)}: {replication}}}"
    return f"CREATE KEYSPACE IF NOT EXISTS {_quote(keyspace)} WITH replication = {replicas}"


def create_table(keyspace: str, view: AppliedView) -> str:
    """The statement that makes a view version's table."""
    columns = ", ".join(f"{_quote(name)} {cql}" for name, cql in table_columns(view).items())
    # Loads overwrite most keys again and again: levels keep one copy of a row on disk, and what has just arrived.
    compaction = "{'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'L4'}"
    # A read of a row decompresses its whole chunk, and rows are some hundred bytes.
    compression = "{'class': 'LZ4Compressor', 'chunk_length_in_kb': 4}"
    # What 99 of 100 reads take may be seconds where a node has just started: too long to wait for another that hangs.
    speculative_retry = "MIN(99p,100ms)"
    return (
        f"CREATE TABLE IF NOT EXISTS {_table(keyspace, view)} ({columns}, PRIMARY KEY (({_names(view.join_keys)}))) "
        f"WITH comment = {_literal(table_comment(view))} AND compaction = {compaction} "
        f"AND compression = {compression} AND speculative_retry = '{speculative_retry}'"
    )


def table_comment(view: AppliedView) -> str:
    """What `DESCRIBE TABLE` tells of a view: reference, owner, hash, description, and which columns are times."""
    times = [EVENT, CREATED]
    for name, dtype in [*view.join_keys.items(), *((f.name, f.dtype) for f in view.features)]:
        if DType.TIMESTAMP in (dtype, dtype.element):
            times.append(name)
    # Cassandra 5.0 has no column comments.
    return (
        f"{view.reference}, owner {view.owner}, definition {view.definition_hash}: {view.description}; "
        f"times are bigint microseconds since 1970-01-01 UTC: {', '.join(times)}"
    )


def alter_comment(keyspace: str, view: AppliedView) -> str:
    """The statement that brings a table's comment up to date, after a change of the owner or the description."""
    return f"ALTER TABLE {_table(keyspace, view)} WITH comment = {_literal(table_comment(view))}"


def drop_table(keyspace: str, view: AppliedView) -> str:
    """The statement that drops a view version's table, where it is there."""
    return f"DROP TABLE IF EXISTS {_table(keyspace, view)}"


def insert(keyspace: str, view: AppliedView) -> str:
    """The statement that writes a whole row. Binds: the table's columns in order, write timestamp, TTL (0: none)."""
    columns = table_columns(view)
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {_table(keyspace, view)} ({_names(columns)}) VALUES ({marks}) USING TIMESTAMP ? AND TTL ?"


def delete(keyspace: str, view: AppliedView) -> str:
    """The statement that deletes a key's row. Binds: write timestamp, join keys."""
    return f"DELETE FROM {_table(keyspace, view)} USING TIMESTAMP ? WHERE {_key_equals(view)}"


def select(keyspace: str, view: AppliedView, features: Sequence[str]) -> str:
    """The statement that reads one key's event time, created time and features, in that order. Binds: join keys."""
    return f"SELECT {_names([EVENT, CREATED, *features])} FROM {_table(keyspace, view)} WHERE {_key_equals(view)}"


def select_many(keyspace: str, view: AppliedView, features: Sequence[str]) -> str | None:
    """The statement that reads many keys' rows, each behind its join key, then as `select`. Binds: the list of keys.

    None where a view has several join keys: CQL has no list of partition keys of many columns.
    """
    if len(view.join_keys) > 1:
        return None
    (key,) = view.join_keys
    columns = _names([key, EVENT, CREATED, *features])
    return f"SELECT {columns} FROM {_table(keyspace, view)} WHERE {_quote(key)} IN ?"


def select_keys(keyspace: str, view: AppliedView) -> str:
    """The statement that reads the join keys and write timestamps of a token range (a, b]. Binds: a, b."""
    keys = _names(view.join_keys)
    return (
        f"SELECT {keys}, WRITETIME({_quote(EVENT)}) FROM {_table(keyspace, view)} "
        f"WHERE token({keys}) > ? AND token({keys}) <= ?"
    )


LIST_ROLES = "LIST ROLES"


def create_role(role: str) -> str:
    """The statement that makes a role that cannot log in yet."""
    return f"CREATE ROLE IF NOT EXISTS {_quote(role)} WITH LOGIN = false AND SUPERUSER = false"


def alter_login(role: str, password: str) -> str:
    """The statement that lets a role log in with this password. It holds the password: never log it."""
    return f"ALTER ROLE {_quote(role)} WITH PASSWORD = {_literal(password)} AND LOGIN = true"


def list_permissions(keyspace: str, role: str) -> str:
    """The statement that lists what a role was itself granted on a keyspace, not on its tables or all keyspaces."""
    return f"LIST ALL PERMISSIONS ON KEYSPACE {_quote(keyspace)} OF {_quote(role)} NORECURSIVE"


def grant(permission: str, keyspace: str, role: str) -> str:
    """The statement that lets a role do something in a keyspace, in tables that are still to be made too."""
    return f"GRANT {permission} ON KEYSPACE {_quote(keyspace)} TO {_quote(role)}"


def revoke(permission: str, keyspace: str, role: str) -> str:
    """The statement that takes it back."""
    return f"REVOKE {permission} ON KEYSPACE {_quote(keyspace)} FROM {_quote(role)}"


def _table(keyspace: str, view: AppliedView) -> str:
    return f"{_quote(keyspace)}.{_quote(view.online_table)}"


def _key_equals(view: AppliedView) -> str:
    return " AND ".join(f"{_quote(key)} = ?" for key in view.join_keys)


def _names(columns: Iterable[str]) -> str:
    return ", ".join(map(_quote, columns))


def _quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
