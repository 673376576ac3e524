"""Who may ask for what, how much, and for how long; and what is told when too many ask."""

import asyncio
import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from features.config import ServingKey, ServingSettings
from features.errors import ConfigError
from features.serving.http import keys as keys_module
from features.serving.http.admission import Admission
from features.serving.http.app import Application
from features.serving.http.keys import KeyRing, make_key
from features.serving.http.refusals import RefusedRequestError
from tests.served import LATER, Desk, SlowStore

ROW = {"customer": "a"}


def entry(key: str, services: Any = "*", expires: str | None = None) -> dict[str, Any]:
    return {"name": "app", "sha256": hashlib.sha256(key.encode()).hexdigest(), "services": services, "expires": expires}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Desk]:
    given = [
        entry("all"),
        entry("some", ["spending"]),
        entry("none", []),
        entry("old", "*", "2024-01-01T00:00:00+00:00"),
    ]
    desk = Desk(tmp_path, keys=given)
    yield desk
    desk.close()


@pytest.mark.parametrize(
    ("headers", "features", "status"),
    [
        ({}, "model", 401),
        ({"x-api-key": "wrong"}, "model", 401),
        ({"x-api-key": ""}, "model", 401),
        ({"x-api-key": "old"}, "model", 401),
        ({"authorization": "Basic all"}, "model", 401),
        ({"x-api-key": "all"}, "spend", 200),
        ({"authorization": "Bearer all"}, ["spend:amount"], 200),
        ({"authorization": "bearer some"}, "spending", 200),
        ({"x-api-key": "some"}, "spending@1", 200),
        ({"x-api-key": "some"}, "model", 403),
        ({"x-api-key": "some"}, "no_such_service", 403),
        ({"x-api-key": "some"}, ["spending"], 403),
        ({"x-api-key": "some"}, "spend:amount", 403),
        ({"x-api-key": "none"}, "spending", 403),
    ],
)
def test_a_key_opens_its_services(guarded: Desk, headers: Mapping[str, str], features: Any, status: int) -> None:
    row = {**ROW, "origin": "JFK", "stop": 3}

    answer = guarded.ask(features=features, entity_rows=[row], headers=headers)

    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_of_two_keys_none_is_picked(guarded: Desk) -> None:
    body = {"features": "spending", "entity_rows": [ROW]}
    two = [("x-api-key", "some"), ("x-api-key", "all")]

    assert guarded.call("POST", "/get-online-features", json=body, headers=two).status_code == 401


def test_keys_guard_feasts_services_too(guarded: Desk) -> None:
    given = {"entities": {"customer": ["a"]}, "headers": {"x-api-key": "some"}}

    assert guarded.ask(feature_service="spending", **given).status_code == 200
    assert guarded.ask(feature_service="model", **given).status_code == 403


def test_health_needs_no_key_and_metrics_do(guarded: Desk) -> None:
    assert [guarded.call("GET", path).status_code for path in ("/health", "/openapi.json", "/metrics")] == [
        200,
        200,
        401,
    ]
    assert guarded.call("GET", "/metrics", headers={"x-api-key": "none"}).status_code == 200


def test_nobody_learns_what_is_wrong_with_a_key(guarded: Desk) -> None:
    bodies = {guarded.ask(features="x", entity_rows=[], headers={"x-api-key": key}).text for key in ("old", "wrong")}

    assert len(bodies) == 1


def test_a_key_expires_at_its_moment() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    settings = ServingSettings(keys=(ServingKey(**entry("k", "*", moment.isoformat())),))

    assert KeyRing(settings, clock=lambda: moment - timedelta(microseconds=1)).identify("k")
    with pytest.raises(RefusedRequestError, match="API key is needed"):
        KeyRing(settings, clock=lambda: moment).identify("k")


def test_a_new_key_is_known_by_its_hash() -> None:
    key, digest = make_key()

    assert KeyRing(ServingSettings(keys=(ServingKey(name="x", sha256=digest),))).identify(key)
    assert len(key) > 40
    assert make_key()[0] != key


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "_LOOK_SECONDS", 0.0)
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump([entry("first")]))
    ring = KeyRing(ServingSettings(keys_file=str(path)))
    assert ring.identify("first")

    path.write_text(yaml.safe_dump([entry("second")]))
    os.utime(path, ns=(0, 0))

    assert ring.identify("second")
    with pytest.raises(RefusedRequestError):
        ring.identify("first")


def test_a_file_of_keys_that_breaks_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "_LOOK_SECONDS", 0.0)
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump([entry("first")]))
    ring = KeyRing(ServingSettings(keys_file=str(path)))

    path.write_text("- {")
    assert ring.identify("first")
    path.unlink()
    assert ring.identify("first")


