"""Databases as sources, through JDBC: an interval's rows are chosen there, and read once.

Of PostgreSQL, instants travel as microseconds: a driver would give them in the zone of its JVM, where an hour of some
nights does not exist. Bounds are part of the query, with their offset, so that no session's zone can shift them.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from features.config import ConnectionSettings
from features.core.sources import JdbcSource
from features.engine.sources.opened import Opened, quoted, tell_causes
from features.engine.sources.times import naive_times
from features.errors import NotFoundError, SourceError
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader, SparkSession

_POSTGRESQL = "jdbc:postgresql:"
_DRIVERS = {_POSTGRESQL: "org.postgresql.Driver"}
_ROWS_PER_FETCH = "10000"
# By so much, at most, clocks have been put back at once since 1970.
_CLOCKS_BACK = timedelta(hours=4)
# The first and the last microsecond that Spark shows: what PostgreSQL has beyond them is taken for them.
_LAST_MICROS, _FIRST_MICROS = 253_402_300_799_999_999, -62_135_596_800_000_000
_WHOLE_KINDS = ("tinyint", "smallint", "int", "bigint", "decimal(20,0)")


def open_jdbc(spark: "SparkSession", source: JdbcSource, connections: Mapping[str, ConnectionSettings]) -> Opened:
    """A table or query of a database; its columns are asked for here, and rows when they are fetched.

    Raises: SourceError: no such connection, the database cannot be reached, or there is no such table.
    """
    if source.connection not in connections:
        missing = NotFoundError.of("connection", source.connection, connections, hint="conf has none")
        raise SourceError(f"source {source.name!r}: {missing}; add it to `connections` in conf")
    database = _Database(spark, source, connections[source.connection])
    columns = database.columns()
    return Opened(columns=columns, fetch=lambda since, until: database.rows(columns, since, until))


class _Database:
    def __init__(self, spark: "SparkSession", source: JdbcSource, settings: ConnectionSettings) -> None:
        self._spark = spark
        self._source = source
        self._settings = settings
        self._is_postgresql = settings.url.startswith(_POSTGRESQL)
        secret = settings.password(source.connection)
        self._secret = None if secret is None else secret.get_secret_value()

    @property
    def _origin(self) -> str:
        return f"({self._source.query}\n) query" if self._source.table is None else self._source.table

    def columns(self) -> dict[str, str]:
        """Column to Spark type."""
        try:
            return dict(self._reader(f"(SELECT * FROM {self._origin}) source").load().dtypes)
        except spark_errors() as exc:
            raise self._failure(exc) from None

    def rows(self, columns: Mapping[str, str], since: datetime, until: datetime) -> "DataFrame":
        """The rows of a range, in Spark's own storage: the database is asked once, in one statement for each task."""
        for field in self._source.time_fields:
            if field not in columns:
                raise SourceError(f"source {self._source.name!r}: {NotFoundError.of('column', field, columns)}")
        try:
            return self._read(columns, since, until).localCheckpoint(eager=True)
        except spark_errors() as exc:
            raise self._failure(exc) from None

    def _read(self, columns: Mapping[str, str], since: datetime, until: datetime) -> "DataFrame":
        if not self._is_postgresql:
            whole = f"SELECT * FROM {self._origin}"
            return self._split(self._reader(f"({whole}) source"), columns, whole).load()
        chosen = f"SELECT {', '.join(self._selected(columns))} FROM {self._origin}"
        chosen += f" WHERE {_within(self._source, columns, since, until)}"
        frame = self._split(self._reader(f"({chosen}) source"), columns, chosen).load()
        return frame.selectExpr(*(_restored(name, kind) for name, kind in columns.items()))

    def _selected(self, columns: Mapping[str, str]) -> Iterator[str]:
        for name, kind in columns.items():
            column = _sql(name)
            if kind not in ("timestamp", "timestamp_ntz"):
                yield column
                continue
            micros, known = f"EXTRACT(EPOCH FROM {column}) * 1000000", f"{column} IS NOT NULL"
            if name in self._source.time_fields:
                # An infinite time of a row is none.
                known = f"isfinite({column})"
            else:
                micros = f"GREATEST(LEAST({micros}, {_LAST_MICROS}), {_FIRST_MICROS})"
            yield f"CASE WHEN {known} THEN CAST({micros} AS BIGINT) END AS {column}"

    def _split(self, reader: "DataFrameReader", columns: Mapping[str, str], chosen: str) -> "DataFrameReader":
        """Read in parallel, by ranges of the partition column."""
        source = self._source
        if source.partition_column is None:
            return reader
        kind = columns.get(source.partition_column)
        if kind not in _WHOLE_KINDS:
            raise SourceError(
                f"source {source.name!r}: partition_column {source.partition_column!r} is {kind or 'not there'}; "
                "name a column of whole numbers"
            )
        column = _sql(source.partition_column)
        bounds: Any = (
            self._reader(f"(SELECT MIN({column}) AS low, MAX({column}) AS high FROM ({chosen}) chosen) bounds")
            .load()
            .first()
        )
        if bounds[0] is None:
            return reader
        return (
            reader.option("partitionColumn", source.partition_column)
            .option("lowerBound", str(int(bounds[0])))
            .option("upperBound", str(int(bounds[1]) + 1))
            .option("numPartitions", source.num_partitions)
        )

    def _reader(self, table: str) -> "DataFrameReader":
        settings = self._settings
        options = {"fetchsize": _ROWS_PER_FETCH, **settings.options, "preferTimestampNTZ": "true", "dbtable": table}
        # What Spark pushes down by itself it writes in its own zone, and the database reads it in another.
        options |= {"url": settings.url, "pushDownPredicate": "false"}
        driver = settings.driver or next((d for url, d in _DRIVERS.items() if settings.url.startswith(url)), None)
        optional = {"driver": driver, "user": settings.username, "password": self._secret}
        options |= {key: value for key, value in optional.items() if value is not None}
        return self._spark.read.format("jdbc").options(**options)

    def _failure(self, exc: Exception) -> SourceError:
        """What the database said, without a secret. Not chained: its error may hold the connection's properties."""
        causes = tell_causes(exc)
        told = re.findall(r"(?:SQLException|PSQLException): (.+)", causes)
        said = told[-1] if told else first_line(exc)
        if self._secret:
            said = said.replace(self._secret, "***")
        hint = "check that it is up, and its url, username and password in conf"
        if "ClassNotFoundException" in causes or "No suitable driver" in causes:
            hint = "run `make setup`, or name the driver's jar in conf: spark.conf, spark.jars"
        elif any(sign in causes for sign in ("does not exist", "syntax error", "permission denied")):
            hint = "repair table= or query=, or grant what is missing"
        where = f"connection {self._source.connection!r} ({self._settings.url})"
        return SourceError(f"source {self._source.name!r} cannot be read through {where}: {said}; {hint}")


