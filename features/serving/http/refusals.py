"""Which HTTP status an error has, and what a caller is told of it. Hosts, paths and stacks stay in the server's log."""

import logging
from collections.abc import Mapping

from features.errors import (
    DefinitionError,
    FeatureStoreError,
    NotFoundError,
    NotLoadedError,
    OnlineStoreError,
    RegistryError,
    StaleCodeError,
    UsageError,
)

logger = logging.getLogger(__name__)

# The nearest class in an error's ancestry counts. These are the caller's to mend, and say how.
_CALLERS: dict[type[BaseException], int] = {NotFoundError: 404, UsageError: 400, DefinitionError: 400}
# These are not: what they say may name hosts, paths or values.
_OURS: dict[type[BaseException], tuple[int, str]] = {
    OnlineStoreError: (503, "the online store cannot be used now; try again"),
    RegistryError: (503, "the registry cannot be used now; try again"),
    StaleCodeError: (503, "an on-demand feature of the request is not deployed here as it was applied"),
    FeatureStoreError: (500, "the request failed"),
}
_MOST_DETAIL = 4000
RETRY = {"retry-after": "1"}
OVERLOADED = "too many requests at once; try again later"


class RefusedRequestError(FeatureStoreError):
    """A request that is refused for what it is, by HTTP's rules. headers: of the answer."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}


def _cut(detail: str) -> str:
    # What callers sent may stand in its middle.
    half = _MOST_DETAIL // 2
    return detail if len(detail) <= _MOST_DETAIL else f"{detail[:half]}...{detail[-half:]}"


def explain(error: Exception, request_id: str) -> tuple[int, str, Mapping[str, str]]:
    """Status, detail and headers of the answer to a request that failed. What the caller is not told is logged."""
    if isinstance(error, RefusedRequestError):
        return error.status, _cut(str(error)), error.headers
    if isinstance(error, NotLoadedError):
        # It does not heal by asking again soon.
        logger.error("nothing is loaded", extra={"request_id": request_id, "view": error.view, "why": str(error)})
        return 503, f"nothing of {error.view} is loaded yet (request {request_id})", {}
    for kind in type(error).__mro__:
        if kind in _CALLERS:
            return _CALLERS[kind], _cut(str(error)), {}
        if kind in _OURS:
            status, detail = _OURS[kind]
            heals = isinstance(error, FeatureStoreError) and error.retry
            # A transform's message may hold values of features: its class is enough to find it.
            said = str(error) if isinstance(error, OnlineStoreError | RegistryError) else ""
            logger.error("request failed", extra={"request_id": request_id, "error": type(error).__name__, "why": said})
            return status, f"{detail} (request {request_id})", RETRY if status == 503 and heals else {}
    logger.error("internal error", exc_info=error, extra={"request_id": request_id, "error": type(error).__name__})
    return 500, f"internal error (request {request_id})", {}
