"""The HTTP face of the online client: `POST /get-online-features`, `GET /health`. Values as in `json_values`."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from features import __version__
from features.errors import (
    DefinitionError,
    FeatureStoreError,
    NotFoundError,
    OnlineStoreError,
    RegistryError,
    UsageError,
)
from features.serving.client import OnlineClient
from features.serving.json_values import read_entity_row, to_json

# The nearest class in an error's ancestry counts.
_HTTP_STATUS: dict[type[BaseException], int] = {
    NotFoundError: 404,
    UsageError: 400,
    DefinitionError: 400,
    OnlineStoreError: 503,
    RegistryError: 503,
    FeatureStoreError: 500,
}


class OnlineFeaturesRequest(BaseModel):
    """The body of a request. now: ISO 8601 with an offset; null: at present."""

    model_config = ConfigDict(extra="forbid")

    features: str | list[str]
    entity_rows: list[dict[str, Any]]
    now: str | None = None
    full_feature_names: bool = False


class OnlineFeaturesResponse(BaseModel):
    """The body of an answer: column to values, entity columns first, and feature to statuses."""

    columns: dict[str, list[Any]]
    statuses: dict[str, list[str]]


def create_app(client: OnlineClient) -> FastAPI:
    """The HTTP application around a client.

    Errors are `{"detail": message}`: 400 for a request that makes no sense, 404 for an unknown view, feature or
    service, 503 while the online store or the registry cannot be used.
    """
    app = FastAPI(title="Feature store", version=__version__)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server runs; the online store is not asked."""
        return {"status": "ok"}

    @app.post("/get-online-features")
    async def get_online_features(body: OnlineFeaturesRequest) -> OnlineFeaturesResponse:
        """The latest values of features, and their statuses, for each entity row."""
        types = await client.given_columns_async(features=body.features)
        response = await client.get_async(
            features=body.features,
            entity_rows=[read_entity_row(row, types, number) for number, row in enumerate(body.entity_rows)],
            now=body.now,
            full_feature_names=body.full_feature_names,
        )
        return OnlineFeaturesResponse(
            columns=to_json(response.to_dict()),
            statuses={name: list(statuses) for name, statuses in response.statuses.items()},
        )

    app.add_exception_handler(FeatureStoreError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_body)
    return app


def serve(client: OnlineClient, *, host: str = "127.0.0.1", port: int = 6566) -> None:
    """Answer requests until interrupted. Whoever reaches the port may read: keep it on loopback, or behind a proxy."""
    import uvicorn

    uvicorn.run(create_app(client), host=host, port=port)


async def _answer_error(request: Request, error: Exception) -> JSONResponse:
    status = next(_HTTP_STATUS[kind] for kind in type(error).__mro__ if kind in _HTTP_STATUS)
    return JSONResponse({"detail": str(error)}, status_code=status)


async def _answer_invalid_body(request: Request, error: Exception) -> JSONResponse:
    reasons = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(f"{'.'.join(map(str, reason['loc']))}: {reason['msg']}" for reason in reasons)
    return JSONResponse({"detail": detail or str(error)}, status_code=400)
