"""Sources as plain JSON: the part that makes a view's version, and the part that may change in place."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from features.core.sources import BatchSource
from features.core.times import duration_micros
from features.core.view_source import ViewSource


def source_definition(source: BatchSource | ViewSource) -> dict[str, Any]:
    """What of a source makes a version of the views that read it; `pin_sources` adds what a view that it is makes."""
    if isinstance(source, ViewSource):
        return {"name": source.name, "view": source.view, "history": duration_micros(source.history)}
    return {
        "name": source.name,
        "path": source.path,
        "format": source.format,
        "timestamp_field": source.timestamp_field,
        "created_timestamp_field": source.created_timestamp_field,
        "timezone": source.timezone,
        "null_timestamp": source.null_timestamp,
        "history": duration_micros(source.history),
    }


def source_metadata(source: BatchSource | ViewSource) -> dict[str, Any]:
    """What of a source may change in place."""
    if isinstance(source, ViewSource):
        return {}
    return {"partition_field": source.partition_field}


def parse_source(definition: Mapping[str, Any], metadata: Mapping[str, Any]) -> BatchSource | ViewSource:
    """The source that the two parts describe."""
    history = timedelta(microseconds=definition["history"])
    if "view" in definition:
        version = f"@{definition['version']}" if "version" in definition else ""
        return ViewSource(name=definition["name"], view=definition["view"] + version, history=history)
    return BatchSource(**{**definition, "history": history}, **metadata)