def test_an_empty_file_of_keys_keeps_everybody_out(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("")

    with pytest.raises(RefusedRequestError):
        KeyRing(ServingSettings(keys_file=str(tmp_path / "keys.yaml"))).identify("anything")


@pytest.mark.parametrize("content", ["- {", "- name: x", "keys: []", "- {name: x, sha256: plain-text-key}"])
def test_a_file_that_holds_no_keys_is_refused_without_repeating_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.yaml").write_text(content)

    with pytest.raises(ConfigError, match=r"keys\.yaml") as refused:
        KeyRing(ServingSettings(keys_file=str(tmp_path / "keys.yaml")))

    assert "plain-text-key" not in str(refused.value)


@pytest.mark.parametrize(
    ("limits", "body", "message"),
    [
        ({"max_rows": 2}, {"features": "spend", "entity_rows": [ROW] * 3}, "3 entity rows, more than 2"),
        ({"max_rows": 2}, {"features": ["spend"], "entities": {"customer": ["a"] * 3}}, "3 entity rows"),
        ({"max_features": 1}, {"features": "spend", "entity_rows": [ROW]}, "2 features are asked for, more than 1"),
        ({"max_values": 3}, {"features": "spend", "entity_rows": [ROW] * 2}, "more than 3 values"),
        ({"max_body_bytes": 50}, {"features": "spend", "entity_rows": [ROW] * 9}, "longer than 50 bytes"),
    ],
)
def test_what_is_too_much_is_refused(tmp_path: Path, limits: Mapping[str, int], body: Any, message: str) -> None:
    desk = Desk(tmp_path, **limits)

    answer = desk.ask(**body)

    assert answer.status_code == 413
    assert message in answer.json()["detail"]
    desk.close()


def test_columns_of_the_rows_own_are_bounded_as_those_of_features_are(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_features=50, max_values=100)
    many = [{"customer": "a", **{f"column_{row}_{at}": 1 for at in range(9)}} for row in range(10)]

    for rows in (many, [{"customer": "a", **{f"column_{at}": 1 for at in range(50)}}]):
        answer = desk.ask(features="spend", entity_rows=rows)
        assert (answer.status_code, "columns, too many" in answer.json()["detail"]) == (413, True)


def test_long_defaults_of_many_rows_are_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    answer = desk.ask(features="spend", entity_rows=[{"customer": "b"}] * 1000, defaults={"amount": "x" * 100_000})

    assert (answer.status_code, "the defaults are too long" in answer.json()["detail"]) == (413, True)


def test_the_largest_request_within_the_limits_is_answered(tmp_path: Path) -> None:
    body = {"features": "spend", "entity_rows": [ROW] * 2, "now": LATER}
    desk = Desk(tmp_path, max_rows=2, max_features=2, max_values=4)

    assert desk.ask(**body).status_code == 200
    desk.close()


def test_a_body_without_a_length_is_measured_as_it_comes(tmp_path: Path) -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 1000

    desk = Desk(tmp_path, max_body_bytes=10_000)

    answer = desk.call("POST", "/get-online-features", content=endless())

    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    desk.close()


@pytest.mark.parametrize(
    ("name", "coding", "status"),
    [
        ("content-encoding", "gzip", 415),
        ("content-encoding", "identity, br", 415),
        ("transfer-encoding", "gzip, chunked", 501),
        ("content-encoding", "Identity", 200),
        ("transfer-encoding", "Chunked", 200),
    ],
)
def test_a_body_with_a_coding_is_not_taken_for_json(tmp_path: Path, name: str, coding: str, status: int) -> None:
    desk = Desk(tmp_path)

    answer = desk.ask(features="spend", entity_rows=[ROW], headers={name: coding})

    assert answer.status_code == status
    desk.close()


@pytest.mark.parametrize("given", ["0", "-1", "x", "1.5", "9" * 30])
def test_a_deadline_must_be_a_number_of_milliseconds(tmp_path: Path, given: str) -> None:
    desk = Desk(tmp_path)

    answer = desk.ask(features="spend", entity_rows=[ROW], headers={"x-request-timeout-ms": given})

    assert answer.status_code == 400
    assert "X-Request-Timeout-Ms" in answer.json()["detail"]
    desk.close()


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"timeout_ms": 50}, {}),
        ({}, {"x-request-timeout-ms": "50"}),
        ({"max_timeout_ms": 50}, {"x-request-timeout-ms": "9999"}),
        ({"max_timeout_ms": 50}, {}),
    ],
)
def test_a_request_ends_at_its_deadline(
    tmp_path: Path, settings: Mapping[str, int], headers: Mapping[str, str]
) -> None:
    desk = Desk(tmp_path, **settings)
    assert isinstance(desk.serving.store, SlowStore)
    desk.serving.store._delay_seconds = 20

    answer = desk.ask(features="spend", entity_rows=[{"customer": "slow"}], headers=headers)

    assert (answer.status_code, answer.json()) == (504, {"detail": "there was no answer within 50 ms"})
    desk.close()


