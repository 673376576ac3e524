import asyncio
import gc
import threading
import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from features import DType
from features.errors import NotFoundError, OnlineStoreError, RegistryError, SpineError, UsageError
from features.serving.cache import RowCache
from features.serving.client import OnlineClient
from features.stores.memory import MemoryStore
from tests.applied_views import ROUTE, SPEND, applied_view, requested
from tests.serving_registry import Catalogue

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def test_each_value_has_a_status_and_only_present_ones_a_value(client, load):
    load(SPEND, ("a",), {"amount": 1.5, "visits": None})
    load(SPEND, ("old",), {"amount": 9.0, "visits": 9}, event=NOON - timedelta(days=3))

    response = client.get(
        features="spend", entity_rows=[{"customer": "a"}, {"customer": "old"}, {"customer": "nobody"}], now=NOON
    )

    assert response.to_dict() == {
        "customer": ["a", "old", "nobody"],
        "amount": [1.5, None, None],
        "visits": [None, None, None],
    }
    assert response.statuses == {
        "amount": ["PRESENT", "EXPIRED", "NOT_FOUND"],
        "visits": ["NULL", "EXPIRED", "NOT_FOUND"],
    }
    assert response.event_timestamps["visits"] == [NOON, NOON - timedelta(days=3), None]


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(hours=24) - MICROSECOND, "PRESENT"),
        (timedelta(hours=24), "PRESENT"),
        (timedelta(hours=24) + MICROSECOND, "EXPIRED"),
        (-timedelta(hours=1), "PRESENT"),
    ],
)
def test_a_value_expires_a_microsecond_after_its_lookback(client, load, age, status):
    load(SPEND, ("a",), {"amount": 1.5, "visits": 2}, event=NOON - age)

    response = client.get(features="spend:amount", entity_rows=[{"customer": "a"}], now=NOON)

    assert response.statuses == {"amount": [status]}


def test_a_view_without_lookback_never_expires(client, load):
    load(ROUTE, ("JFK", 1), {"minutes": 3.0}, event=datetime(1, 1, 1, tzinfo=UTC))

    response = client.get(features="route:minutes", entity_rows=[{"origin": "JFK", "stop": 1}])

    assert response.statuses == {"minutes": ["PRESENT"]}


def test_lookback_is_judged_at_present_unless_told_otherwise(client, load):
    load(SPEND, ("a",), {"amount": 1.5, "visits": 2}, event=datetime.now(UTC) - timedelta(hours=23))
    load(SPEND, ("b",), {"amount": 1.5, "visits": 2}, event=datetime.now(UTC) - timedelta(hours=25))

    response = client.get(features="spend:amount", entity_rows=[{"customer": "a"}, {"customer": "b"}])

    assert response.statuses == {"amount": ["PRESENT", "EXPIRED"]}


def test_now_may_be_text_with_any_offset(client, load):
    load(SPEND, ("a",), {"amount": 1.5, "visits": 2}, event=NOON)
    rows = [{"customer": "a"}]

    for now in ("2024-01-02T12:00:00+00:00", datetime(2024, 1, 2, 7, tzinfo=timezone(timedelta(hours=-5)))):
        assert client.get(features="spend:amount", entity_rows=rows, now=now).statuses == {"amount": ["PRESENT"]}
    with pytest.raises(UsageError, match="now=2024-01-02T12:00:00 has no time zone"):
        client.get(features="spend:amount", entity_rows=rows, now="2024-01-02T12:00:00")


def test_each_view_is_asked_for_its_own_distinct_keys_only(catalogue, store, load):
    load(SPEND, ("a",), {"amount": 1.0, "visits": 1})
    load(ROUTE, ("JFK", 1), {"minutes": 5.0})
    asked = []

    class Recorder(MemoryStore):
        def read(self, requests, *, timeout_seconds=None):
            asked.extend((request.view.name, request.features, request.keys) for request in requests)
            return store.read(requests)

    response = OnlineClient(catalogue, Recorder()).get(
        features="model",
        entity_rows=[
            {"customer": "a", "origin": "JFK", "stop": 1},
            {"customer": "a", "origin": "JFK", "stop": 2},
            {"customer": None, "origin": "JFK", "stop": 1},
        ],
        now=NOON,
    )

    assert asked == [
        ("spend", ("amount", "visits"), (("a",),)),
        ("route", ("minutes",), (("JFK", 1), ("JFK", 2))),
    ]
    assert response.to_dict() == {
        "customer": ["a", "a", None],
        "origin": ["JFK", "JFK", "JFK"],
        "stop": [1, 2, 1],
        "amount": [1.0, 1.0, None],
        "visits": [1, 1, None],
        "minutes": [5.0, None, 5.0],
    }
    assert response.statuses["amount"] == ["PRESENT", "PRESENT", "NOT_FOUND"]


