"""One registry on SQLite and one on a real PostgreSQL: every test of this folder holds on both."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL

from features import BatchSource, DType, Entity, Expect, Feature, FeatureService, FeatureView
from features.core.discovery import Definitions
from features.registry import Registry
from tests.postgresql import execute, run_postgresql

CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING})
PAYMENTS = BatchSource(name="payments", path="payments", format="parquet", timestamp_field="paid_at")


def last_amount(payments):
    return payments.select("customer", "event_timestamp", "amount")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def registry_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty registry: a file, or a schema of its own in the server's database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'registry.db'}"
    server: URL = request.getfixturevalue("postgresql_server")
    schema = f"registry_{uuid.uuid4().hex}"
    execute(server, f"CREATE SCHEMA {schema}")
    return server.update_query_dict({"options": f"-c search_path={schema}"}).render_as_string(hide_password=False)


@pytest.fixture
def registry(registry_url: str) -> Iterator[Registry]:
    with Registry.open(registry_url) as opened:
        yield opened


@pytest.fixture
def make_view() -> Callable[..., FeatureView]:
    """A view with every field given, any of which a test may change."""

    def make(name: str = "last_payment", **changes: object) -> FeatureView:
        fields: dict[str, object] = {
            "entities": [CUSTOMER],
            "sources": [PAYMENTS],
            "features": [Feature("amount", DType.FLOAT64, unit="EUR", expect=[Expect.between(0, 1000)])],
            "transform": last_amount,
            "lookback": timedelta(days=2),
            "schedule": "@daily",
            "delay": timedelta(minutes=30),
            "description": "the last payment",
            "owner": "team@example.com",
        }
        return FeatureView(name=name, **(fields | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def define() -> Callable[..., Definitions]:
    """Definitions, as discovery finds them."""

    def make(*items: FeatureView | FeatureService) -> Definitions:
        return Definitions(
            views={item.name: item for item in items if isinstance(item, FeatureView)},
            services={item.name: item for item in items if isinstance(item, FeatureService)},
        )

    return make


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[URL]:
    """A PostgreSQL of this session."""
    with run_postgresql() as url:
        yield url
