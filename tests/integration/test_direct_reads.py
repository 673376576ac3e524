"""The examples of docs/reading-from-other-languages.md, run as they stand, against a node with passwords and TLS."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.core.times import to_micros
from features.embedded.cassandra import CassandraNode
from features.stores import cql
from features.stores.cassandra_roles import Role, ensure_roles
from features.stores.cassandra_schema import ensure_table
from features.views.carrier_delay import CARRIER_DELAY
from tests.builders import apply_view
from tests.online_settings import ADMIN_PASSWORD_ENV, admin_of, session_of

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
# The view that the examples name: a feature that it has not is an error of the examples.
VIEW = apply_view(CARRIER_DELAY, 1)


@pytest.fixture(scope="module")
def environment(secured_node: CassandraNode) -> Iterator[dict[str, str]]:
    """What the examples need to read a table with a row of each status, as a role that can only read."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, password in ((ADMIN_PASSWORD_ENV, "cassandra"), ("READER", "read"), ("WRITER", "write")):
            patch.setenv(variable, password)
        node = secured_node.status()
        admin = admin_of(node, keyspace="features")
        ensure_roles(
            admin,
            (
                Role.reader("example_reader", password_env="READER"),
                Role.writer("example_writer", password_env="WRITER"),
            ),
        )
        now = datetime.now(UTC)
        with session_of(admin) as session:
            ensure_table(session, admin, VIEW)
            insert = session.prepare(cql.insert("features", VIEW))
            for carrier, event, mean in (
                ("AA", now - timedelta(hours=47), 12.5),
                ("B6", now - timedelta(hours=1), None),
                ("OLD", now - timedelta(hours=49), 12.5),
                ("東", now, -0.25),
            ):
                values = [mean if feature.name == "carrier_mean_delay_24h" else None for feature in VIEW.features]
                session.execute(insert, (carrier, to_micros(event), to_micros(event), *values, 1, 0))
        assert node.certificates is not None
        connection = {
            "CASSANDRA_HOST": node.host,
            "CASSANDRA_PORT": str(node.port),
            "CASSANDRA_USER": "example_reader",
            "CASSANDRA_PASSWORD": "read",
            "CASSANDRA_CA_FILE": str(node.certificates.ca),
        }
        yield {**os.environ, **connection}


def java() -> list[str]:
    folder = EXAMPLES / "java" / "target"
    if shutil.which("java") is None or not (folder / "classes").is_dir() or not (folder / "dependency").is_dir():
        pytest.skip("not built: `mvn -q package dependency:copy-dependencies` in docs/examples/java")
    return ["java", "-cp", f"{folder / 'classes'}:{folder / 'dependency'}/*", "ReadFeatures"]


def go() -> list[str]:
    program = EXAMPLES / "go" / "readfeatures"
    if not program.exists():
        pytest.skip("not built: `go build -o readfeatures .` in docs/examples/go")
    return [str(program)]


def javascript() -> list[str]:
    if shutil.which("node") is None or not (EXAMPLES / "node" / "node_modules").is_dir():
        pytest.skip("not installed: `npm ci` in docs/examples/node")
    return ["node", str(EXAMPLES / "node" / "read_features.js")]


@pytest.mark.parametrize("command", [java, go, javascript])
def test_each_example_tells_present_null_expired_and_missing_apart(
    environment: dict[str, str], command: Callable[[], list[str]]
) -> None:
    ran = subprocess.run(
        [*command(), "AA", "B6", "OLD", "東", "ZZ"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.stdout.splitlines() == [
        "AA PRESENT 12.50",
        "B6 NULL",
        "OLD EXPIRED",
        "東 PRESENT -0.25",
        "ZZ NOT_FOUND",
    ], ran.stderr[-2000:]
    assert ran.returncode == 0


@pytest.mark.parametrize("command", [java, go, javascript])
def test_no_example_reads_with_a_wrong_password(environment: dict[str, str], command: Callable[[], list[str]]) -> None:
    ran = subprocess.run(
        [*command(), "AA"],
        env=environment | {"CASSANDRA_PASSWORD": "wrong"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode != 0
    assert "PRESENT" not in ran.stdout
