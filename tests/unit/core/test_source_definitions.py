"""What sources say of themselves: which combinations make sense, and what of them is part of a view's version."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from features import BatchSource, DType, FunctionSource, JdbcSource
from features.core.canonical import canonical
from features.core.canonical_sources import parse_source, source_definition, source_metadata
from features.core.code import syntax_tree
from features.core.definitions import Source
from features.core.sources import code_not_at_hand
from features.errors import DefinitionError, SourceError


def read_api(spark: Any, start: Any, end: Any) -> Any:
    return spark.range(start, end)


def read_other(spark: Any, start: Any, end: Any) -> Any:
    return spark.range(start, end + 1)


def batch(**changes: Any) -> BatchSource:
    given = {"name": "payments", "path": "p", "format": "delta", "timestamp_field": "at"}
    return BatchSource(**{**given, **changes})


def jdbc(**changes: Any) -> JdbcSource:
    given = {"name": "payments", "connection": "orders", "table": "public.payments", "timestamp_field": "at"}
    return JdbcSource(**{**given, **changes})


def function(**changes: Any) -> FunctionSource:
    return FunctionSource(**{"name": "payments", "read": read_api, "timestamp_field": "at", **changes})


def stored(source: Source) -> Source:
    """The source after a registry wrote and read it."""
    parts = (source_definition(source), source_metadata(source))
    return parse_source(*(json.loads(canonical(part)) for part in parts))


@pytest.mark.parametrize(
    "source",
    [
        batch(
            format="csv", options={"sep": ";", "header": "false"}, schema={"b": DType.DECIMAL(9, 2), "at": DType.DATE}
        ),
        batch(time_travel=True, timezone="Europe/Berlin"),
        batch(change_feed=True, deletes="deliver", history=timedelta(days=1)),
        batch(options={"versionAsOf": "3"}, partition_field="day"),
        jdbc(null_timestamp="drop", created_timestamp_field="seen", partition_column="id", num_partitions=4),
        jdbc(table=None, query="SELECT 1"),
    ],
    ids=str,
)
def test_what_is_stored_is_the_source(source: Source) -> None:
    assert stored(source) == source


def test_of_a_function_the_code_is_not_stored_but_counts() -> None:
    read = stored(function(timezone="UTC"))

    assert isinstance(read, FunctionSource)
    assert replace(read, read=read_api) == function(timezone="UTC")
    with pytest.raises(SourceError, match="keeps no code"):
        code_not_at_hand(None, None, None)
    assert source_definition(function()) != source_definition(function(read=read_other))


def test_what_is_not_said_is_no_part_of_the_version() -> None:
    assert set(source_definition(batch())) == {
        "name", "path", "format", "timestamp_field", "created_timestamp_field", "timezone", "null_timestamp", "history"
    }  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        batch(options={"ignoreDeletes": "true"}),
        batch(schema={"at": DType.TIMESTAMP}),
        batch(time_travel=True),
        batch(change_feed=True),
        batch(change_feed=True, deletes="drop"),
    ],
    ids=str,
)
def test_what_is_said_is_part_of_the_version(changed: BatchSource) -> None:
    assert source_definition(changed) != source_definition(batch())
    if changed.deletes != "refuse":
        assert source_definition(changed) != source_definition(replace(changed, deletes="refuse"))


def test_how_a_database_is_read_in_parallel_changes_in_place() -> None:
    parallel = jdbc(partition_column="id", num_partitions=8)

    assert source_definition(parallel) == source_definition(jdbc())
    assert source_definition(jdbc(connection="other")) != source_definition(jdbc())
    assert source_definition(jdbc(table="public.other")) != source_definition(jdbc())


def test_a_closure_over_a_source_says_what_it_said_before_sources_had_more_to_say() -> None:
    def over(source: BatchSource) -> str:
        def transform(payments: Any) -> Any:
            return payments.where(source.name)

        return syntax_tree(transform)

    assert "options" not in over(batch())
    assert over(batch(options={"a": "b"})) != over(batch())


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (batch, {"options": {"mode": "DROPMALFORMED"}}, "options must not hold 'mode', which the source decides"),
        (batch, {"options": {"readChangeFeed": "true"}}, "options must not hold 'readChangeFeed'"),
        (batch, {"options": {"sep": 1}}, r"options\['sep'\] must be a string, got int"),
        (batch, {"options": ["a"]}, "options must be a mapping"),
        (batch, {"schema": {"at": "timestamp"}}, r"schema \['at'\] must be a DType, got 'timestamp'"),
        (batch, {"schema": {"b": DType.INT32}}, "schema lacks 'at', which holds the rows' times"),
        (batch, {"schema": {"at": DType.INT64}}, r"schema \['at'\] must be TIMESTAMP, DATE or STRING, got int64"),
        (batch, {"format": "csv", "schema": {"at": DType.DATE, "b": DType.BYTES}}, "which csv has no way to write"),
        (batch, {"format": "csv", "time_travel": True}, "time_travel is what Delta tables have, not csv"),
        (batch, {"change_feed": 1}, "change_feed must be True or False, got 1"),
        (batch, {"time_travel": True, "change_feed": True}, "two ways to read a table: set one"),
        (batch, {"time_travel": True, "history": timedelta(1)}, "history has no meaning with time_travel=True"),
        (batch, {"time_travel": True, "partition_field": "d"}, "partition_field has no meaning with time_travel=True"),
        (
            batch,
            {"time_travel": True, "options": {"versionAsOf": "1"}},
            "which version is read depends on the interval",
        ),
        (batch, {"deletes": "drop"}, "set change_feed=True"),
        (batch, {"change_feed": True, "deletes": "keep"}, "deletes must be one of 'refuse', 'drop', 'deliver'"),
        (batch, {"change_feed": True, "created_timestamp_field": "seen"}, "of a change feed is '_commit_timestamp'"),
        (batch, {"change_feed": True, "partition_field": "day"}, "partition_field has no meaning in a change feed"),
        (jdbc, {"table": None}, "table or query: give one of them"),
        (jdbc, {"query": "SELECT 1"}, "table or query: give one of them"),
        (jdbc, {"table": None, "query": "SELECT 1;"}, "query must not end with ;"),
        (jdbc, {"connection": ""}, "connection must not be empty"),
        (jdbc, {"num_partitions": 0}, "num_partitions must be a whole number from 1 to 1000, got 0"),
        (jdbc, {"num_partitions": 2}, "num_partitions above 1 and a partition_column go together"),
        (jdbc, {"partition_column": "id"}, "num_partitions above 1 and a partition_column go together"),
        (jdbc, {"timezone": "Mars/Base"}, "JdbcSource 'payments': timezone 'Mars/Base' is not an IANA time zone"),
        (function, {"read": "f"}, "FunctionSource 'payments': read must be a function, got str"),
        (function, {"name": "1st"}, "FunctionSource '1st': name '1st' must be"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make(**changes)
