"""/openapi.json: the paths, and the schemas of the very classes that requests are decoded with."""

from functools import cache
from typing import Any

import msgspec

from features import __version__
from features.serving.http.messages import (
    ErrorAnswer,
    FeastAnswer,
    FeastRequest,
    HealthAnswer,
    OnlineAnswer,
    OnlineRequest,
    ReadyAnswer,
)

FEATURES_PATH = "/get-online-features"

_JSON = "application/json"
_KINDS = (OnlineRequest, FeastRequest, OnlineAnswer, FeastAnswer, ErrorAnswer, HealthAnswer, ReadyAnswer)
_REFUSALS = {
    400: "the request makes no sense: its JSON, names, keys or header",
    401: "an API key is needed: there is none, or it is unknown or expired",
    403: "the API key may not ask for these features",
    404: "a view, feature or service is unknown",
    406: "Arrow is asked for, and the server has no pyarrow",
    408: "the body did not arrive within the deadline",
    413: "the body, its rows or its features are too many",
    415: "the body is compressed",
    500: "an on-demand function failed, or the server did",
    501: "the body has another transfer coding than `chunked`",
    503: "the store, the registry or the server is not able to answer now; Retry-After may say when to ask again",
    504: "there was no answer within the deadline",
}


@cache
def openapi() -> bytes:
    """The document, as JSON."""
    schemas, components = msgspec.json.schema_components(_KINDS, ref_template="#/components/schemas/{name}")
    of: dict[type, Any] = dict(zip(_KINDS, schemas, strict=True))
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Feature store", "version": __version__},
        "paths": {
            FEATURES_PATH: {"post": _features(of)},
            "/health": {"get": _get("health", "Whether the server runs.", {200: ("it does", of[HealthAnswer])})},
            "/ready": {
                "get": _get(
                    "ready",
                    "Whether registry and online store were reached in the last ten seconds.",
                    {200: ("they were", of[ReadyAnswer]), 503: ("they were not", of[ReadyAnswer])},
                )
            },
            "/metrics": {"get": _metrics(of)},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }
    return msgspec.json.encode(document)


def _features(of: dict[type, Any]) -> dict[str, Any]:
    return {
        "operationId": "getOnlineFeatures",
        "summary": "The latest values of features, and their statuses, for each entity row.",
        "description": "A body with `entities` is one of Feast's, and gets an answer in Feast's form.",
        # Where no key is configured, none is needed.
        "security": [{"bearer": []}, {"header": []}, {}],
        "parameters": [
            _header("X-Request-ID", "comes back in the answer, and stands in the log; made where there is none"),
            _header(
                "X-Request-Timeout-Ms",
                "deadline of the request, in milliseconds; the server's longest one is never exceeded",
                {"type": "integer", "minimum": 1, "maximum": 999_999_999},
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"anyOf": [of[OnlineRequest], of[FeastRequest]]}}},
        },
        "responses": {
            "200": {
                "description": "values and statuses",
                "headers": {"X-Request-ID": {"schema": {"type": "string"}}},
                "content": {
                    _JSON: {"schema": {"anyOf": [of[OnlineAnswer], of[FeastAnswer]]}},
                    "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
                },
            },
            **{str(status): _json(about, of[ErrorAnswer]) for status, about in _REFUSALS.items()},
        },
    }


def _metrics(of: dict[type, Any]) -> dict[str, Any]:
    operation = _get(
        "metrics", "Metrics of all workers, as Prometheus reads them.", {401: ("no valid API key", of[ErrorAnswer])}
    )
    operation["security"] = [{"bearer": []}, {"header": []}, {}]
    operation["responses"]["200"] = {
        "description": "text format 0.0.4",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    return operation


def _get(name: str, about: str, answers: dict[int, tuple[str, Any]]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": about,
        "responses": {str(status): _json(text, schema) for status, (text, schema) in answers.items()},
    }


def _json(about: str, schema: Any) -> dict[str, Any]:
    return {"description": about, "content": {_JSON: {"schema": schema}}}


def _header(name: str, about: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": about,
        "schema": schema or {"type": "string"},
    }
