"""On-demand features online: of what is stored and of the request, with statuses, from Python and over HTTP."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from features import DType, Feature, RequestSource, on_demand
from features.config import ServingSettings
from features.core.applied import AppliedView
from features.core.discovery import Definitions
from features.core.times import to_micros
from features.errors import NotFoundError, SpineError, StaleCodeError, TransformError
from features.serving.client import OnlineClient
from features.serving.http.app import Application, Serving
from features.stores.memory import MemoryRow, MemoryStore
from tests.applied_views import SPEND
from tests.on_demand_views import EVERY_DTYPE, Known, apply_on_demand, checks, derived, passes_on_arrow

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
NIGHT = datetime(2024, 1, 1, 23, tzinfo=UTC)
CODE = Definitions(views={}, services={}, on_demand={"checks": checks, "passes_on_arrow": passes_on_arrow})


@pytest.fixture
def store() -> MemoryStore:
    """Customers a, with an amount; null, whose amount is null; old, whose row is past lookback."""
    made = MemoryStore(clock=lambda: NOON)
    made.create(SPEND)
    for key, amount, event in (("a", 2.0, NOON), ("null", None, NOON), ("old", 2.0, NOON - timedelta(days=3))):
        micros = to_micros(event)
        values = {"amount": amount, "visits": 7}
        row = MemoryRow(key=(key,), event_micros=micros, created_micros=micros, values=values)
        made.apply_rows(SPEND.online_table, [row], position=1)
    return made


@pytest.fixture
def client(store: MemoryStore) -> OnlineClient:
    return OnlineClient(Known(), store, definitions=lambda: CODE)


def rows(*customers: str | None, **changes: Any) -> list[Mapping[str, Any]]:
    return [{"customer": customer, "price": 3.0, "paid_at": NIGHT, **changes} for customer in customers]


def test_values_are_computed_of_what_is_stored_and_of_the_request(client):
    response = client.get(features=["checks"], entity_rows=rows("a", "null", "old", "nobody", None), now=NOON)

    assert response.to_dict() == {
        "customer": ["a", "null", "old", "nobody", None],
        "price": [3.0] * 5,
        "paid_at": [NIGHT] * 5,
        "is_night": [True] * 5,
        "times_usual": [1.5, None, None, None, None],
    }
    assert response.statuses == {"is_night": ["PRESENT"] * 5, "times_usual": ["PRESENT", *["NULL"] * 4]}
    assert response.event_timestamps["is_night"] == [None] * 5
    assert dict(response.types) == {
        "customer": DType.STRING, "price": DType.FLOAT64, "paid_at": DType.TIMESTAMP, "is_night": DType.BOOL,
        "times_usual": DType.FLOAT64,
    }  # fmt: skip


def test_stored_and_computed_features_come_in_the_order_asked(client):
    features = ["spend:visits", "checks:times_usual", "spend:amount"]

    response = client.get(features=features, entity_rows=rows("a"), now=NOON, full_feature_names=True)

    assert response.features == {"spend__visits": [7], "checks__times_usual": [1.5], "spend__amount": [2.0]}


def test_without_rows_there_are_columns(client):
    response = client.get(features=["checks:is_night"], entity_rows=[])

    assert response.to_dict() == {"customer": [], "price": [], "paid_at": [], "is_night": []}


def test_async_answers_what_sync_answers(client):
    request = {"features": ["checks"], "entity_rows": rows("a", "nobody"), "now": NOON}

    assert asyncio.run(client.get_async(**request)) == client.get(**request)


def test_null_request_columns_reach_the_function(client):
    response = client.get(features=["checks"], entity_rows=rows("a", price=None, paid_at=None), now=NOON)

    assert response.statuses == {"is_night": ["NULL"], "times_usual": ["NULL"]}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"customer": "a", "paid_at": NIGHT}, r"entity_rows\[0\] lacks 'price', a request column of checks; it has"),
        ({**rows("a")[0], "price": "3"}, r"\['price'\], a request column of checks, must be a float64, got str '3'"),
        ({**rows("a")[0], "price": True}, "must be a float64, got bool"),
        ({**rows("a")[0], "price": 2**53 + 1}, "must be a float64, got int 9007199254740993"),
        ({**rows("a")[0], "paid_at": datetime(2024, 1, 1)}, r"must be a timestamp \(an aware datetime\)"),  # noqa: DTZ001
        ({"price": 3.0, "paid_at": NIGHT}, "lacks 'customer', a join key of spend"),
    ],
)
def test_a_row_without_what_is_needed_is_told(client, row, told):
    with pytest.raises(SpineError, match=told):
        client.get(features=["checks"], entity_rows=[row])


def test_a_function_that_fails_is_told_without_a_trace(store):
    @on_demand(inputs=["spend:amount"], returns=[Feature("y", DType.INT64)])
    def broken(batch: Any) -> Any:
        return batch.assign(y=int(batch["amount"].iloc[0]))

    known = Known({"broken": derived(apply_on_demand(broken, SPEND))})
    code = Definitions(views={}, services={}, on_demand={"broken": broken})
    client = OnlineClient(known, store, definitions=lambda: code)

    assert client.get(features="broken", entity_rows=[{"customer": "a"}], now=NOON).features == {"y": [2]}
    with pytest.raises(TransformError, match="on-demand feature view 'broken' failed: TypeError"):
        client.get(features="broken", entity_rows=[{"customer": "nobody"}])


def test_code_that_was_not_applied_does_not_answer(store):
    @on_demand(inputs=checks.inputs, returns=checks.features, name="checks")
    def other(batch: Any) -> Any:
        return batch.assign(is_night=None, times_usual=0.0)

    for on_demand_views, told in (({"checks": other}, "is not that of checks@1"), ({}, "has nothing of checks@1")):
        code = Definitions(views={}, services={}, on_demand=on_demand_views)
        client = OnlineClient(Known(), store, definitions=lambda code=code: code)
        with pytest.raises(StaleCodeError, match=told):
            client.get(features=["checks"], entity_rows=rows("a"))
        # What is stored is answered all the same.
        assert client.get(features=["spend:visits"], entity_rows=rows("a"), now=NOON).features == {"visits": [7]}


def test_a_client_without_a_views_package_says_so(store):
    with pytest.raises(StaleCodeError, match=r"without a views package"):
        OnlineClient(Known(), store).get(features=["checks"], entity_rows=rows("a"))


def test_features_of_the_request_alone_need_no_key():
    source = RequestSource(name="given", schema={"x": DType.INT64})

    @on_demand(inputs=[source], returns=[Feature("y", DType.INT64)], mode="arrow")
    def same(batch: Any) -> Any:
        return batch.rename_columns(["y"])

    known = Known({"same": derived(apply_on_demand(same))})
    code = Definitions(views={}, services={}, on_demand={"same": same})
    client = OnlineClient(known, MemoryStore(), definitions=lambda: code)

    assert client.get(features="same", entity_rows=[{"x": 1}, {"x": None}]).to_dict() == {
        "x": [1, None],
        "y": [1, None],
    }


class NothingLoaded:
    """A registry for a server that is only asked for features."""

    def loads(self, *, target: str) -> Mapping[str, datetime]:
        return {}

    def view(self, reference: str) -> AppliedView:
        raise NotFoundError(f"no feature view {reference!r}")


def ask(client: OnlineClient, **body: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        settings = ServingSettings(access_log="off")
        serving = Serving(client=client, registry=NothingLoaded(), store=MemoryStore(), settings=settings)
        transport = httpx.ASGITransport(app=Application(serving))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.post("/get-online-features", json=body)

    return asyncio.run(send())


def test_over_http_request_columns_are_written_as_their_types_are(client):
    entity_rows = [{"customer": "a", "price": 3, "paid_at": "2024-01-01T23:00:00+00:00"}]

    response = ask(client, features=["checks"], entity_rows=entity_rows, now="2024-01-01T12:00:00+00:00")

    assert response.json() == {
        "columns": {
            "customer": ["a"], "price": [3], "paid_at": ["2024-01-01T23:00:00+00:00"], "is_night": [True],
            "times_usual": [1.5],
        },
        "statuses": {"is_night": ["PRESENT"], "times_usual": ["PRESENT"]},
    }  # fmt: skip


def test_over_http_every_type_goes_there_and_back():
    known = Known({"all": derived(apply_on_demand(passes_on_arrow))})
    client = OnlineClient(known, MemoryStore(), definitions=lambda: CODE)
    values = {
        "bool": True, "int32": -1, "int64": 2**63 - 1, "float32": 0.5, "float64": "NaN", "decimal": "1.5000",
        "string": "é", "bytes": "AP8=", "date": "2024-01-01", "timestamp": "2024-01-01T00:00:00.000001+00:00",
        "strings": ["a", ""], "timestamps": ["2024-01-01T00:00:00+00:00"], "vector": [1.0, "-Infinity", 3.0],
    }  # fmt: skip
    assert set(values) == set(EVERY_DTYPE)
    nulls = dict.fromkeys(values)

    response = ask(
        client, features="all", entity_rows=[{f"{k}_in": v for k, v in row.items()} for row in (values, nulls)]
    )

    columns = response.json()["columns"]
    assert {name: columns[f"{name}_out"] for name in values} == {name: [value, None] for name, value in values.items()}


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        ({"paid_at": "noon"}, 400, "entity_rows[0]['paid_at'] is not a timestamp: 'noon'"),
        ({"price": "three"}, 400, "entity_rows[0]['price'] is not a float64: 'three'"),
        ({"price": [3.0]}, 400, "must be a float64, got list"),
    ],
)
def test_over_http_a_value_of_another_type_is_told(client, changes, status, told):
    row = {"customer": "a", "price": 3, "paid_at": "2024-01-01T23:00:00+00:00", **changes}

    response = ask(client, features=["checks"], entity_rows=[row])

    assert response.status_code == status
    assert told in response.json()["detail"]


LEAN = """
import sys
for name in ("pandas", "pyarrow", "numpy", "pyspark"):
    sys.modules[name] = None