def test_a_null_part_of_a_composite_key_matches_nothing(client, load):
    load(ROUTE, ("JFK", 1), {"minutes": 5.0})

    response = client.get(
        features="route:minutes", entity_rows=[{"origin": None, "stop": 1}, {"origin": "JFK", "stop": None}]
    )

    assert response.statuses == {"minutes": ["NOT_FOUND", "NOT_FOUND"]}


def test_features_come_in_the_order_asked_whichever_view_they_are_of(client):
    response = client.get(
        features=["spend:visits", "route:minutes", "spend:amount"],
        entity_rows=[{"customer": "a", "origin": "JFK", "stop": 1}],
    )

    assert list(response.to_dict()) == ["customer", "origin", "stop", "visits", "minutes", "amount"]
    assert list(response.statuses) == list(response.event_timestamps) == ["visits", "minutes", "amount"]


def test_full_feature_names_carry_the_view(client):
    response = client.get(features="spend", entity_rows=[{"customer": "a"}], full_feature_names=True)

    assert list(response.to_dict()) == ["customer", "spend__amount", "spend__visits"]


def test_other_columns_come_back_untouched(client):
    response = client.get(
        features="spend:amount", entity_rows=[{"note": "x", "customer": "a"}, {"customer": "b", "rank": 1}]
    )

    assert response.to_dict() == {
        "note": ["x", None], "customer": ["a", "b"], "rank": [None, 1], "amount": [None, None]
    }  # fmt: skip


def test_without_entity_rows_there_are_columns_and_no_values(client):
    response = client.get(features="model", entity_rows=[])

    assert response.to_dict() == {
        "customer": [], "origin": [], "stop": [], "amount": [], "visits": [], "minutes": []
    }  # fmt: skip
    assert response.statuses == {"amount": [], "visits": [], "minutes": []}


def test_a_missing_join_key_is_named_with_its_row_and_its_view(client):
    with pytest.raises(SpineError, match=r"entity_rows\[1\] lacks 'stop', a join key of route; it has 'origin'"):
        client.get(features="route:minutes", entity_rows=[{"origin": "a", "stop": 1}, {"origin": "b"}])


@pytest.mark.parametrize("stop", ["1", 1.0, True, 2**31, -(2**31) - 1, float("nan")])
def test_a_join_key_of_another_type_is_named_with_its_row(client, stop):
    with pytest.raises(SpineError, match=r"entity_rows\[0\]\['stop'\], a join key of route, must be an int32"):
        client.get(features="route:minutes", entity_rows=[{"origin": "a", "stop": stop}])


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        (DType.INT64, [2**63 - 1, -(2**63)], [2**63]),
        (DType.STRING, ["", "\u00e9\U0001f600", "\0"], ["\ud800", b"a"]),
        (DType.BYTES, [b"", b"\xff"], ["a"]),
        (DType.BOOL, [True, False], [1]),
        (DType.DATE, [date(1, 1, 1)], [NOON, "2024-01-01"]),
        (DType.TIMESTAMP, [NOON], [NOON.replace(tzinfo=None), date(2024, 1, 1)]),
        (DType.DECIMAL(4, 2), [Decimal("99.99"), Decimal("1.500"), -99], [Decimal("1.005"), 100, Decimal("NaN"), 1.5]),
    ],
)
def test_keys_of_every_type_are_judged_by_their_own_rules(dtype, good, bad):
    view = applied_view(keys={"key": dtype})
    store = MemoryStore()
    store.create(view)

    client = OnlineClient(Catalogue(everything=requested(view)), store)

    assert client.get(features="spend", entity_rows=[{"key": key} for key in good]).statuses == {
        "amount": ["NOT_FOUND"] * len(good)
    }
    for key in bad:
        with pytest.raises(SpineError, match="must be a"):
            client.get(features="spend", entity_rows=[{"key": key}])


