"""A real node that demands passwords and TLS: who gets in, and what the others are told."""

import socket
import time
from pathlib import Path

import pytest

from features.config import OnlineSettings, TlsSettings
from features.embedded.cassandra import CassandraNode, Status
from features.embedded.certificates import ensure_certificates
from features.embedded.cql_probe import answers_cql, logs_in
from features.embedded.security import Certificates, Security
from features.errors import OnlineStoreError, PlatformError
from features.stores.cassandra_session import connect
from tests.online_settings import ADMIN_PASSWORD_ENV, admin_of, session_of, settings_of

pytestmark = pytest.mark.integration


@pytest.fixture
def node(secured_node: CassandraNode, monkeypatch: pytest.MonkeyPatch) -> Status:
    monkeypatch.setenv(ADMIN_PASSWORD_ENV, "cassandra")
    return secured_node.status()


def refusal(settings: OnlineSettings) -> str:
    with pytest.raises(OnlineStoreError) as raised:
        connect(settings)
    return str(raised.value)


def test_the_first_role_is_there_as_soon_as_the_node_has_started(node: Status) -> None:
    with session_of(admin_of(node)) as session:
        assert session.execute("SELECT cluster_name FROM system.local").one() == ("feature-platform",)


def test_a_wrong_password_is_told_with_the_setting_that_holds_it(node: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADMIN_PASSWORD_ENV, "wrong")

    message = refusal(admin_of(node))

    assert f"127.0.0.1:{node.port} refuses user 'cassandra'" in message
    assert "online.password_env" in message


def test_a_client_without_a_user_is_told_that_one_is_needed(node: Status) -> None:
    assert "refuses a client without a user name" in refusal(settings_of(node))


def test_an_authority_that_signed_nothing_here_is_not_trusted(node: Status, tmp_path: Path) -> None:
    stranger = Certificates(folder=tmp_path)
    ensure_certificates(stranger, ["127.0.0.1"])

    message = refusal(admin_of(node, tls=TlsSettings(ca_file=str(stranger.ca))))

    assert "shows a certificate that is not trusted" in message
    assert "online.tls.ca_file" in message


def test_an_address_that_the_certificate_does_not_name_is_refused_unless_told_otherwise(node: Status) -> None:
    assert node.certificates is not None
    # The certificate names 127.0.0.1 and localhost; a probe connects to the address, but expects another.
    context = node.certificates.client_context()
    with (
        socket.create_connection((node.host, node.port)) as plain,
        pytest.raises(OSError, match=r"127\.0\.0\.9"),
        context.wrap_socket(plain, server_hostname="127.0.0.9"),
    ):
        pass
    trusting = TlsSettings(ca_file=str(node.certificates.ca), verify_hostname=False)
    with session_of(admin_of(node, tls=trusting)) as session:
        assert session.execute("SELECT release_version FROM system.local").one() is not None


def test_a_plain_client_is_told_to_try_tls(node: Status) -> None:
    began = time.monotonic()

    message = refusal(admin_of(node, tls=None, timeout_seconds=5.0))

    assert "online.tls" in message
    assert time.monotonic() - began < 15


def test_a_tls_client_of_a_plain_node_is_told_to_leave_it(node: Status, cassandra_node: CassandraNode) -> None:
    assert "does not speak TLS" in refusal(settings_of(cassandra_node.status(), tls=TlsSettings()))


def test_a_plain_question_to_a_tls_port_is_no_answer(node: Status) -> None:
    assert node.certificates is not None
    assert not answers_cql(node.host, node.port, timeout_seconds=0.5)
    assert answers_cql(node.host, node.port, context=node.certificates.client_context())
    assert logs_in(node.host, node.port, "cassandra", "cassandra", context=node.certificates.client_context())
    assert not logs_in(node.host, node.port, "cassandra", "wrong", context=node.certificates.client_context())


def test_a_running_node_is_not_silently_taken_for_an_open_one(secured_node: CassandraNode) -> None:
    same_but_open = CassandraNode(state_dir=secured_node.state_dir, port=0)

    with pytest.raises(
        PlatformError, match=r"already runs with passwords and TLS .* not with neither passwords nor TLS"
    ):
        same_but_open.start()


def test_a_node_that_demands_certificates_admits_only_clients_that_show_one(tmp_path: Path) -> None:
    node = CassandraNode(state_dir=tmp_path, port=0, security=Security(tls=True, client_certificates=True))
    try:
        status = node.start()
        assert status.certificates is not None
        ca, client = str(status.certificates.ca), str(status.certificates.client)

        assert "online.tls.cert_file" in refusal(settings_of(status, tls=TlsSettings(ca_file=ca)))
        with session_of(settings_of(status, tls=TlsSettings(ca_file=ca, cert_file=client))) as session:
            assert session.execute("SELECT release_version FROM system.local").one() is not None
    finally:
        node.stop()


def test_a_second_start_finds_the_first_role_changed_and_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADMIN_PASSWORD_ENV, "cassandra")
    node = CassandraNode(state_dir=tmp_path, port=0, security=Security(passwords=True))
    try:
        with session_of(admin_of(node.start())) as session:
            session.execute("ALTER ROLE cassandra WITH PASSWORD = 'mine'")
        node.stop()
        monkeypatch.setenv(ADMIN_PASSWORD_ENV, "mine")
        with session_of(admin_of(node.start())) as session:
            assert session.execute("SELECT release_version FROM system.local").one() is not None
    finally:
        node.stop()
