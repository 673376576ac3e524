"""A real PostgreSQL as a source: what travels, which instants come out, and what a wrong connection is told."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import URL

from features import Check
from features.cli.source_checks import check_sources
from features.config import ConnectionSettings, Settings
from features.core.sources import JdbcSource
from features.engine.source import read_source
from features.errors import RefusedError, SourceError, TimeError
from features.functions import F
from features.materialization.build import Builder
from tests.builders import Workshop, at, make_view, passes_on
from tests.postgresql import execute, free_port, run_postgresql

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.spark]

DAY1, DAY2, DAY3, DAY4 = "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"
SETUP = """
CREATE SCHEMA shop;
CREATE TABLE shop.payments (id INT PRIMARY KEY, customer TEXT, paid_at TIMESTAMPTZ, seen_at TIMESTAMPTZ,
  "Local" TIMESTAMP, amount FLOAT8);
INSERT INTO shop.payments SELECT i, 'c' || i % 5, TIMESTAMPTZ '2024-01-01+00' + i * INTERVAL '1 hour',
  TIMESTAMPTZ '2024-01-01+00' + i * INTERVAL '1 hour' + INTERVAL '1 minute',
  TIMESTAMP '2024-01-01' + i * INTERVAL '1 hour', i
  FROM generate_series(0, 95) i;
INSERT INTO shop.payments VALUES (100, 'edge', '2024-01-02 23:59:59.999999+00', '2024-01-02 23:59:59.999999+00',
  NULL, 1), (101, 'late', '2023-12-25 12:00+00', '2024-01-03 12:00+00', NULL, 1),
  (102, 'never', 'infinity', '2024-01-03 12:00+00', 'infinity', 1);
CREATE TABLE shop.kinds (paid_at TIMESTAMPTZ, free NUMERIC, money NUMERIC(12, 2), body JSONB, key UUID, tags TEXT[],
  raw BYTEA, local TIMESTAMP, instant TIMESTAMPTZ, day DATE, none TIMESTAMP);
