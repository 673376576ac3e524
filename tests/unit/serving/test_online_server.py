import asyncio
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import httpx
import pytest

from features import DType
from features.errors import OnlineStoreError, RegistryError, SpineError
from features.serving.client import OnlineClient
from features.serving.json_values import read_entity_row, to_json
from features.serving.server import create_app
from features.stores.memory import MemoryRow, MemoryStore
from tests.applied_views import SPEND, applied_view, requested

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def call(client, method, path, **arguments):
    async def send():
        transport = httpx.ASGITransport(app=create_app(client))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.request(method, path, **arguments)

    return asyncio.run(send())


def ask(client, **body):
    return call(client, "POST", "/get-online-features", json=body)


def test_features_are_answered_with_statuses(client, load):
    load(SPEND, ("a",), {"amount": 1.5, "visits": None})

    response = ask(
        client, features="spend", entity_rows=[{"customer": "a"}, {"customer": "b"}], now="2024-01-01T13:00:00+00:00"
    )

    assert response.status_code == 200
    assert response.json() == {
        "columns": {"customer": ["a", "b"], "amount": [1.5, None], "visits": [None, None]},
        "statuses": {"amount": ["PRESENT", "NOT_FOUND"], "visits": ["NULL", "NOT_FOUND"]},
    }


def test_references_full_names_and_now_are_passed_on(client, load):
    load(SPEND, ("a",), {"amount": 1.5, "visits": None}, event=NOON)

    response = ask(
        client,
        features=["spend:amount"],
        entity_rows=[{"customer": "a"}],
        now="2024-02-01T00:00:00+00:00",
        full_feature_names=True,
    )

    assert response.json()["statuses"] == {"spend__amount": ["EXPIRED"]}


def test_health_answers_without_the_store(catalogue):
    assert call(OnlineClient(catalogue, MemoryStore()), "GET", "/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"features": "spend", "entity_rows": [{}]}, 400, "lacks 'customer'"),
        ({"features": "spend", "entity_rows": [{"customer": 1}]}, 400, "must be a string"),
        ({"features": "spent", "entity_rows": []}, 404, "did you mean 'spend'"),
        ({"features": "spend", "entity_rows": [], "now": "yesterday"}, 400, "is not an ISO time"),
        ({"features": "spend"}, 400, "entity_rows: Field required"),
        ({"features": "spend", "entity_rows": [], "feature": 1}, 400, "Extra inputs"),
    ],
)
def test_wrong_requests_get_a_message_and_no_trace(client, body, status, message):
    response = ask(client, **body)

    assert response.status_code == status
    assert message in response.json()["detail"]


@pytest.mark.parametrize("error", [OnlineStoreError("Cassandra is away"), RegistryError("no registry")])
def test_a_store_that_is_away_is_unavailable(error):
    class Away:
        def resolve(self, features):
            raise error

    response = ask(OnlineClient(Away(), MemoryStore()), features="spend", entity_rows=[])

    assert (response.status_code, response.json()) == (503, {"detail": str(error)})


def test_keys_and_values_that_json_has_no_type_for_go_both_ways():
    keys = {"at": DType.TIMESTAMP, "day": DType.DATE, "price": DType.DECIMAL(5, 2), "blob": DType.BYTES}
    view = applied_view(keys=keys, features={"x": DType.FLOAT64, "xs": DType.ARRAY(DType.TIMESTAMP)})
    store = MemoryStore()
    store.create(view)
    key = (datetime(2024, 1, 1, 0, 0, 0, 1, UTC), date(2024, 1, 1), Decimal("1.50"), b"\x00\xff")
    values = {"x": math.nan, "xs": [NOON]}
    store.apply_rows("spend__v1", [MemoryRow(key=key, event_micros=0, created_micros=0, values=values)], position=1)

    class Registry:
        def resolve(self, features):
            return requested(view)

    row = {"at": "2024-01-01T00:00:00.000001+00:00", "day": "2024-01-01", "price": "1.50", "blob": "AP8="}
    response = ask(
        OnlineClient(Registry(), store), features="spend", entity_rows=[row], now="1970-01-01T00:00:00+00:00"
    )

    assert response.json()["columns"] == {
        **{name: [value] for name, value in row.items()}, "x": ["NaN"], "xs": [["2024-01-01T12:00:00+00:00"]]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "text"),
    [(DType.TIMESTAMP, "noon"), (DType.DATE, "2024-13-01"), (DType.DECIMAL(5, 2), "1,5"), (DType.BYTES, "?")],
)
def test_a_key_that_is_not_written_as_its_type_is_named(dtype, text):
    with pytest.raises(SpineError, match=r"entity_rows\[3\]\['key'\]"):
        read_entity_row({"key": text}, {"key": dtype}, 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ([1.0, math.nan], [1.0, "NaN"]),
        (Decimal("1E+2"), "100"),
        (2**63 - 1, 2**63 - 1),
        (True, True),
        ("é", "é"),
        (None, None),
    ],
)
def test_values_become_valid_json(value, expected):
    assert to_json(value) == expected
    json.dumps(to_json(value), allow_nan=False)
