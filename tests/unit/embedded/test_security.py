from pathlib import Path

import pytest

from features.embedded.security import OPEN, Certificates, Security, security_options
from features.errors import UsageError

CERTIFICATES = Certificates(folder=Path("/node/tls"))


def test_an_open_node_demands_nothing() -> None:
    assert security_options(OPEN, CERTIFICATES) == {}


def test_passwords_come_with_permissions() -> None:
    options = security_options(Security(passwords=True), CERTIFICATES)

    assert (options["authenticator"], options["authorizer"]) == ("PasswordAuthenticator", "CassandraAuthorizer")
    assert "client_encryption_options" not in options


@pytest.mark.parametrize("certificates", [True, False])
def test_tls_admits_no_plain_client(certificates: bool) -> None:
    security = Security(tls=True, client_certificates=certificates)

    options = security_options(security, CERTIFICATES)["client_encryption_options"]

    assert isinstance(options, dict)
    assert (options["enabled"], options["optional"]) == (True, False)
    assert options["require_client_auth"] is certificates


def test_certificates_of_clients_without_tls_make_no_sense() -> None:
    with pytest.raises(UsageError, match="over TLS"):
        Security(client_certificates=True)


@pytest.mark.parametrize(
    ("security", "words"),
    [
        (OPEN, "neither passwords nor TLS"),
        (Security(passwords=True), "passwords"),
        (Security(passwords=True, tls=True), "passwords and TLS"),
        (Security(tls=True, client_certificates=True), "TLS with client certificates"),
    ],
)
def test_what_is_demanded_is_told_in_words(security: Security, words: str) -> None:
    assert str(security) == words
