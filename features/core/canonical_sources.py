"""Sources as plain JSON: the part that makes a view's version, and the part that may change in place."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from features.core.code import syntax_tree
from features.core.definitions import Source
from features.core.dtypes import DType
from features.core.sources import BatchSource, FunctionSource, JdbcSource, code_not_at_hand
from features.core.times import duration_micros
from features.core.view_source import ViewSource
from features.errors import DefinitionError

Json = dict[str, Any]


def source_definition(source: Source) -> Json:
    """What of a source makes a version of the views that read it; `pin_sources` adds what a view that it is makes."""
    if isinstance(source, ViewSource):
        return {"name": source.name, "view": source.view, "history": duration_micros(source.history)}
    times = {
        "name": source.name,
        "timestamp_field": source.timestamp_field,
        "created_timestamp_field": source.created_timestamp_field,
        "timezone": source.timezone,
        "null_timestamp": source.null_timestamp,
        "history": duration_micros(source.history),
    }
    if isinstance(source, BatchSource):
        return {**times, "path": source.path, "format": source.format, **_said(source)}
    if isinstance(source, JdbcSource):
        read = {"table": source.table} if source.query is None else {"query": source.query}
        return {**times, "kind": "jdbc", "connection": source.connection, **read}
    code = hashlib.sha256(syntax_tree(source.read).encode()).hexdigest()
    return {**times, "kind": "function", "read": code}


def source_metadata(source: Source) -> Json:
    """What of a source may change in place."""
    if isinstance(source, BatchSource):
        return {"partition_field": source.partition_field}
    if isinstance(source, JdbcSource):
        return {"partition_column": source.partition_column, "num_partitions": source.num_partitions}
    return {}


def parse_source(definition: Mapping[str, Any], metadata: Mapping[str, Any]) -> Source:
    """The source that the two parts describe; of a function, without its code."""
    history = timedelta(microseconds=definition["history"])
    if "view" in definition:
        version = f"@{definition['version']}" if "version" in definition else ""
        return ViewSource(name=definition["name"], view=definition["view"] + version, history=history)
    given = {**definition, "history": history, **metadata}
    kind = given.pop("kind", "batch")
    if kind == "jdbc":
        return JdbcSource(**given)
    if kind == "function":
        return FunctionSource(**{**given, "read": code_not_at_hand})
    if kind != "batch":
        raise DefinitionError(f"source {given['name']!r} is of kind {kind!r}, which this release does not know")
    if "schema" in given:
        given["schema"] = {column: DType.parse(dtype) for column, dtype in given["schema"]}
    return BatchSource(**given)


def _said(source: BatchSource) -> Json:
    """Of what came after the first release, that which is said."""
    said: Json = {}
    if source.options:
        said["options"] = dict(sorted(source.options.items()))
    if source.schema is not None:
        said["schema"] = [[column, str(dtype)] for column, dtype in source.schema.items()]
    if source.time_travel or source.change_feed:
        said["time_travel" if source.time_travel else "change_feed"] = True
    if source.deletes != "refuse":
        said["deletes"] = source.deletes
    return said