@pytest.mark.parametrize(
    ("entity_rows", "message"),
    [
        ({"customer": "a"}, "must be a list of mappings"),
        ("a", "must be a list of mappings"),
        (["a"], r"entity_rows\[0\] must map join keys to values, got str"),
        ([{1: "a"}], "has a key that is no string: 1"),
        ([{"customer": "a", "amount": 1}], "has a column 'amount', as has the answer"),
    ],
)
def test_entity_rows_of_another_shape_are_refused(client, entity_rows, message):
    with pytest.raises(SpineError, match=message):
        client.get(features="spend", entity_rows=entity_rows)


def test_an_unknown_feature_is_an_error_with_a_near_match(client):
    with pytest.raises(NotFoundError, match="did you mean 'spend:amount'"):
        client.get(features=["spend:amont"], entity_rows=[{"customer": "a"}])


@pytest.mark.parametrize("features", [None, 1, [["spend"]]])
def test_features_of_another_type_are_refused(client, features):
    with pytest.raises(UsageError, match="features must be"):
        client.get(features=features, entity_rows=[{"customer": "a"}])


def test_a_view_that_was_never_applied_to_the_store_is_an_error(catalogue):
    with pytest.raises(OnlineStoreError, match=r"nothing of spend@1 is loaded .* `features load spend@1`"):
        OnlineClient(catalogue, MemoryStore()).get(features="spend", entity_rows=[{"customer": "a"}])


def test_async_answers_what_sync_answers(client, load):
    load(SPEND, ("a",), {"amount": 1.5, "visits": 2})
    load(ROUTE, ("JFK", 1), {"minutes": 5.0})
    request = {
        "features": "model",
        "entity_rows": [{"customer": "a", "origin": "JFK", "stop": 1}, {"customer": "b", "origin": None, "stop": 1}],
        "now": NOON,
    }

    async def twice():
        return await asyncio.gather(client.get_async(**request), client.get_async(**request))

    assert asyncio.run(twice()) == [client.get(**request)] * 2


def test_a_request_is_resolved_once_and_again_when_the_registry_says_that_something_changed(catalogue, store):
    client = OnlineClient(catalogue, store, poll_seconds=0)

    for _ in range(3):
        client.get(features=["spend"], entity_rows=[])
    assert catalogue.resolved == 1
    catalogue.switch()
    deadline = time.monotonic() + 5
    while catalogue.resolved == 1 and time.monotonic() < deadline:
        client.get(features=["spend"], entity_rows=[])

    assert catalogue.resolved == 2
    client.get(features=["spend"], entity_rows=[])
    assert catalogue.resolved == 2


def test_without_a_registry_requests_that_were_compiled_go_on(catalogue, store, load, monkeypatch):
    load(SPEND, ("a",), {"amount": 1.5, "visits": 2})
    client = OnlineClient(catalogue, store, poll_seconds=0)
    request = {"features": ["spend"], "entity_rows": [{"customer": "a"}], "now": NOON}
    before = client.get(**request)

    def fail(*_: object) -> int:
        raise RegistryError("the registry is away")

    monkeypatch.setattr(catalogue, "serving_generation", fail)

    assert [client.get(**request) for _ in range(20)] == [before] * 20


def test_what_was_read_is_told_to_the_registry_by_consumer(catalogue, store):
    client = OnlineClient(catalogue, store)

    client.get(features="model", entity_rows=[], consumer="checkout")
    client.get(features="spend", entity_rows=[])
    assert catalogue.reads == []
    client.close()

    told = {(read.view, read.version, read.consumer.partition(":")[0]) for read in catalogue.reads}
    assert told == {("spend", 1, "checkout"), ("route", 1, "checkout"), ("spend", 1, "python")}


def test_lists_in_an_answer_are_the_callers_own(catalogue, store, load):
    embedded = applied_view("embedded", features={"vector": DType.VECTOR(2)})
    catalogue.everything = requested(embedded)
    store.create(embedded)
    load(embedded, ("a",), {"vector": [1.0, 2.0]})
    client = OnlineClient(catalogue, store, cache=RowCache(ttl_seconds=60))
    request = {"features": ["embedded"], "entity_rows": [{"customer": "a"}, {"customer": "a"}], "now": NOON}

    first = client.get(**request).to_dict()["vector"]
    first[0].clear()

    assert first == [[], [1.0, 2.0]]
    assert client.get(**request).to_dict()["vector"] == [[1.0, 2.0]] * 2


