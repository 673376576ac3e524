"""Roles on a real node that demands passwords: who reads cannot write, who loads can."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from features import DType
from features.cli import main
from features.config import OnlineSettings
from features.core.times import to_micros
from features.embedded.cassandra import CassandraNode
from features.errors import ConfigError, OnlineStoreError
from features.stores import cql
from features.stores.cassandra_roles import Role, ensure_roles
from features.stores.cassandra_schema import ensure_table
from features.stores.cassandra_session import VENDOR_ERRORS, connect, explain
from tests.applied_views import applied_view
from tests.online_settings import ADMIN_PASSWORD_ENV, admin_of, session_of, settings_of

pytestmark = pytest.mark.integration

VIEW = applied_view("spend", features={"amount": DType.FLOAT64})
EVENT = to_micros(datetime(2024, 1, 1, 12, tzinfo=UTC))
INSERT = (
    "INSERT INTO {}.spend__v1 (customer, event_timestamp, created_timestamp, amount) VALUES ('a', 1, 2, 3.5) "
    "USING TIMESTAMP 1"
)


@pytest.fixture
def admin(secured_node: CassandraNode, monkeypatch: pytest.MonkeyPatch) -> OnlineSettings:
    """The role that may do all, in a keyspace that is still to be made."""
    for variable, password in ((ADMIN_PASSWORD_ENV, "cassandra"), ("READER", "it's read"), ("WRITER", "write")):
        monkeypatch.setenv(variable, password)
    return admin_of(secured_node.status(), keyspace=f"roles_{uuid4().hex[:8]}")


@pytest.fixture
def names(admin: OnlineSettings) -> Iterator[tuple[str, str]]:
    """Names of a reader and a writer that no other test has; dropped afterwards."""
    names = (f"reader_{uuid4().hex[:8]}", f"writer_{uuid4().hex[:8]}")
    yield names
    with session_of(admin) as session:
        for name in names:
            session.execute(f"DROP ROLE IF EXISTS {name}")


@pytest.fixture
def roles(names: tuple[str, str]) -> tuple[Role, Role]:
    return Role.reader(names[0], password_env="READER"), Role.writer(names[1], password_env="WRITER")


def login(admin: OnlineSettings, role: Role) -> OnlineSettings:
    return admin.model_copy(update={"username": role.name, "password_env": role.password_env})


def refusal(settings: OnlineSettings, statement: str) -> str:
    with session_of(settings) as session:
        try:
            session.execute(statement)
        except VENDOR_ERRORS as exc:
            return str(explain(exc, settings))
    pytest.fail(f"{settings.username} may {statement}")


def test_the_writer_makes_tables_and_rows_and_the_reader_reads_them(admin: OnlineSettings, roles) -> None:
    reader, writer = roles

    assert ensure_roles(admin, roles) == ["created", "created"]

    with session_of(login(admin, writer)) as session:
        assert ensure_table(session, login(admin, writer), VIEW)
        session.execute(INSERT.format(admin.keyspace))
    with session_of(login(admin, reader)) as session:
        statement = session.prepare(cql.select(admin.keyspace, VIEW, ["amount"]))
        assert session.execute(statement, ("a",)).one() == (1, 2, 3.5)


@pytest.mark.parametrize(
    "statement",
    [
        INSERT,
        "DELETE FROM {}.spend__v1 WHERE customer = 'a'",
        "TRUNCATE {}.spend__v1",
        "DROP TABLE {}.spend__v1",
        "ALTER TABLE {}.spend__v1 WITH comment = 'mine'",
        "CREATE TABLE {}.other (key text PRIMARY KEY)",
        "SELECT salted_hash FROM system_auth.roles",
    ],
)
def test_the_reader_only_reads_its_keyspace(admin: OnlineSettings, roles, statement: str) -> None:
    reader, writer = roles
    ensure_roles(admin, roles)
    with session_of(login(admin, writer)) as session:
        ensure_table(session, login(admin, writer), VIEW)

    message = refusal(login(admin, reader), statement.format(admin.keyspace))

    assert f"refuses user '{reader.name}'" in message


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT salted_hash FROM system_auth.roles",
        "CREATE KEYSPACE mine WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
        "CREATE ROLE mine",
        "DROP KEYSPACE system_traces",
    ],
)
def test_the_writer_has_no_say_outside_its_keyspace(admin: OnlineSettings, roles, statement: str) -> None:
    ensure_roles(admin, roles)

    assert f"refuses user '{roles[1].name}'" in refusal(login(admin, roles[1]), statement.format())


def test_running_it_again_changes_passwords_and_takes_back_what_a_role_should_not_do(
    admin: OnlineSettings, roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = roles
    ensure_roles(admin, roles)
    with session_of(admin) as session:
        session.execute(cql.grant("MODIFY", admin.keyspace, reader.name))
    monkeypatch.setenv("READER", "another")

    assert ensure_roles(admin, roles) == ["updated", "updated"]

    with session_of(admin) as session:
        granted = [row[3] for row in session.execute(cql.list_permissions(admin.keyspace, reader.name))]
        kept = {row[3] for row in session.execute(cql.list_permissions(admin.keyspace, writer.name))}
    assert granted == ["SELECT"]
    assert kept == {"SELECT", "MODIFY", "CREATE", "ALTER", "DROP"}
    connect(login(admin, reader)).cluster.shutdown()


def test_a_role_without_a_password_is_not_made(admin: OnlineSettings, roles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WRITER")

    with pytest.raises(ConfigError, match=f"the password of {roles[1].name} names WRITER"):
        ensure_roles(admin, roles)
    with session_of(admin) as session:
        assert not {name for name, *_ in session.execute(cql.LIST_ROLES)} & {role.name for role in roles}


def test_a_node_without_passwords_is_told_apart(cassandra_node: CassandraNode, roles) -> None:
    with pytest.raises(OnlineStoreError, match="PasswordAuthenticator"):
        ensure_roles(settings_of(cassandra_node.status(), keyspace="roles_nowhere"), roles)


def test_the_command_makes_both_roles_as_the_admin_it_is_told(
    admin: OnlineSettings, roles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin.tls is not None
    online = {"hosts": ["127.0.0.1"], "port": admin.port, "keyspace": admin.keyspace, "tls": admin.tls.model_dump()}
    for name, content in (("base", {"online": online}), ("local", {})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    words = ["cassandra", "roles", "--conf", str(tmp_path), "--env", "local", "--json"]
    words += ["--admin", "cassandra", "--admin-password-env", ADMIN_PASSWORD_ENV]
    for option, role in zip(("reader", "writer"), roles, strict=True):
        words += [f"--{option}", role.name, f"--{option}-password-env", role.password_env]

    assert main(words) == 0

    printed = capsys.readouterr().out
    assert json.loads(printed)["roles"] == {role.name: list(role.permissions) for role in roles}
    assert "it's read" not in printed
    connect(login(admin, roles[0])).cluster.shutdown()


def test_the_comment_of_a_table_follows_what_changes_in_place(admin: OnlineSettings) -> None:
    renamed = applied_view("spend", features={"amount": DType.FLOAT64}, description="what customers' cards spend")
    select = f"SELECT comment FROM system_schema.tables WHERE keyspace_name = '{admin.keyspace}'"
    with session_of(admin) as session:
        assert ensure_table(session, admin, VIEW)
        assert not ensure_table(session, admin, renamed)
        assert session.execute(select).one() == (cql.table_comment(renamed),)
