"""What only a server can do wrong. That all else holds on it too is in tests/unit/registry, on both databases."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import URL

from features.errors import RegistryError
from features.registry import Registry, database
from tests.postgresql import execute, run_postgresql

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[URL]:
    with run_postgresql() as url:
        yield url


@pytest.fixture
def plain_url(server):
    """As conf names it: without a driver and without the password."""
    return f"postgresql://{server.username}@/{server.database}?host={server.query['host']}"


def test_password_is_given_beside_the_url(server, plain_url):
    with Registry.open(plain_url, password=SecretStr(server.password)) as registry:
        assert registry.views() == ()


def test_wrong_password_is_told_without_it(plain_url):
    with pytest.raises(RegistryError, match="password authentication failed") as error:
        Registry.open(plain_url, password=SecretStr("hunter2"))

    assert "hunter2" not in f"{error.value} {error.value.__cause__}"


def test_connections_that_the_server_dropped_are_made_again(server, plain_url):
    with Registry.open(plain_url, password=SecretStr(server.password)) as registry:
        registry.save_manifest("dropped", {}, hold=False)
        pooled = execute(
            server,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = user",
        )

        assert all(pooled)
        assert pooled
        assert registry.manifest("dropped").number == 1


def test_writer_that_waits_too_long_is_told(server, plain_url, monkeypatch):
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.2)
    password = SecretStr(server.password)
    with Registry.open(plain_url, password=password) as registry, Registry.open(plain_url, password=password) as other:
        with other._database.write(), pytest.raises(RegistryError, match=r"locked by another process for 0\.2 s"):
            registry.save_manifest("late", {}, hold=False)

        assert registry.save_manifest("late", {}, hold=False) == 1


def test_server_that_went_away_is_told():
    with run_postgresql() as url:
        registry = Registry.open(url.render_as_string(hide_password=False))

    with pytest.raises(RegistryError, match=r"cannot be reached: .*; check that it is up") as error:
        registry.views()
    assert url.password not in str(error.value)
    registry.close()