from datetime import timedelta
from features import *
from features.core.applied import AppliedView, RequestedFeature
from features.core.applied_on_demand import AppliedOnDemandView, DerivedFeature
from features.core.discovery import Definitions
from features.errors import PlatformError
from features.serving.client import OnlineClient
from features.stores.memory import MemoryRow, MemoryStore
from tests.serving_registry import Catalogue

AMOUNT, RATIO = Feature("amount", DType.FLOAT64), Feature("ratio", DType.FLOAT64)
CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING})
FILES = BatchSource(name="files", path="files", format="parquet", timestamp_field="at")
SPEND = AppliedView(name="spend", version=1, definition_hash="", entities=[CUSTOMER], sources=[FILES],
                    features=[AMOUNT], lookback=None, schedule="@daily", delay=timedelta(0), description="d", owner="o")
STORED = RequestedFeature(SPEND, AMOUNT)
CHECKS = AppliedOnDemandView(name="checks", version=1, definition_hash="", inputs=(STORED,), features=(RATIO,),
                             mode=MODE)

store = MemoryStore()
store.create(SPEND)
row = MemoryRow(key=("a",), event_micros=0, created_micros=0, values={"amount": 2.0})
store.apply_rows("spend__v1", [row], position=1)
known = {"stored": [STORED], "computed": [DerivedFeature(CHECKS, RATIO)]}
client = OnlineClient(Catalogue(known), store, definitions=lambda: Definitions(views={}, services={}))
print(client.get(features="stored", entity_rows=[{"customer": "a"}]).features)
try:
    client.get(features="computed", entity_rows=[{"customer": "a"}])
except PlatformError as exc:
    print(exc)
"""


@pytest.mark.parametrize(("mode", "needed"), [("pandas", "pyarrow and pandas"), ("arrow", "pyarrow")])
def test_without_pyarrow_stored_features_are_served_and_computed_ones_say_what_they_need(mode, needed):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = LEAN.replace("MODE", repr(mode))
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "{'amount': [2.0]}",
        f"on-demand feature view 'checks' computes with {needed}, but {needed} is not installed here; install the "
        "'on-demand' extra: pip install 'feature-platform[on-demand]'",
    ]
