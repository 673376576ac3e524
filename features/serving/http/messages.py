"""Bodies of requests and answers. What is decoded here is what /openapi.json describes: both come of these classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from features.errors import SpineError, UsageError
from features.serving.http.refusals import RefusedRequestError

_Features = Annotated[
    str | list[str], Meta(description="a service's name, or references such as `view:feature`", examples=["fraud"])
]


class OnlineRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Features of entity rows."""

    features: _Features
    entity_rows: Annotated[
        list[dict[str, Any]],
        Meta(description="one object per row wanted: join keys and request columns", examples=[[{"customer": "c1"}]]),
    ]
    now: Annotated[
        str | None, Meta(description="when lookback is judged: ISO 8601 with an offset; null: at present")
    ] = None
    full_feature_names: Annotated[bool, Meta(description="name columns `view__feature`")] = False
    event_timestamps: Annotated[bool, Meta(description="answer the event time of each value, too")] = False
    allow_partial: Annotated[
        bool, Meta(description="answer what can be read; the rest is UNAVAILABLE, and its views are named")
    ] = False
    defaults: Annotated[
        dict[str, Any],
        Meta(description="column to the value in place of one that is not PRESENT", examples=[{"visits": 0}]),
    ] = {}


class OnlineAnswer(Struct, kw_only=True):
    """Columns of values, one value per entity row: the rows' own columns first, then the features."""

    columns: dict[str, Sequence[Any]]
    statuses: Annotated[
        Mapping[str, Sequence[str]],
        Meta(description="beside each value: PRESENT, NULL, NOT_FOUND, EXPIRED or UNAVAILABLE"),
    ]
    event_timestamps: Annotated[
        dict[str, list[str | None]] | msgspec.UnsetType, Meta(description="ISO 8601; where it was asked for")
    ] = msgspec.UNSET
    arms: Annotated[
        Mapping[str, Sequence[str]] | msgspec.UnsetType,
        Meta(description="view to `live` or `candidate` for each row, of views of which a candidate is tried"),
    ] = msgspec.UNSET
    unavailable: Annotated[
        list[str] | msgspec.UnsetType, Meta(description="`view@version` of what a partial answer lacks")
    ] = msgspec.UNSET


class FeastRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A request as Feast's clients send it."""

    entities: Annotated[
        dict[str, list[Any]], Meta(description="join key to values", examples=[{"driver_id": [1001, 1002]}])
    ]
    features: Annotated[list[str] | None, Meta(description="references such as `view:feature`")] = None
    feature_service: str | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: Annotated[bool, Meta(description="true is refused")] = False


class FeastMetadata(Struct, kw_only=True):
    """The names of the columns, in the order of the results."""

    feature_names: list[str]


class FeastColumn(Struct, kw_only=True):
    """One column of Feast's answer, one item per entity row."""

    values: Sequence[Any]
    statuses: Annotated[Sequence[str], Meta(description="PRESENT, NULL_VALUE, NOT_FOUND or OUTSIDE_MAX_AGE")]
    event_timestamps: Sequence[str]


class FeastAnswer(Struct, kw_only=True):
    """An answer as Feast's clients read it."""

    metadata: FeastMetadata
    results: list[FeastColumn]


class HealthAnswer(Struct, kw_only=True):
    """That the server runs."""

    status: str


class ReadyAnswer(Struct, kw_only=True):
    """What was reached lately."""

    ready: bool
    registry: bool
    online_store: bool


class ErrorAnswer(Struct, kw_only=True):
    """Why there is no answer."""

    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a request asks for, whichever way it was written. feast: so is the answer to be."""

    features: str | list[str]
    entity_rows: list[dict[str, Any]]
    now: str | None = None
    full_feature_names: bool = False
    event_timestamps: bool = False
    allow_partial: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    feast: bool = False


_ours = msgspec.json.Decoder(OnlineRequest)
_feast = msgspec.json.Decoder(FeastRequest)
_any = msgspec.json.Decoder()


def read_request(body: bytes, *, max_rows: int) -> Asked:
    """What a body asks for. `entities` makes it one of Feast's.

    Raises:
        RefusedRequestError: it is no JSON, or not of either form (400), or has too many rows (413).
        SpineError: Feast's columns are of different lengths. UsageError: it names no features.
    """
    try:
        if _is_feast(body):
            return _of_feast(_feast.decode(body), max_rows)
        asked = _ours.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise RefusedRequestError(400, f"the body is not a request: {exc}") from exc
    _check_rows(len(asked.entity_rows), max_rows)
    return Asked(
        features=asked.features,
        entity_rows=asked.entity_rows,
        now=asked.now,
        full_feature_names=asked.full_feature_names,
        event_timestamps=asked.event_timestamps,
        allow_partial=asked.allow_partial,
        defaults=asked.defaults,
    )


def _is_feast(body: bytes) -> bool:
    # Inside a string the quotes would be escaped: without these bytes there is no such field.
    if b'"entities"' not in body:
        return False
    if b'"entity_rows"' not in body:
        return True
    content = _any.decode(body)
    return isinstance(content, dict) and "entities" in content and "entity_rows" not in content


def _of_feast(asked: FeastRequest, max_rows: int) -> Asked:
    if asked.include_feature_view_version_metadata:
        raise UsageError("include_feature_view_version_metadata is not supported; leave it out")
    # As Feast's server: a service wins, and an empty one is none.
    features = asked.feature_service or asked.features
    if features is None:
        raise UsageError("the request has neither features nor a feature_service")
    lengths = {name: len(values) for name, values in asked.entities.items()}
    if len(set(lengths.values())) > 1:
        raise SpineError(f"entities must have as many values each, got {lengths}")
    _check_rows(max(lengths.values(), default=0), max_rows)
    names = tuple(asked.entities)
    return Asked(
        features=features,
        entity_rows=[dict(zip(names, row, strict=True)) for row in zip(*asked.entities.values(), strict=True)],
        full_feature_names=asked.full_feature_names,
        feast=True,
    )


def _check_rows(rows: int, limit: int) -> None:
    if rows > limit:
        raise RefusedRequestError(413, f"the request has {rows:,} entity rows, more than {limit:,}; split it")
