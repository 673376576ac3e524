"""Responses as bodies: JSON in our words or in Feast's, or an Arrow stream."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from features.core.dtypes import DType
from features.core.times import format_instant
from features.serving.http.encoding import TextColumns, encode, encode_columns
from features.serving.http.feast import encode_feast
from features.serving.http.messages import Asked
from features.serving.http.refusals import RefusedRequestError
from features.serving.response import OnlineResponse, Status

if TYPE_CHECKING:
    import pyarrow as pa

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"

_CODES = {status.value: code for code, status in enumerate(Status)}


def render(response: OnlineResponse, asked: Asked, *, arrow: bool) -> tuple[bytes, str]:
    """The body of an answer, and its media type.

    Raises: RefusedRequestError: Arrow is wanted where pyarrow is not installed, or of columns that it has no type for.
    """
    if arrow:
        return _to_arrow(response, event_timestamps=asked.event_timestamps), ARROW
    return encode_feast(response) if asked.feast else _to_json(response, asked.event_timestamps), JSON


def _to_json(response: OnlineResponse, event_timestamps: bool) -> bytes:
    """As `OnlineAnswer` describes it."""
    statuses = TextColumns[str](str)
    columns = encode_columns({**response.entities, **response.features}, response.types, dict)
    answer: dict[str, Any] = {
        "columns": msgspec.Raw(columns),
        "statuses": {name: statuses.encode(column) for name, column in response.statuses.items()},
    }
    if event_timestamps:
        times = TextColumns[datetime | None](lambda instant: None if instant is None else format_instant(instant))
        answer["event_timestamps"] = {name: times.encode(found) for name, found in response.event_timestamps.items()}
    if response.arms:
        answer["arms"] = response.arms
    if response.errors:
        answer["unavailable"] = list(response.errors)
    return encode(answer)


def _to_arrow(response: OnlineResponse, *, event_timestamps: bool) -> bytes:
    """One record batch: the columns of `to_dict`, then `<feature>__status`, then `<feature>__event_timestamp`."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError as exc:
        raise RefusedRequestError(406, f"this server has no pyarrow for {ARROW}; ask for {JSON}") from exc

    arrays: dict[str, pa.Array] = {}
    for part in (response.entities, response.features):
        for name, values in part.items():
            arrays[name] = _array(name, values, response.types.get(name))
    # Many columns have the same statuses.
    known: dict[tuple[str, ...], pa.Array] = {}
    for name, statuses in response.statuses.items():
        key = tuple(statuses)
        if key not in known:
            known[key] = _status_array(key)
        column = f"{name}__status"
        if column in arrays:
            raise RefusedRequestError(400, f"column {column!r} is what the answer names a status; leave it out")
        arrays[column] = known[key]
    if event_timestamps:
        for name, times in response.event_timestamps.items():
            arrays[f"{name}__event_timestamp"] = pa.array(times, pa.timestamp("us", tz="UTC"))
    batch = pa.record_batch(arrays)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _array(name: str, values: Sequence[Any], dtype: DType | None) -> "pa.Array":
    import pyarrow as pa

    from features.core.arrow_types import to_arrow

    # Only a column that came along with the entity rows may hold objects, which would become structs of all their keys,
    # or values of several types.
    if dtype is None and any(isinstance(value, dict | list) for value in values):
        raise _no_arrow_type(name)
    try:
        return pa.array(values) if dtype is None else to_arrow(values, dtype)
    except (pa.ArrowException, OverflowError) as exc:
        raise _no_arrow_type(name) from exc


def _no_arrow_type(name: str) -> RefusedRequestError:
    return RefusedRequestError(400, f"column {name!r} has no Arrow type; leave it out, or ask for {JSON}")


def _status_array(statuses: Sequence[str]) -> "pa.Array":
    import pyarrow as pa

    codes = pa.array([_CODES[status] for status in statuses], pa.int8())
    return pa.DictionaryArray.from_arrays(codes, pa.array(list(_CODES), pa.string()))
