"""The tables as queries name them. The migrations make them; a test compares the two."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Dialect, MetaData, Table, Text
from sqlalchemy.types import TypeDecorator

from features.core.canonical import canonical
from features.core.times import from_micros, to_micros


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as int64 microseconds since 1970 UTC: SQLite has no zones, and floats are not exact."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """From the database, in UTC."""
        return None if value is None else from_micros(value)


class Json(TypeDecorator[Any]):
    """Plain values as canonical JSON text: equal content, equal text, in every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else canonical(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From the database."""
        return None if value is None else json.loads(value)


def _key(name: str, kind: type[Text] | type[BigInteger] | type[Instant] = Text) -> Column[Any]:
    return Column(name, kind, primary_key=True)


_METADATA = MetaData()

schema_version = Table(
    "schema_version", _METADATA, _key("version", BigInteger), Column("applied_at", Instant, nullable=False)
)

definitions = Table(
    "definitions",
    _METADATA,
    _key("kind"),
    _key("name"),
    Column("current_version", BigInteger, nullable=False),
    Column("removed_at", Instant),
)

definition_versions = Table(
    "definition_versions",
    _METADATA,
    _key("kind"),
    _key("name"),
    _key("version", BigInteger),
    Column("hash", Text, nullable=False),
    Column("content", Json, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
)

runs = Table(
    "runs",
    _METADATA,
    _key("run_id"),
    Column("kind", Text, nullable=False),
    Column("view", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("range_start", Instant),
    Column("range_end", Instant),
    Column("nominal_now", Instant, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("log_position", BigInteger),
    Column("delta_version", BigInteger),
    Column("committed_at", Instant),
    Column("counts", Json, nullable=False),
    Column("upstreams", Json),
    Column("process", Text),
)

ledger = Table(
    "ledger",
    _METADATA,
    _key("view"),
    _key("version", BigInteger),
    _key("interval_start", Instant),
    _key("interval_end", Instant),
    Column("status", Text, nullable=False),
    Column("built", Boolean, nullable=False),
    Column("stale", Boolean, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("log_position", BigInteger),
    Column("delta_version", BigInteger),
    Column("run_id", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("fingerprint", Text),
)

commits = Table(
    "commits",
    _METADATA,
    _key("view"),
    _key("version", BigInteger),
    _key("log_position", BigInteger),
    Column("delta_version", BigInteger, nullable=False),
    Column("committed_at", Instant, nullable=False),
    Column("run_id", Text, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    _METADATA,
    _key("view"),
    _key("version", BigInteger),
    _key("target"),
    Column("log_position", BigInteger, nullable=False),
    Column("moved_at", Instant, nullable=False),
)

validation_results = Table(
    "validation_results",
    _METADATA,
    _key("run_id"),
    _key("ordinal", BigInteger),
    Column("content", Json, nullable=False),
)

manifests = Table(
    "manifests",
    _METADATA,
    _key("name"),
    _key("number", BigInteger),
    Column("content", Json, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
)

audit_log = Table(
    "audit_log",
    _METADATA,
    _key("ordinal", BigInteger),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("detail", Json, nullable=False),
)

rollouts = Table(
    "rollouts",
    _METADATA,
    _key("view"),
    Column("live", BigInteger, nullable=False),
    Column("candidate", BigInteger),
    Column("share", BigInteger, nullable=False),
    Column("salt", Text, nullable=False),
    Column("shadow", BigInteger),
    Column("earlier", Json, nullable=False),
)

serving_generation = Table(
    "serving_generation", _METADATA, _key("id", BigInteger), Column("generation", BigInteger, nullable=False)
)

rollout_history = Table(
    "rollout_history",
    _METADATA,
    _key("view"),
    _key("ordinal", BigInteger),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("live", BigInteger, nullable=False),
    Column("candidate", BigInteger),
    Column("share", BigInteger, nullable=False),
    Column("shadow", BigInteger),
    Column("overridden", Json, nullable=False),
)

consumers = Table(
    "consumers",
    _METADATA,
    _key("view"),
    _key("version", BigInteger),
    _key("consumer"),
    Column("last_read_at", Instant, nullable=False),
)

shadow_counts = Table(
    "shadow_counts",
    _METADATA,
    _key("view"),
    _key("live", BigInteger),
    _key("shadow", BigInteger),
    _key("feature"),
    Column("compared", BigInteger, nullable=False),
    Column("different", BigInteger, nullable=False),
    Column("missing", BigInteger, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
)

source_schemas = Table(
    "source_schemas",
    _METADATA,
    _key("view"),
    _key("version", BigInteger),
    _key("source"),
    _key("since", Instant),
    Column("columns", Json),
    Column("found", Json),
    Column("run_id", Text, nullable=False),
    Column("recorded_at", Instant, nullable=False),
)

TABLES = tuple(_METADATA.sorted_tables)