def test_an_idle_client_follows_the_registry_and_tells_what_it_read(catalogue, store):
    client = OnlineClient(catalogue, store, poll_seconds=0.02)
    client.get(features="spend", entity_rows=[], consumer="weekly")
    until = time.monotonic() + 30

    while not catalogue.reads:
        assert time.monotonic() < until
        time.sleep(0.01)

    assert {(read.view, read.consumer) for read in catalogue.reads} == {("spend", "weekly")}


def test_a_client_that_nobody_holds_polls_no_more(catalogue, store):
    before = threading.enumerate()
    client = OnlineClient(catalogue, store, poll_seconds=0.02)
    client.get(features="spend", entity_rows=[])
    (poller,) = [thread for thread in threading.enumerate() if thread not in before]

    del client
    gc.collect()

    poller.join(30)
    assert not poller.is_alive()


def test_the_first_read_of_a_version_is_told_without_waiting_for_the_client_to_end(catalogue, store):
    client = OnlineClient(catalogue, store, poll_seconds=0)
    until = time.monotonic() + 30

    while not catalogue.reads:
        client.get(features="spend", entity_rows=[], consumer="checkout")
        assert time.monotonic() < until

    assert {(read.view, read.version, read.consumer) for read in catalogue.reads} == {("spend", 1, "checkout")}


def test_a_default_stands_for_what_is_not_present_and_the_status_stays(client, load):
    load(SPEND, ("a",), {"amount": None, "visits": 2})

    response = client.get(
        features="spend",
        entity_rows=[{"customer": "a"}, {"customer": "b"}],
        now=NOON,
        defaults={"amount": 0.0, "visits": -1},
    )

    assert response.to_dict() == {"customer": ["a", "b"], "amount": [0.0, 0.0], "visits": [2, -1]}
    assert response.statuses == {"amount": ["NULL", "NOT_FOUND"], "visits": ["PRESENT", "NOT_FOUND"]}


@pytest.mark.parametrize(
    ("defaults", "message"),
    [({"amont": 0.0}, "'amont', which is not asked for"), ({"visits": "none"}, "'visits' must be int64, got str")],
)
def test_a_default_of_no_column_or_of_another_type_is_refused(client, defaults, message):
    with pytest.raises(UsageError, match=message):
        client.get(features="spend", entity_rows=[], defaults=defaults)


def test_a_partial_answer_is_marked_and_only_given_where_it_is_allowed(catalogue, load, store):
    load(SPEND, ("a",), {"amount": 1.5, "visits": 2})
    client = OnlineClient(catalogue, store)
    store.drop(ROUTE)
    request = {
        "features": "model",
        "entity_rows": [{"customer": "a", "origin": "JFK", "stop": 1}],
        "now": NOON,
    }

    partial = client.get(**request, allow_partial=True)

    assert partial.features == {"amount": [1.5], "visits": [2], "minutes": [None]}
    assert partial.statuses["minutes"] == ["UNAVAILABLE"]
    assert partial.is_partial
    assert list(partial.errors) == ["route@1"]
    with pytest.raises(OnlineStoreError, match="no table route__v1"):
        client.get(**request)


def test_a_cached_row_is_answered_without_the_store_until_its_time_is_over(catalogue, store, load):
    now = [0.0]
    cache = RowCache(ttl_seconds=10, clock=lambda: now[0])
    client = OnlineClient(catalogue, store, cache=cache)
    rows = [{"customer": "a"}, {"customer": "b"}]

    def amounts() -> list[float | None]:
        return client.get(features="spend:amount", entity_rows=rows, now=NOON).features["amount"]

    load(SPEND, ("a",), {"amount": 1.5, "visits": 2})
    assert amounts() == [1.5, None]
    load(SPEND, ("a",), {"amount": 2.5, "visits": 2})
    load(SPEND, ("b",), {"amount": 3.5, "visits": 2})
    now[0] = 9.9
    assert amounts() == [1.5, None]
    now[0] = 10.0
    assert amounts() == [2.5, 3.5]
    assert (cache.counts.hits, cache.counts.misses, cache.counts.hit_rate) == (2, 4, 1 / 3)


def test_a_full_cache_lets_go_of_what_it_has_kept_longest(catalogue, store):
    cache = RowCache(ttl_seconds=10, max_rows=2)
    client = OnlineClient(catalogue, store, cache=cache)

    for customer in ("a", "b", "c", "c", "b", "a"):
        client.get(features="spend:amount", entity_rows=[{"customer": customer}])

    assert (cache.counts.rows, cache.counts.hits, cache.counts.misses) == (2, 2, 4)