INSERT INTO shop.kinds VALUES ('2024-01-01 10:00+00', 1.5, 2.25, '{"a": 1}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  '{x,y}', '\\x00ff', 'infinity', '-infinity', '2024-02-29', NULL);
CREATE TABLE shop.clocks (id INT, at TIMESTAMP);
INSERT INTO shop.clocks VALUES (0, '2024-03-31 01:59:59.999999'), (1, '2024-03-31 02:30'), (2, '2024-10-27 02:30'),
  (3, '2024-10-27 03:00');
CREATE TABLE shop.nulls (customer TEXT, paid_at TIMESTAMPTZ, amount FLOAT8);
INSERT INTO shop.nulls VALUES ('a', '2024-01-01 10:00+00', 1), ('b', NULL, 1);
CREATE TABLE shop.nan (paid_at TIMESTAMPTZ, amount NUMERIC);
INSERT INTO shop.nan VALUES ('2024-01-01 10:00+00', 'NaN');
"""


@pytest.fixture(scope="module")
def server() -> Iterator[URL]:
    # Sessions of the database are in a zone of their own.
    with run_postgresql(port=free_port(), settings={"log_statement": "all", "timezone": "Asia/Kolkata"}) as url:
        for statement in SETUP.split(";\n"):
            if statement.strip():
                execute(url, statement)
        yield url


@pytest.fixture
def connections(server: URL, monkeypatch: pytest.MonkeyPatch) -> dict[str, ConnectionSettings]:
    monkeypatch.setenv("ORDERS_PASSWORD", str(server.password))
    url = f"jdbc:postgresql://127.0.0.1:{server.port}/{server.database}"
    return {"orders": ConnectionSettings(url=url, username=server.username, password_env="ORDERS_PASSWORD")}


@pytest.fixture
def workshop(spark: "SparkSession", tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(spark, tmp_path)
    yield made
    made.registry.close()


@pytest.fixture
def other_zones(spark: "SparkSession") -> Iterator[None]:
    """Spark's session and its JVM in zones whose clocks change at different times."""
    zones = spark._jvm.java.util.TimeZone
    before, session = zones.getDefault(), spark.conf.get("spark.sql.session.timeZone")
    zones.setDefault(zones.getTimeZone("Europe/Berlin"))
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    yield
    zones.setDefault(before)
    spark.conf.set("spark.sql.session.timeZone", session)


def payments(**changes: Any) -> JdbcSource:
    given = {"name": "payments", "connection": "orders", "table": "shop.payments", "timestamp_field": "paid_at"}
    return JdbcSource(**{**given, **changes})


def asked(server: URL) -> list[str]:
    """The statements that read the table's rows, as the server logged them."""
    log = (Path(str(server.query["host"])) / "log").read_text()
    return [line for line in log.splitlines() if "SELECT" in line and "shop." in line and "1=0" not in line]


def micros(*times: str) -> list[int]:
    return [(at(time) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for time in times]


@pytest.mark.usefixtures("other_zones")
def test_an_intervals_rows_are_chosen_by_the_database_and_asked_for_once(
    spark: "SparkSession", server: URL, connections: dict[str, ConnectionSettings]
) -> None:
    before = len(asked(server))
    source = payments(null_timestamp="drop")
    frame = read_source(spark, source, at(DAY2), at(DAY3), connections=connections)
    rows = {row["id"] for row in frame.select("id").collect()}
    frame.count()
    assert rows == {*range(24, 48), 100}
    (statement,) = asked(server)[before:]
    travelled = re.search(r"FROM \((SELECT .*)\) source", statement)
    assert travelled is not None
    assert len(execute(server, travelled[1])) == 25
    # By its own time, and with history, in parallel: still no other row.
    late = replace(source, created_timestamp_field="seen_at", partition_column="id", num_partitions=3)
    found = read_source(spark, late, at(DAY3), at(DAY4), connections=connections)
    assert found.rdd.getNumPartitions() == 3
    assert {row["id"] for row in found.select("id").collect()} == {*range(72), 100, 101}


@pytest.mark.usefixtures("other_zones")
def test_naive_times_are_instants_of_the_declared_zone_in_any_session(
    spark: "SparkSession", connections: dict[str, ConnectionSettings]
) -> None:
    source = payments(table="shop.clocks", timestamp_field="at", timezone="Europe/Berlin")
    frame = read_source(spark, source, at("2024-01-01"), at("2025-01-01"), connections=connections)
    found = dict(frame.select("id", F.unix_micros("at")).collect())
    assert [found[i] for i in range(4)] == micros(
        "2024-03-31 00:59:59.999999", "2024-03-31 01:30", "2024-10-27 00:30", "2024-10-27 02:00"
    )
    # To the microsecond at both ends, on the night itself.
    night = read_source(
        spark, source, at("2024-03-31 00:59:59.999999"), at("2024-03-31 01:30"), connections=connections
    )
    assert [row["id"] for row in night.select("id").collect()] == [0]
    with pytest.raises(TimeError, match="naive"):
        read_source(spark, replace(source, timezone=None), at(DAY1), at(DAY2), connections=connections)


@pytest.mark.usefixtures("other_zones")
def test_types_of_postgresql(spark: "SparkSession", connections: dict[str, ConnectionSettings]) -> None:
    frame = read_source(spark, payments(table="shop.kinds"), at(DAY1), at(DAY2), connections=connections)
    assert dict(frame.drop("paid_at", "available_timestamp").dtypes) == {
        "free": "decimal(38,18)", "money": "decimal(12,2)", "body": "string", "key": "string", "tags": "array<string>",
        "raw": "binary", "local": "timestamp_ntz", "instant": "timestamp", "day": "date", "none": "timestamp_ntz",
    }  # fmt: skip
    row = frame.selectExpr(
        "CAST(free AS DOUBLE) AS free", "body", "key", "tags", "hex(raw) AS raw", "CAST(local AS STRING) AS local",
        "unix_micros(instant) AS instant", "CAST(day AS STRING) AS day",
        "none IS NULL AS none",
    ).first()  # fmt: skip
    assert tuple(row) == (
        1.5, '{"a": 1}', "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", ["x", "y"], "00FF", "9999-12-31 23:59:59.999999",
        *micros("0001-01-01"), "2024-02-29", True,
    )  # fmt: skip
    with pytest.raises(SourceError, match="NaN"):
        read_source(spark, payments(table="shop.nan"), at(DAY1), at(DAY2), connections=connections)


def test_rows_without_a_time_are_refused_or_dropped(
    spark: "SparkSession", connections: dict[str, ConnectionSettings]
) -> None:
    source = payments(table="shop.nulls")
    with pytest.raises(TimeError, match="1 rows have a null 'paid_at'"):
        read_source(spark, source, at(DAY1), at(DAY2), connections=connections)
    dropping = replace(source, null_timestamp="drop")
    assert read_source(spark, dropping, at(DAY1), at(DAY2), connections=connections).count() == 1


def test_a_view_is_built_from_a_query_and_a_changed_column_is_caught(
    workshop: Workshop, server: URL, connections: dict[str, ConnectionSettings]
) -> None:
    execute(server, "CREATE TABLE shop.orders AS SELECT * FROM shop.payments WHERE id BETWEEN 24 AND 72")
    source = payments(table=None, query="SELECT * FROM shop.orders -- all of them")
    view = make_view(sources=[source], transform=passes_on)
    applied = workshop.apply(view)
    builder = Builder(
        spark=workshop.spark, registry=workshop.registry, warehouse=workshop.warehouse, connections=connections
    )
    assert builder.build(view, applied, at(DAY2), at(DAY3)).rows == 24
    assert builder.build(view, applied, at(DAY2), at(DAY3)).status == "unchanged"
    execute(server, "ALTER TABLE shop.orders ALTER COLUMN amount TYPE TEXT")
    with pytest.raises(SourceError, match=r"'orders: a query' is not what .*'amount' was double and is string"):
        builder.build(view, applied, at(DAY3), at(DAY4))


def test_a_table_whose_newest_row_is_too_old_is_refused(
    workshop: Workshop, server: URL, connections: dict[str, ConnectionSettings]
) -> None:
    execute(server, "CREATE TABLE shop.fresh AS SELECT * FROM shop.payments WHERE id = 10")
    builder = Builder(
        spark=workshop.spark, registry=workshop.registry, warehouse=workshop.warehouse, connections=connections
    )

    def build(day: str, next_day: str, max_age: timedelta) -> str:
        check = Check.freshness("payments", max_age=max_age, severity="refuse")
        view = make_view(sources=[payments(table="shop.fresh")], checks=[check])
        return builder.build(view, workshop.apply(view), at(day), at(next_day)).status

    day = timedelta(days=1)
    assert build(DAY1, DAY2, day) == "built"
    with pytest.raises(RefusedError, match=r"payments: freshness.*no row of the 1 day, 0:00:00 before"):
        build(DAY2, DAY3, day)
    # Older than what the run itself reads: the database is asked further back.
    assert build(DAY2, DAY3, timedelta(hours=38)) == "empty"
    # What became available later than the interval is not there yet.
    execute(server, "INSERT INTO shop.fresh SELECT * FROM shop.payments WHERE id = 72")
    with pytest.raises(RefusedError, match="freshness"):
        build(DAY3, DAY4, day)
    execute(server, "INSERT INTO shop.fresh SELECT * FROM shop.payments WHERE id = 71")
    assert build(DAY3, DAY4, timedelta(hours=1)) == "built"


def test_what_is_wrong_with_a_connection_is_told_without_its_secret(
    spark: "SparkSession", connections: dict[str, ConnectionSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = connections["orders"]
    closed = orders.model_copy(update={"url": f"jdbc:postgresql://127.0.0.1:{free_port()}/postgres"})
    cases = (
        (payments(connection="order"), connections, r"no connection 'order'; did you mean 'orders'\?"),
        (payments(table="shop.paymnts"), connections, r'relation "shop.paymnts" does not exist; repair table='),
        (payments(table=None, query="SELECT 1 FORM x"), connections, "syntax error.*; repair table="),
        (payments(timestamp_field="paid"), connections, "no column 'paid'; did you mean 'paid_at'"),
        (payments(timestamp_field="customer"), connections, "'customer' is string; its times must be timestamps or"),
        (
            payments(partition_column="customer", num_partitions=2),
            connections,
            "'customer' is string; name a column of",
        ),
        (payments(), {"orders": closed}, "Connection to 127.0.0.1.* refused.*; check that it is up"),
        (payments(), {"orders": orders.model_copy(update={"driver": "org.example.Driver"})}, "make setup"),
    )
    for source, known, message in cases:
        with pytest.raises(SourceError, match=message):
            read_source(spark, source, at(DAY1), at(DAY2), connections=known)
    monkeypatch.setenv("ORDERS_PASSWORD", "hunter2")
    with pytest.raises(SourceError, match="password authentication failed") as error:
        read_source(spark, payments(), at(DAY1), at(DAY2), connections=connections)
    assert "hunter2" not in f"{error.value!r} {error.value.__cause__!r}"
    assert "hunter2" not in str(orders)


def test_doctor_asks_whether_connections_answer(connections: dict[str, ConnectionSettings]) -> None:
    settings = Settings(env="test", connections=connections)
    assert check_sources([payments()], settings) == "0 local paths exist, 1 connections answer"
    closed = connections["orders"].model_copy(update={"url": f"jdbc:postgresql://127.0.0.1:{free_port()}/postgres"})
    with pytest.raises(SourceError, match=r"connection 'orders': .* does not answer"):
        check_sources([payments()], Settings(env="test", connections={"orders": closed}))
