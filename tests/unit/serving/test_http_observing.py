"""What a server tells of itself: health, readiness, metrics, the access log, and its OpenAPI document."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from features.errors import ConfigError, OnlineStoreError, RegistryError
from features.serving.http.access_log import AccessLine, AccessLog, now
from features.serving.http.metrics import BOUNDS, Gauges, Metrics
from features.serving.http.watching import Watch
from features.stores.memory import MemoryStore
from tests.served import LATER, Desk

ROWS = [{"customer": "a"}, {"customer": "b"}]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def samples(desk: Desk) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and labels to value, as Prometheus itself reads them."""
    text = desk.call("GET", "/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_health_answers_without_the_store(desk: Desk) -> None:
    assert desk.call("GET", "/health").json() == {"status": "ok"}


def test_readiness_follows_what_was_reached_lately(desk: Desk) -> None:
    before = desk.call("GET", "/ready")
    assert (before.status_code, before.json()) == (503, {"ready": False, "registry": False, "online_store": False})

    asyncio.run(desk.application._watch.look())

    after = desk.call("GET", "/ready")
    assert (after.status_code, after.json()) == (200, {"ready": True, "registry": True, "online_store": True})


def test_nothing_loaded_is_not_ready(desk: Desk) -> None:
    watch = Watch(desk.serving.registry, MemoryStore())

    with pytest.raises(OnlineStoreError, match="nothing is loaded"):
        asyncio.run(watch.look())

    assert watch.up() == {"registry": True, "online_store": False}


def test_a_registry_that_is_away_is_not_ready(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.close()
    (tmp_path / "registry.db").unlink()
    (tmp_path / "registry.db").mkdir()
    watch = Watch(desk.serving.registry, desk.serving.store)

    with pytest.raises(RegistryError):
        asyncio.run(watch.look())

    assert watch.up() == {"registry": False, "online_store": False}


def test_a_store_that_is_there_stays_ready_without_the_registry(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    watch = Watch(desk.serving.registry, desk.serving.store)
    asyncio.run(watch.look())
    desk.close()
    (tmp_path / "registry.db").unlink()
    (tmp_path / "registry.db").mkdir()
    watch._reached = dict.fromkeys(watch._reached, -1e9)

    with pytest.raises(RegistryError):
        asyncio.run(watch.look())

    assert (watch.up(), watch.is_ready) == ({"registry": False, "online_store": True}, True)


def test_requests_values_and_rows_are_counted(desk: Desk) -> None:
    for _ in range(2):
        desk.ask(features="spend", entity_rows=ROWS, now=LATER)
    desk.ask(features=["spend:amount"], entity_rows=ROWS)
    desk.ask(features="spend", entity_rows=[{}])
    desk.ask(features="unheard_of", entity_rows=ROWS)
    desk.call("POST", "/get-online-features", content=b"{")

    found = samples(desk)

    requests = {labels: n for (name, labels), n in found.items() if name == "features_http_requests_total"}
    assert requests == {
        (("code", "200"), ("service", "spend")): 2,
        (("code", "200"), ("service", "references")): 1,
        (("code", "400"), ("service", "spend")): 1,
        (("code", "404"), ("service", "none")): 1,
        (("code", "400"), ("service", "none")): 1,
    }
    values = {
        dict(labels)["status"]: n for (name, labels), n in found.items() if name == "features_online_values_total"
    }
    # Two requests of two features for a key that is known and one that is not; one request long after noon.
    assert values == {"PRESENT": 2, "NULL": 2, "NOT_FOUND": 5, "EXPIRED": 1}
    assert found["features_http_entity_rows_total", (("service", "spend"),)] == 5
    assert found["features_http_request_seconds_count", (("service", "spend"),)] == 3
    assert found["features_http_request_seconds_bucket", (("le", "+Inf"), ("service", "spend"))] == 3


def test_names_that_nobody_knows_make_no_series(desk: Desk) -> None:
    for number in range(50):
        desk.ask(features=f"guess_{number}", entity_rows=[])
        desk.ask(features=f"spend:guess_{number}", entity_rows=[])

    assert len([name for name, _ in samples(desk) if name == "features_http_requests_total"]) == 1


def test_freshness_is_the_time_since_the_load(desk: Desk) -> None:
    asyncio.run(desk.application._watch.look())

    found = {
        dict(labels)["view"]: n
        for (name, labels), n in samples(desk).items()
        if name == "features_view_freshness_seconds"
    }

    assert set(found) == {"spend@1", "route@1", "every@1"}
    assert all(0 <= seconds < 60 for seconds in found.values())


def test_a_histogram_counts_below_and_at_each_bound() -> None:
    metrics = Metrics()
    for seconds in (BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1] + 1):
        metrics.count_request("s", 200, seconds, 1)

    counts = metrics.counts.seconds["s"].counts
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (1, 1, 1, 3)


def test_workers_add_up_and_a_successor_goes_on_counting(tmp_path: Path) -> None:
    clock = {"at": time.time()}
    first, second = (
        Metrics(folder=tmp_path, worker=n, gauges=lambda: Gauges(at=clock["at"]), client=lambda: {"cache_hits": 5})
        for n in (0, 1)
    )
    for metrics, times in ((first, 2), (second, 3)):
        for _ in range(times):
            metrics.count_request("s", 200, 0.01, 1)
            metrics.count_values("v", ["PRESENT", "NULL"], columns=2)
        metrics.share()
    successor = Metrics(
        folder=tmp_path, worker=1, gauges=lambda: Gauges(at=clock["at"]), client=lambda: {"cache_hits": 1}
    )
    successor.count_request("s", 200, 0.01, 1)

    counts, gauges = successor.all_workers()

    assert counts.requests == {"s": {"200": 6}}
    assert counts.values == {"v": {"PRESENT": 10, "NULL": 10}}
    assert counts.client == {"cache_hits": 11}
    assert sum(counts.seconds["s"].counts) == 6
    assert set(gauges) == {0, 1}


def test_gauges_of_a_worker_that_is_gone_are_left_out(tmp_path: Path) -> None:
    gone = Metrics(folder=tmp_path, worker=0, gauges=lambda: Gauges(at=time.time() - 60, in_flight=7))
    gone.count_refused("overload")
    gone.share()

    counts, gauges = Metrics(folder=tmp_path, worker=1).all_workers()

    assert set(gauges) == {1}
    assert counts.refused == {"overload": 1}


def test_the_access_log_tells_who_asked_for_what_and_no_values(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "access.log"
    desk = Desk(tmp_path, access_log=str(path))
    desk.application._log.start()
    desk.ask(features="spend", entity_rows=[{"customer": "secret-key"}], headers={"x-request-id": "r/1"})
    desk.ask(features=["spend:amount"] * 50, entity_rows=[])
    desk.ask(features="x" * 10_000, entity_rows=[])
    desk.call("GET", "/health")
    desk.application._log.close()

    lines = [json.loads(line) for line in path.read_text().splitlines()]

    assert [line["status"] for line in lines] == [200, 400, 404]
    assert {k: v for k, v in lines[0].items() if k not in ("time", "ms")} == {
        "request_id": "r/1", "method": "POST", "path": "/get-online-features", "status": 200, "features": "spend",
        "rows": 1,
    }  # fmt: skip
    assert 0 < lines[0]["ms"] < 60_000
    assert lines[0]["time"].endswith("Z")
    assert len(lines[1]["features"]) == 20
    assert len(lines[2]["features"]) == 200
    assert "secret-key" not in path.read_text()
    desk.close()


def test_a_log_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="access_log"):
        AccessLog(str(tmp_path))


def test_a_log_that_nobody_reads_drops_lines_and_counts_them() -> None:
    log = AccessLog("stderr")
    line = AccessLine(time=now(), request_id="r", method="POST", path="/", status=200, ms=1.0)
    for _ in range(20_003):
        log.write(line)

    assert log.dropped == 3


@pytest.mark.parametrize("given", ["a" * 129, "a b", "a\tb", "é".encode(), "", 'x"y'])
def test_a_request_id_that_could_break_a_log_is_replaced(desk: Desk, given: str | bytes) -> None:
    answer = desk.call("GET", "/health", headers={b"x-request-id": given.encode() if isinstance(given, str) else given})

    assert answer.headers["x-request-id"] not in ("", given)


def test_every_answer_carries_the_request_id(desk: Desk) -> None:
    for path in ("/health", "/nowhere", "/get-online-features"):
        assert desk.call("GET", path, headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"


def test_openapi_describes_both_forms_of_request(desk: Desk) -> None:
    document = desk.call("GET", "/openapi.json").json()

    content = document["paths"]["/get-online-features"]["post"]["requestBody"]["content"]["application/json"]
    names = [schema["$ref"].rpartition("/")[2] for schema in content["schema"]["anyOf"]]
    assert names == ["OnlineRequest", "FeastRequest"]
    schemas = document["components"]["schemas"]
    assert schemas["OnlineRequest"]["required"] == ["features", "entity_rows"]
    assert schemas["OnlineRequest"]["additionalProperties"] is False
    assert msgspec.json.decode(msgspec.json.encode(document)) == document