def test_a_body_that_does_not_come_ends_at_the_deadline(tmp_path: Path) -> None:
    async def stuck() -> Any:
        yield b"{"
        await asyncio.sleep(20)

    desk = Desk(tmp_path, timeout_ms=50)

    assert desk.call("POST", "/get-online-features", content=stuck()).status_code == 408
    desk.close()


def test_what_is_beyond_the_bound_is_refused_at_once_and_counted(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_in_flight=2)
    assert isinstance(desk.serving.store, SlowStore)
    desk.serving.store._delay_seconds = 0.2

    async def ask_all() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=desk.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            body = {"features": "spend", "entity_rows": [{"customer": "slow"}]}
            return await asyncio.gather(*(http.post("/get-online-features", json=body) for _ in range(5)))

    answers = asyncio.run(ask_all())

    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503]
    assert {a.headers.get("retry-after") for a in answers if a.status_code == 503} == {"1"}
    assert 'features_http_refused_total{reason="overload"} 3' in desk.call("GET", "/metrics").text
    # Whoever was answered made room.
    assert desk.ask(features="spend", entity_rows=[ROW]).status_code == 200
    desk.close()


def busy(admission: Admission, requests: int, seconds: float, kind: tuple[str, int] = ("s", 1)) -> None:
    """An interval in which so many requests came at once, and those that were let in took so long."""
    let_in = sum(admission.enter() for _ in range(requests))
    for _ in range(let_in):
        admission.measure(kind, seconds)
        admission.leave()
    admission.adjust(0.0)


def test_the_bound_falls_while_requests_wait_and_grows_while_they_do_not() -> None:
    admission = Admission(most=100, target_seconds=0.010)
    assert admission.limit == 32

    busy(admission, 20, 0.002)
    busy(admission, 32, 0.030)
    assert (admission.limit, admission.wait_seconds) == (25, pytest.approx(0.028))
    for _ in range(50):
        busy(admission, 32, 0.030)
    assert admission.limit == 4

    for _ in range(200):
        busy(admission, 200, 0.002)
    assert admission.limit == 100


def test_a_bound_that_fell_is_back_within_three_seconds_of_calm() -> None:
    admission = Admission(most=100, target_seconds=0.010)
    busy(admission, 20, 0.002)
    for _ in range(50):
        busy(admission, 32, 0.030)
    assert admission.limit == 4

    for _ in range(30):
        busy(admission, 1, 0.002)

    assert 32 <= admission.limit < 40


def test_a_late_event_loop_is_a_wait_too() -> None:
    admission = Admission(most=100, target_seconds=0.010)
    for _ in range(32):
        admission.enter()

    admission.adjust(0.011)

    assert admission.limit == 25


def test_waits_with_few_requests_under_way_move_nothing() -> None:
    admission = Admission(most=100, target_seconds=0.010)
    busy(admission, 1, 0.002)

    for _ in range(50):
        busy(admission, 15, 0.500)

    assert admission.limit == 32


def test_the_bound_stays_where_it_is_while_nobody_needs_more() -> None:
    admission = Admission(most=100, target_seconds=0.010)

    for _ in range(50):
        busy(admission, 5, 0.002)

    assert admission.limit == 32


def test_long_requests_are_compared_with_their_own_kind() -> None:
    admission = Admission(most=100, target_seconds=0.010)
    busy(admission, 1, 0.002, ("s", 1))

    for _ in range(50):
        busy(admission, 32, 0.200, ("s", 9))

    assert admission.limit > 32
    assert admission.wait_seconds < 0.010


def test_a_kind_that_takes_longer_from_now_on_is_not_refused_for_ever() -> None:
    admission = Admission(most=100, target_seconds=0.010)
    busy(admission, 32, 0.002)

    for _ in range(700):
        busy(admission, 32, 0.050)

    assert admission.wait_seconds == 0.0
    assert admission.limit > 32


def test_lateness_is_measured_as_the_wait_for_the_loops_turn() -> None:
    async def hog(seconds: float) -> None:
        import time

        for _ in range(40):
            time.sleep(seconds)
            await asyncio.sleep(0)

    async def measure(seconds: float) -> float:
        admission = Admission(most=10, target_seconds=0.005)
        watching = asyncio.create_task(admission.watch())
        await asyncio.gather(hog(seconds), asyncio.sleep(0.25))
        late = admission.wait_seconds
        watching.cancel()
        return late

    assert asyncio.run(measure(0.02)) > 0.005
    assert asyncio.run(measure(0.0)) < 0.005


def test_an_application_with_wrong_keys_does_not_start(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    settings = desk.serving.settings.model_copy(update={"keys_file": str(tmp_path / "absent.yaml")})

    with pytest.raises(ConfigError, match="cannot be read"):
        Application(type(desk.serving)(client=desk.serving.client, registry=desk.serving.registry,
                                       store=desk.serving.store, settings=settings))  # fmt: skip
    desk.close()
