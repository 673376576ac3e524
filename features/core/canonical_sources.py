"""Sources as plain JSON: the part that makes a view's version, and the part that may change in place."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from features.core.sources import BatchSource
from features.core.times import duration_micros


def source_definition(source: BatchSource) -> dict[str, Any]:
    """What of a source makes a version of the views that read it."""
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


def source_metadata(source: BatchSource) -> dict[str, Any]:
    """What of a source may change in place."""
    return {"partition_field": source.partition_field}


def parse_source(definition: Mapping[str, Any], metadata: Mapping[str, Any]) -> BatchSource:
    """The source that the two parts describe."""
    return BatchSource(**{**definition, "history": timedelta(microseconds=definition["history"])}, **metadata)
