"""A client over a memory store, with two views of different entities."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from features.core.applied import AppliedView
from features.core.times import to_micros
from features.serving.client import OnlineClient
from features.stores.memory import MemoryRow, MemoryStore
from tests.applied_views import ROUTE, SPEND, requested
from tests.serving_registry import Catalogue

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def catalogue() -> Catalogue:
    both = requested(SPEND) + requested(ROUTE)
    singles = {f"{item.view.name}:{item.feature.name}": (item,) for item in both}
    return Catalogue({**singles, "spend": requested(SPEND), "model": both})


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(clock=lambda: NOON)
    store.create(SPEND)
    store.create(ROUTE)
    return store


@pytest.fixture
def load(store: MemoryStore) -> Callable[..., None]:
    """Puts one row into a view's table."""

    def put(view: AppliedView, key: tuple[Any, ...], values: Mapping[str, Any], event: datetime = NOON) -> None:
        micros = to_micros(event)
        row = MemoryRow(key=key, event_micros=micros, created_micros=micros, values=values)
        store.apply_rows(view.online_table, [row], position=1)

    return put


@pytest.fixture
def client(catalogue: Catalogue, store: MemoryStore) -> OnlineClient:
    return OnlineClient(catalogue, store)