def _within(source: JdbcSource, columns: Mapping[str, str], since: datetime, until: datetime) -> str:
    """The condition of rows available in [since, until), in SQL; of naive times, of a few hours around it.

    Where null times are refused, rows with one travel too.
    """
    fields = source.time_fields
    lows = [_bound(source, field, columns[field], since, lower=True) for field in fields]
    highs = [_bound(source, field, columns[field], until, lower=False) for field in fields]
    known = " AND ".join(high for high in highs if high) or "TRUE"
    late = " OR ".join(low for low in lows) if all(lows) else "TRUE"
    within = f"({known} AND ({late}))"
    if source.null_timestamp == "refuse":
        return " OR ".join([within, *(f"{_sql(field)} IS NULL" for field in fields)])
    return within


def _bound(source: JdbcSource, field: str, kind: str, moment: datetime, *, lower: bool) -> str:
    """That a column is at or after a moment, or before it; empty where that is before or after all times."""
    comparison = ">=" if lower else "<"
    if kind == "timestamp":
        return f"{_sql(field)} {comparison} TIMESTAMP WITH TIME ZONE '{moment.isoformat(sep=' ')}'"
    if kind not in ("timestamp_ntz", "date"):
        raise SourceError(
            f"source {source.name!r}: column {field!r} is {kind}; its times must be timestamps or dates: "
            "cast it in query="
        )
    if source.timezone is None:
        raise naive_times(source, field, kind)
    try:
        local = moment.astimezone(ZoneInfo(source.timezone)).replace(tzinfo=None)
        local = local - _CLOCKS_BACK if lower else local + _CLOCKS_BACK
    except OverflowError:
        return ""
    if kind == "date":
        return f"{_sql(field)} {'>=' if lower else '<='} DATE '{local.date().isoformat()}'"
    return f"{_sql(field)} {comparison} TIMESTAMP '{local.isoformat(sep=' ')}'"


def _restored(name: str, kind: str) -> str:
    """Microseconds as the type that they were of. Without a cast between zones: the session's has no say."""
    column = quoted(name)
    if kind == "timestamp":
        return f"timestamp_micros({column}) AS {column}"
    if kind == "timestamp_ntz":
        seconds = f"CAST(CAST({column} AS DECIMAL(20, 0)) / 1000000 AS DECIMAL(18, 6))"
        return f"TIMESTAMP_NTZ'1970-01-01 00:00:00' + make_dt_interval(0, 0, 0, {seconds}) AS {column}"
    return column


def _sql(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
