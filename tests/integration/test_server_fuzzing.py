"""The API fuzzed by schemathesis: what /openapi.json says is what the server does, whatever is sent."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.served import Server, serving

# Not whether valid bodies are accepted: most of what fits the schema names no service and no key that there is.
_CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("fuzzed"), queue_target_ms=1000) as server:
        server.wait_for("/ready")
        yield server


def name_what_there_is(case: Any) -> Any:
    """The case; of every other one the features are some that there are, so that it comes further."""
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("features"), str | list) and len(str(body)) % 2:
        body["features"] = ["spend"] if "entities" in body else "model"
    return case


def with_time_enough(case: Any) -> Any:
    """The case, without a deadline that is one, but too short."""
    given = (case.headers or {}).get("X-Request-Timeout-Ms")
    if given is not None and given.isdecimal() and 0 < int(given) < 1000:
        del case.headers["X-Request-Timeout-Ms"]
    return case


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        ("POST", "/get-online-features", GenerationMode.POSITIVE),
        ("POST", "/get-online-features", GenerationMode.NEGATIVE),
        ("GET", "/health", GenerationMode.POSITIVE),
        ("GET", "/ready", GenerationMode.POSITIVE),
        ("GET", "/metrics", GenerationMode.POSITIVE),
    ],
)
def test_the_server_does_what_its_document_says(server: Server, method: str, path: str, mode: GenerationMode) -> None:
    cases = schemathesis.openapi.from_url(f"{server.url}/openapi.json")[path][method].as_strategy(generation_mode=mode)
    if mode is GenerationMode.POSITIVE:
        cases = cases.map(name_what_there_is)

    @settings(max_examples=300 if method == "POST" else 5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases.map(with_time_enough))
    def ask(case: Any) -> None:
        case.call_and_validate(checks=_CHECKS)

    ask()


def test_nothing_that_was_sent_met_an_error_of_the_servers_own(server: Server) -> None:
    assert "internal error" not in server.log.read_text()
